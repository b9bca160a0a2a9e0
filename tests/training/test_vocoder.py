"""The vocoder's training: it learns, fast activations are the codec's, the file holds what was trained, turns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

from clips import Tones
from tiny_model import TINY_MODEL

from unitalking.codec.audio_vae import AudioVAE
from unitalking.codec.mel import MelConfig
from unitalking.codec.text_encoder import ByteTextEncoder, TextEncoderConfig
from unitalking.codec.video_vae import VideoVAE, VideoVAEConfig
from unitalking.codec.vocoder import Activation, Vocoder, VocoderConfig, lowpass_filter
from unitalking.synthetic import SyntheticConfig
from unitalking.training.activation import Kernels, TrainedActivation
from unitalking.training.audio_vae import AudioVAEConfig, AudioVAELoss, AudioVAEObjective
from unitalking.training.discriminators import DiscriminatorConfig, Discriminators, discriminator_loss, feature_loss
from unitalking.training.optimiser import build_optimisers
from unitalking.training.part_files import load_part, save_part
from unitalking.training.recipe import load_recipe
from unitalking.training.settings import OptimiserSettings, TrainerSettings, TrainingError
from unitalking.training.spectral import SpectralLoss, SpectralLossConfig
from unitalking.training.vocoder import PART_FILE, GanSettings, Recipe, VocoderLoss, VocoderObjective
from unitalking.training.waves import WaveBatch, WaveBatches, WaveSettings

MEL = MelConfig(16000, 256, 64, 16, 0.0, 8000.0, "log10")
SIZE = VocoderConfig(16, (4, 4, 4), (8, 8, 8), 32, (3,), ((1, 2),))
GAN = GanSettings(DiscriminatorConfig((2, 3), (64, 128), 2, 2))
RECIPE = Recipe(
    folder="",
    data=SyntheticConfig(clips=1),
    trainer=TrainerSettings(steps=1, batch_size=2),
    vocoder=SIZE,
    mel=MEL,
    waves=WaveSettings(samples=(3072,)),
    context=4,
    loss=VocoderLoss(scales=SpectralLossConfig((64, 256), (8, 16))),
)


def objective(**changes: Any) -> VocoderObjective:
    torch.manual_seed(1)
    made = VocoderObjective(replace(RECIPE, **changes))
    made.prepare()
    return made.train()


def batch(size: int = 2, silence: float = 0.0) -> WaveBatch:
    settings = replace(RECIPE.waves, silence_share=silence, quietest_db=0.0, loudest_db=0.0)
    return WaveBatches(Tones(), settings, size, 3, 1, 64).batch(0, 0, 1)


# ---- activations


@pytest.mark.parametrize("length", [6, 7, 40])
def test_trained_activations_are_the_codecs_with_their_gradients(length: int) -> None:
    torch.manual_seed(0)
    plain = Activation(3, dtype=torch.float32)
    with torch.no_grad():
        plain.act.alpha.normal_(0, 0.5)
        plain.act.beta.normal_(0, 0.5)
    fast = TrainedActivation(plain, Kernels(compiled=False)).train()
    taps = lowpass_filter().float()
    hidden, outer = torch.randn(2, 3, length, requires_grad=True), torch.randn(2, 3, length)
    inputs = (hidden, plain.act.alpha, plain.act.beta)
    wanted = plain(hidden, taps)
    got = fast(hidden, taps)
    assert torch.allclose(wanted, got, atol=2e-6)
    pairs = zip(torch.autograd.grad(wanted, inputs, outer), torch.autograd.grad(got, inputs, outer), strict=True)
    assert all(torch.allclose(one, two, rtol=1e-4, atol=1e-5) for one, two in pairs)


def test_without_a_compiler_activations_are_not_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    assert Kernels(compiled=True).forward is Kernels(compiled=False).forward
    assert "no C++ compiler" in caplog.text


def test_evaluation_uses_the_codecs_own_activation() -> None:
    plain = Activation(2)
    fast = TrainedActivation(plain, Kernels(compiled=False)).eval()
    hidden, taps = torch.randn(1, 2, 3), lowpass_filter().float()
    assert torch.equal(fast(hidden, taps), plain(hidden, taps))


# ---- learning


def test_a_batch_is_overfitted_in_a_few_steps() -> None:
    trained, given = objective(), batch()
    optimiser = torch.optim.AdamW(trained.parameters(), lr=5e-3)
    totals = []
    for _ in range(40):
        total = trained(given).total.mean()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.65 * totals[0]


@pytest.mark.parametrize("gan", [None, GAN])
def test_each_partys_gradient_reaches_all_its_weights_and_no_others(gan: GanSettings | None) -> None:
    trained, given = objective(gan=gan), batch()
    for party in trained.parties:
        trained.zero_grad(set_to_none=True)
        trained(given, party).total.mean().backward()
        own = dict(trained.trained(party))
        assert own
        for name, value in trained.named_parameters():
            if name in own:
                assert value.grad is not None, name
                assert value.grad.abs().max() > 0, name
            else:
                assert value.grad is None, name


def test_judges_and_vocoder_are_stepped_in_turn() -> None:
    trained, given = objective(gan=GAN), batch()
    assert trained.parties == ("discriminator", "generator")
    for party, other in (trained.parties, trained.parties[::-1]):
        before = {name: value.detach().clone() for name, value in trained.named_parameters()}
        trained.zero_grad(set_to_none=True)
        trained(given, party).total.mean().backward()
        for optimiser in build_optimisers(trained, party, OptimiserSettings(lr=1e-3)):
            optimiser.step()
        now = dict(trained.named_parameters())
        assert all(not torch.equal(before[name], now[name]) for name, _ in trained.trained(party))
        assert all(torch.equal(before[name], now[name]) for name, _ in trained.trained(other))


def test_the_judges_learn_to_tell_real_from_made() -> None:
    torch.manual_seed(0)
    judges = Discriminators(GAN.judges)
    real = torch.stack([Tones().speech(index).samples[2000:5000] for index in range(4)])
    made = 0.1 * torch.randn(4, 3000)
    optimiser = torch.optim.AdamW(judges.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = discriminator_loss(judges(real), judges(made)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert float(feature_loss(judges(real), judges(real)).detach().max()) == 0
    assert float(feature_loss(judges(real), judges(made)).detach().min()) > 0.1


@pytest.mark.parametrize("gan", [None, GAN])
def test_silence_gives_finite_losses_and_gradients(gan: GanSettings | None) -> None:
    trained = objective(gan=gan)
    with torch.no_grad():  # a vocoder that is silent too
        trained.vocoder.conv_post.parametrizations.weight.original.zero_()
        trained.vocoder.conv_post.bias.zero_()
    silent = WaveBatch(("silence",), torch.zeros(1, 3072), torch.zeros(1, 1, 48))
    for party in trained.parties:
        trained.zero_grad(set_to_none=True)
        losses = trained(silent, party)
        losses.total.mean().backward()
        assert losses.total.isfinite().all()
        assert all(value.grad.isfinite().all() for _, value in trained.trained(party))


# ---- the parts of the loss


def test_equal_sounds_cost_nothing_and_phase_does_not_matter() -> None:
    loss = SpectralLoss(SpectralLossConfig((256, 512), (16, 32)), 16000)
    time = torch.arange(8000) / 16000
    one, turned, other = (
        0.1 * torch.sin(2 * math.pi * 440 * time * k + phase)[None] for k, phase in ((1, 0), (1, 2), (2, 0))
    )
    assert float(loss.total(loss(one, one))) == 0
    turned_by, wrong = (float(loss.total(loss(wave, one))) for wave in (turned, other))
    assert turned_by < 0.2 * wrong


def test_frames_belong_to_their_samples() -> None:
    trained = objective()
    wave = batch().waveform
    frames, samples = trained.frames_and_samples(wave)
    assert frames.shape == (2, 16, 40)
    assert torch.equal(samples, wave[:, 256:-256])
    whole = trained.mel(torch.nn.functional.pad(wave, (640, 640)))  # not mirrored where the stretch ends
    assert torch.allclose(frames, whole[:, :, 14:54], atol=1e-4)


def test_a_share_of_the_frames_goes_through_the_audio_vae() -> None:
    vae = AudioVAEObjective(AudioVAEConfig(MEL, 6, 4), AudioVAELoss()).vae
    trained = VocoderObjective(replace(RECIPE, audio_vae="vae", decoded_share=0.5), vae).train()
    given = batch(4)
    decoded, _ = trained.frames_and_samples(given.waveform)
    plain, _ = objective().frames_and_samples(given.waveform)
    assert torch.equal(decoded[2:], plain[2:])
    assert all(not torch.allclose(decoded[place], plain[place], atol=1e-2) for place in range(2))
    assert not trained.vae.training
    assert not [name for party in trained.parties for name, _ in trained.trained(party) if name.startswith("vae.")]


def test_what_is_too_quiet_to_hear_is_not_compared() -> None:
    trained = objective()
    quiet, silent = trained.audible(torch.tensor([-3.9, 0.0])), trained.audible(torch.tensor([-5.0, 0.0]))
    assert torch.equal(quiet, silent)
    assert float(quiet[1]) == 0
    assert abs(float(trained.audible(torch.tensor(-1.0))) + math.log(10)) < 1e-6


# ---- files


@torch.no_grad()
def test_the_file_holds_the_trained_model() -> None:
    trained = objective()
    for value in trained.vocoder.parameters():
        value.add_(0.1 * torch.randn_like(value))
    plain = Vocoder(SIZE)
    plain.load_state_dict(trained.export())
    mel = torch.randn(2, 16, 12)
    assert torch.allclose(trained.vocoder(mel), plain(mel), atol=1e-6)


def test_two_steps_of_the_recipes_leave_a_usable_file(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs requirements-train.txt")
    vae = AudioVAEObjective(AudioVAEConfig(hidden_dim=4), AudioVAELoss())
    vae_path = tmp_path / "audio_vae.safetensors"
    save_part(vae_path, "audio_vae", vae.config, vae.export(), 0)
    small = (
        "data.clips=3",
        "sample_clips=2",
        "compiled=false",
        "trainer.batch_size=2",
        "trainer.steps=2",
        "trainer.sample_every=2",
        "trainer.optimiser.lr=1.0e-3",
        "trainer.optimiser.matrix_lr=1.0e-3",
        "vocoder.initial_channels=16",
        "gan.judges={periods: [2], windows: [256], period_width: 2, window_width: 2}",
    )
    first = [f"folder={tmp_path / 'first'}", f"audio_vae={vae_path}", *small[:-1]]
    module, recipe = load_recipe("embedded_vocoder", first)
    assert recipe.gan is None
    start = module.run(recipe)
    changes = [f"folder={tmp_path / 'second'}", f"start={start}", f"audio_vae={vae_path}", *small]
    module, recipe = load_recipe("embedded_vocoder_gan", changes)
    path = module.run(recipe)
    assert path == tmp_path / "second" / PART_FILE
    config, tensors = load_part(path, "vocoder", VocoderConfig)
    assert config == recipe.vocoder
    Vocoder(config).load_state_dict(tensors)
    names = {found.name for found in (tmp_path / "second" / "samples").iterdir()}
    assert names == {"0000002.png", "0000002.wav", "0000002_decoded.wav"}
    unchanged = load_part(start, "vocoder", VocoderConfig)[1]
    change = max(float((tensors[name] - unchanged[name]).abs().max()) for name in tensors)
    assert 0 < change < 0.02  # it went on from the first


@pytest.mark.parametrize(
    ("part", "config_class", "build"),
    [
        (
            "audio_vae",
            AudioVAEConfig,
            lambda config: AudioVAE(config.mel.n_mels, config.latent_channels, config.hidden_dim),
        ),
        ("vocoder", VocoderConfig, Vocoder),
        ("video_vae", VideoVAEConfig, VideoVAE),
        ("text_encoder", TextEncoderConfig, ByteTextEncoder),
    ],
)
def test_a_model_file_carries_the_parts_of_runs(part: str, config_class: type, build: Any) -> None:
    config, tensors = load_part(TINY_MODEL, part, config_class)
    assert {value.dtype for value in tensors.values()} == {torch.float32}
    build(config).load_state_dict(tensors)


def test_a_part_of_another_kind_is_refused(tmp_path: Path) -> None:
    vae = AudioVAEObjective(AudioVAEConfig(MEL, 6, 4), AudioVAELoss())
    path = tmp_path / "audio_vae.safetensors"
    save_part(path, "audio_vae", vae.config, vae.export(), 0)
    with pytest.raises(TrainingError, match="holds audio_vae, expected vocoder"):
        load_part(path, "vocoder", VocoderConfig)
    with pytest.raises(TrainingError, match="Train the vocoder first"):
        load_part(tmp_path / "none.safetensors", "vocoder", VocoderConfig)
