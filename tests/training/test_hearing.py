"""What listens to the sound in training: what it hears, what its losses ask for, what they leave alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

import tiny_data
from tiny_model import TINY_MODEL

from unitalking.flow import velocity
from unitalking.latents import LatentStatistics
from unitalking.mapping import from_mapping, to_mapping
from unitalking.synthetic.phonemes import phoneme_number
from unitalking.training import flow_run, hearing_run
from unitalking.training.draws import DropSettings, SigmaSettings, SpanSettings, TaskMix, TaskShare
from unitalking.training.flow_batches import Draws, FlowBatches, StreamBatch
from unitalking.training.hearing import (
    CLASSES,
    PART,
    PAUSE,
    Hearing,
    HearingConfig,
    HearingLosses,
    SpeakerEncoder,
    load_hearing,
)
from unitalking.training.hearing_run import UNKNOWN, HearingBatches, HearingObjective, spoken_phonemes
from unitalking.training.part_files import load_part, save_part
from unitalking.training.recipe import load_recipe
from unitalking.training.result import ABOUT_KEY
from unitalking.training.settings import TrainingError
from unitalking.training.shards import Shards
from unitalking.training.start import read_tensors

CHANNELS = tiny_data.SMALL.audio_channels
CONFIG = HearingConfig(CHANNELS, 16, 12, 8)
LENGTH, REFERENCE = 20, 12


def listening(seed: int = 0) -> Hearing:
    torch.manual_seed(seed)
    return Hearing(CONFIG)


def sound(clips: int = 3, sigma: float = 0.5, held: int = 0) -> StreamBatch:
    """Random clips, the first `held` latents of which are given."""
    random = torch.Generator().manual_seed(1)
    data, noise = torch.randn(2, clips, CHANNELS, LENGTH, generator=random)
    lengths = (held, LENGTH - held) if held else (LENGTH,)
    factor = torch.ones(clips, len(lengths))
    if held:
        factor[:, 0] = 0
    return StreamBatch(data, noise, torch.full((clips,), sigma), factor, lengths)


def losses(stream: StreamBatch, predicted: Tensor, reference: Tensor, present: float = 1.0) -> dict[str, Tensor]:
    return HearingLosses(listening())(stream, predicted, reference, torch.full((len(predicted),), present))


def test_the_clip_itself_sounds_like_the_clip() -> None:
    stream = sound()
    right = velocity(stream.data, stream.noise)
    found = losses(stream, right, stream.data)
    assert all(value.abs().max() < 1e-5 for value in found.values())
    wrong = losses(stream, right + 1.0, stream.data)
    assert all((value > 1e-4).all() for value in wrong.values())


def test_the_voice_is_asked_for_between_the_clips_and_the_references() -> None:
    stream, hearing = sound(), listening()
    reference = torch.randn(3, CHANNELS, REFERENCE)
    found = HearingLosses(hearing)(stream, velocity(stream.data, stream.noise), reference, torch.ones(3))["voice"]
    own, other = hearing.voice(stream.data), hearing.voice(reference)
    middle = ((own * other).sum(1) + 1) / (own + other).norm(dim=1)
    assert torch.allclose(found, 0.5 * (1 - middle), atol=1e-6)


@pytest.mark.parametrize("held", [0, 8])
def test_phonemes_are_compared_by_what_the_clip_is_taken_for(held: int) -> None:
    stream, hearing = sound(sigma=0.25, held=held), listening()
    predicted = velocity(stream.data, stream.noise) - 2.0
    found = HearingLosses(hearing)(stream, predicted, stream.data, torch.ones(3))["phonemes"]
    wrong = stream.data + 0.25 * 2.0 * (torch.arange(LENGTH) >= held)
    said, heard = (hearing.phonemes(x).log_softmax(1) for x in (stream.data, wrong))
    apart = torch.nn.functional.kl_div(heard, said, log_target=True, reduction="none").sum(1)
    expected = apart[:, held:].mean(1)
    assert torch.allclose(found, 0.75 * expected, rtol=1e-4)


@pytest.mark.parametrize(("sigma", "share"), [(0.0, 1.0), (0.4, 0.6), (0.9, 0.5)])
def test_the_noisier_the_less_it_counts_but_never_nothing(sigma: float, share: float) -> None:
    stream, reference = sound(sigma=sigma), torch.randn(3, CHANNELS, REFERENCE)
    hearing = listening()
    right = velocity(stream.data, stream.noise)
    found = HearingLosses(hearing)(stream, right, reference, torch.ones(3))["voice"]
    level = HearingLosses(hearing)(stream._replace(sigma=torch.zeros(3)), right, reference, torch.ones(3))["voice"]
    assert torch.allclose(found, share * level, rtol=1e-4)


def test_what_is_given_costs_nothing() -> None:
    stream = sound(held=8)
    right = velocity(stream.data, stream.noise)
    moved = right.clone()
    moved[:, :, :8] += 5.0
    reference = torch.randn(3, CHANNELS, REFERENCE)
    for name, value in losses(stream, moved, reference).items():
        assert torch.allclose(value, losses(stream, right, reference)[name], atol=1e-6), name
    given = stream._replace(factor=torch.zeros(3, 2))
    assert not any(value.any() for value in losses(given, right + 1, reference).values())


@pytest.mark.parametrize("present", [1.0, 0.0])
def test_held_sound_says_whose_voice_it_is(present: float) -> None:
    stream, hearing = sound(held=8), listening()
    right = velocity(stream.data, stream.noise)
    held = (torch.arange(LENGTH) < 8).expand(3, -1)
    made, given = hearing.voice(stream.data, ~held), hearing.voice(stream.data, held)
    assert not torch.allclose(made, hearing.voice(stream.data), atol=1e-3)
    reference = torch.randn(3, CHANNELS, REFERENCE)
    middle = made + given + present * hearing.voice(reference)
    expected = 1 - (made * middle).sum(1) / middle.norm(dim=1)
    assert torch.allclose(losses(stream, right, reference, present)["voice"], 0.5 * expected, atol=1e-6)


def test_without_a_reference_any_voice_will_do() -> None:
    stream = sound()
    predicted = velocity(stream.data, stream.noise) + 1
    assert not losses(stream, predicted, stream.data, present=0.0)["voice"].any()
    none = HearingLosses(listening())(stream, predicted, None, None)
    assert set(none) == {"phonemes"}


def test_the_losses_move_the_prediction_and_not_the_listener() -> None:
    stream, hearing = sound(sigma=0.5), listening()
    listener = HearingLosses(hearing)
    predicted = (velocity(stream.data, stream.noise) + torch.randn(3, CHANNELS, LENGTH)).requires_grad_()
    reference = torch.randn(3, CHANNELS, REFERENCE)
    before = listener(stream, predicted, reference, torch.ones(3))
    for name, value in before.items():
        (slope,) = torch.autograd.grad(value.sum(), predicted, retain_graph=True)
        nearer = predicted.detach() - 0.05 * slope / slope.norm()
        assert listener(stream, nearer, reference, torch.ones(3))[name].sum() < value.sum()
    assert not any(value.requires_grad for value in hearing.parameters())


def test_a_phoneme_is_where_it_is_said() -> None:
    clip = replace(tiny_data.clip(1, 33), spoken=(0.15, 1.25))
    rate = tiny_data.SMALL.sample_rate / tiny_data.SMALL.samples_per_latent
    said = spoken_phonemes(clip, rate)
    begin, end = clip.spoken
    assert said.shape == clip.audio.shape[1:]
    assert (said[: int(begin * rate)] == PAUSE).all()
    assert (said[int(end * rate) + 2 :] == PAUSE).all()
    heard = [number for number in said.tolist() if number != PAUSE]
    whole = [number for number, _, _ in hearing_run._timed(clip.speech)]
    assert heard[0] == whole[0] == phoneme_number("D")
    assert heard[-1] == whole[-1] == phoneme_number("n")
    assert set(heard) <= set(whole) <= set(range(CLASSES))
    silent = tiny_data.clip(0, 33)
    assert silent.spoken is None
    assert (spoken_phonemes(silent, rate) == UNKNOWN).all()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make_dataset(tmp_path_factory.mktemp("data") / "set", frames=(17,) * 12, speakers=4, timbre=1.0)


def hearing_batches(data: Path, noise: float = 0.0) -> HearingBatches:
    statistics = tuple(LatentStatistics(torch.zeros(n), torch.ones(n)) for n in (tiny_data.SMALL.in_dim, CHANNELS))
    speech = TaskMix(tts=TaskShare(1.0, 1.0))
    draws = Draws(speech, SigmaSettings(), DropSettings(0, 0, 0), SpanSettings())
    return HearingBatches(FlowBatches(Shards(data), tiny_data.SMALL, statistics, draws, 6, 0), noise)


def test_a_batch_has_other_recordings_of_the_same_voices(data: Path) -> None:
    batches = hearing_batches(data)
    batch, shards = batches.batch(0, 0, 1), batches.flow.shards
    of_key = {shards.read(i).key: shards.read(i) for i in range(len(shards))}
    assert batch.has_other.all()
    for row, key in enumerate(batch.keys):
        clip = of_key[key]
        assert torch.allclose(batch.clips[row], clip.audio.float())
        begin = batch.others[row, :, :4]
        whose = [other for other in of_key.values() if torch.allclose(other.audio[:, :4].float(), begin)]
        assert [other.speaker for other in whose] == [clip.speaker]
        assert whose[0].key != key
        assert shards.speakers[batch.speakers[row]] == clip.speaker
    noisy = hearing_batches(data, 0.5).batch(0, 0, 1)
    assert 0 < (noisy.clips - batch.clips).std() < 0.6
    assert torch.equal(hearing_batches(data, 0.5).batch(0, 0, 1).others, noisy.others)


def test_processes_share_a_batch_out_without_changing_it(data: Path) -> None:
    batches = hearing_batches(data, 0.5)
    whole, halves = batches.batch(2, 0, 1), [batches.batch(2, rank, 2) for rank in (0, 1)]
    for name in ("clips", "said", "others", "has_other", "speakers"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name)), name
    assert not torch.equal(batches.batch(3, 0, 1).others, whole.others)


def test_other_clips_of_the_same_voice_are_no_wrong_answers(data: Path) -> None:
    torch.manual_seed(0)
    objective = HearingObjective(Hearing(CONFIG))
    batch = hearing_batches(data).batch(0, 0, 1)
    alone = objective(batch._replace(speakers=torch.arange(6))).parts["voice"]
    one_voice = objective(batch._replace(speakers=torch.zeros(6))).parts["voice"]
    assert alone.mean() > 0.5
    assert one_voice.abs().max() < 1e-5
    without = objective(batch._replace(has_other=torch.zeros(6, dtype=torch.bool))).parts["voice"]
    assert not without.any()
    unknown = objective(batch._replace(said=torch.full_like(batch.said, UNKNOWN))).parts["phonemes"]
    assert not unknown.any()


def test_a_speaker_encoder_counts_what_it_is_told_to() -> None:
    torch.manual_seed(0)
    encoder = SpeakerEncoder(CONFIG)
    latents = torch.randn(2, CHANNELS, LENGTH)
    found = encoder(latents)
    assert torch.allclose(found.norm(dim=1), torch.ones(2))
    assert torch.allclose(encoder(latents, torch.ones(2, LENGTH, dtype=torch.bool)), found, atol=1e-6)
    assert (encoder(latents, torch.arange(LENGTH).expand(2, -1) < 9) * found).sum(1).max() < 0.999


SMALL_RUN = (
    "trainer.precision=fp32",
    "trainer.workers=0",
    "phoneme_dim=16",
    "voice_dim=16",
    "voice_size=8",
    "noise=0.1",
)


def test_it_learns_to_tell_phonemes_and_voices_and_a_network_learns_with_it(data: Path, tmp_path: Path) -> None:
    steps = ("trainer.steps=60", "trainer.batch_size=6", "trainer.sample_every=60", "trainer.optimiser.lr=0.01")
    places = (f"data={data}", f"folder={tmp_path / 'hearing'}", f"model={TINY_MODEL}")
    module, recipe = load_recipe("embedded_hearing", [*places, *steps, *SMALL_RUN])
    path = module.run(recipe)
    assert path == tmp_path / "hearing" / hearing_run.PART_FILE
    measured = json.loads((tmp_path / "hearing" / "measurements.jsonl").read_text(encoding="utf-8"))
    assert measured["phonemes_right"] > 0.6
    assert measured["voices_right"] > 0.5

    changes = {"hearing": str(path), "objective": {"voice_weight": 2.0, "phonemes_weight": 0.5}}
    given = from_mapping(flow_run.Recipe, tiny_data.recipe(data, tmp_path / "flow", **changes))
    trainer, _ = flow_run.build(given)
    before = {name: value.clone() for name, value in trainer.inner.hearing.hearing.state_dict().items()}
    batch = trainer.batches.batch(0, 0, 1)
    found = trainer.inner(batch)
    assert set(found.parts) == {"video", "audio", "voice", "phonemes"}
    weights = {"video": 1.0, "audio": 1.0, "voice": 2.0, "phonemes": 0.5}
    assert torch.allclose(found.total, sum(weights[name] * part for name, part in found.parts.items()))
    model = flow_run.run(given)
    assert all(torch.equal(value, before[name]) for name, value in trainer.inner.hearing.hearing.state_dict().items())
    tensors, metadata = read_tensors(model)
    assert not any("hearing" in name for name in tensors)
    assert json.loads(metadata[ABOUT_KEY])["recipe"]["objective"]["voice_weight"] == 2.0


def test_one_for_another_codec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hearing.safetensors"
    save_part(path, PART, CONFIG, listening().state_dict(), 3)
    own = LatentStatistics(torch.zeros(CHANNELS), torch.ones(CHANNELS))
    assert to_mapping(load_hearing(path, own).config) == to_mapping(CONFIG)
    with pytest.raises(TrainingError, match="other latents than the model has: train it with `model` set"):
        load_hearing(path, LatentStatistics(torch.full((CHANNELS,), 0.5), torch.ones(CHANNELS)))
    with pytest.raises(TrainingError, match="holds hearing, expected text_encoder"):
        load_part(path, "text_encoder", HearingConfig)
    with pytest.raises(TrainingError, match="holds something else, expected hearing"):
        load_hearing(TINY_MODEL, own)


@pytest.mark.parametrize("changes", [{"hearing": "a"}, {"objective": {"voice_weight": 1.0}}])
def test_weights_and_the_file_go_together(changes: dict, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hearing: got .* expected a file where objective.voice_weight"):
        from_mapping(flow_run.Recipe, tiny_data.recipe(data, tmp_path, **changes))
