"""Flow matching: its gradient, what it counts, what trains and what stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

import tiny_data

from unitalking.checkpoint.parts import build_part
from unitalking.latents import LatentStatistics
from unitalking.mapping import from_mapping
from unitalking.model.transformer import UniTalking
from unitalking.training.draws import DropSettings, SigmaSettings, SpanSettings, TaskMix
from unitalking.training.flow_batches import Draws, FlowBatch, FlowBatches, StreamBatch
from unitalking.training.flow_objective import FlowObjective, ObjectiveSettings, Region
from unitalking.training.optimiser import build_optimisers
from unitalking.training.settings import OptimiserSettings
from unitalking.training.shards import Shards
from unitalking.training.start import initialise

CONFIG = tiny_data.SMALL
NOTHING_DROPPED = DropSettings(0, 0, 0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards(tiny_data.make_dataset(tmp_path_factory.mktemp("data") / "set"))


def batches(shards: Shards, samples: int = 2, drop: DropSettings = NOTHING_DROPPED, **weights: float) -> FlowBatches:
    statistics = tuple(LatentStatistics(torch.zeros(n), torch.ones(n)) for n in (CONFIG.in_dim, CONFIG.audio_channels))
    tasks = from_mapping(TaskMix, {name: {"weight": weight} for name, weight in weights.items()})
    draws = Draws(tasks, SigmaSettings(), drop, SpanSettings())
    return FlowBatches(shards, CONFIG, statistics, draws, samples, seed=0)


def objective(**settings: object) -> FlowObjective:
    """Fresh weights, with heads and gates such that every input counts."""
    torch.manual_seed(0)
    network = UniTalking(CONFIG)
    initialise(network)
    for stream in (network.video, network.audio):
        torch.nn.init.normal_(stream.head.head.weight, std=0.1)
    return FlowObjective(network, build_part(CONFIG, "text_encoder"), ObjectiveSettings(**settings))


def double(batch: FlowBatch) -> FlowBatch:
    def stream(part: StreamBatch | None) -> StreamBatch | None:
        return part and part._replace(
            data=part.data.double(), noise=part.noise.double(), sigma=part.sigma.double(), factor=part.factor.double()
        )

    return batch._replace(
        video=stream(batch.video),
        audio=stream(batch.audio),
        reference=batch.reference.double(),
        voice_present=batch.voice_present.double(),
    )


@pytest.mark.parametrize("task", ["t2av", "ti2av", "tr2av", "tv2a", "a2v", "infill", "tts"])
def test_gradient_equals_a_finite_difference(shards: Shards, task: str) -> None:
    trained = objective(region=Region(0.25, 0.75, 0.0, 0.5, 4.0), video_weight=0.7, audio_weight=1.3).double()
    batch = double(batches(shards, **{task: 1.0}).batch(1, 0, 1))

    def loss() -> Tensor:
        return trained(batch).total.mean()

    moved = [value for value in trained.parameters() if value.requires_grad]
    gradients = torch.autograd.grad(loss(), moved, allow_unused=True)
    generator = torch.Generator().manual_seed(3)
    directions = [torch.randn(value.shape, generator=generator, dtype=torch.float64) for value in moved]
    expected = sum(
        (gradient * direction).sum()
        for gradient, direction in zip(gradients, directions, strict=True)
        if gradient is not None
    )
    step, values = 1e-7, []
    for sign in (1, -1):
        with torch.no_grad():
            for value, direction in zip(moved, directions, strict=True):
                value.add_(sign * step * direction)
            values.append(loss())
            for value, direction in zip(moved, directions, strict=True):
                value.sub_(sign * step * direction)
    assert float(expected) == pytest.approx(float(values[0] - values[1]) / (2 * step), rel=1e-6)
    assert abs(float(expected)) > 1e-3


def test_text_is_heard_when_the_recording_says_it(shards: Shards) -> None:
    trained = objective()
    batch = batches(shards, tts=1.0).batch(1, 0, 1)

    def velocity(begin: float, end: float) -> Tensor:
        spoken = torch.tensor([[begin, end]] * len(batch.keys))
        return trained.predict(batch._replace(text=batch.text._replace(spoken=spoken)))[1].detach()

    assert torch.equal(velocity(0.1, 0.9), velocity(0.1, 0.9))
    assert (velocity(0.1, 0.9) - velocity(0.1, 1.4)).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_what_has_learnt_to_pronounce_moves_more_slowly(kind: str) -> None:
    trained = objective(text_encoder_rate=0.25)
    names = {value: name for name, value in trained.named_parameters()}
    settings = OptimiserSettings(kind=kind, lr=1e-3, matrix_lr=0.02)
    groups = [group for each in build_optimisers(trained, "model", settings) for group in each.param_groups]
    rates = {names[value]: group["base_lr"] for group in groups for value in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(names)
    encoder = {rate for name, rate in rates.items() if name.startswith("text_encoder.")}
    others = {rate for name, rate in rates.items() if not name.startswith("text_encoder.")}
    assert encoder == {0.25e-3}
    assert others == ({1e-3, 0.02} if kind == "muon" else {1e-3})


def test_the_target_is_the_velocity_of_the_straight_path(shards: Shards) -> None:
    """Derived apart from `flow`: with a network that always says 0 the loss is the mean square of noise - data."""
    trained = objective()
    for stream in (trained.network.video, trained.network.audio):
        torch.nn.init.zeros_(stream.head.head.weight)
        torch.nn.init.zeros_(stream.head.head.bias)
    batch = batches(shards, t2av=1.0).batch(0, 0, 1)
    losses = trained(batch)
    for name, stream in (("video", batch.video), ("audio", batch.audio)):
        assert torch.allclose(losses.parts[name], (stream.noise - stream.data).square().flatten(1).mean(1), rtol=1e-5)
    assert torch.allclose(losses.total, losses.parts["video"] + losses.parts["audio"])


def test_one_sample_is_learned_by_heart(shards: Shards) -> None:
    trained = objective()
    batch = batches(shards, samples=1, t2av=1.0).batch(0, 0, 1)
    optimiser = torch.optim.AdamW(trained.parameters(), lr=3e-3)
    first = trained(batch).total.mean().item()
    for _ in range(150):
        optimiser.zero_grad()
        trained(batch).total.mean().backward()
        optimiser.step()
    parts = trained(batch).parts
    assert parts["video"].item() < 0.05 * first
    assert parts["audio"].item() < 0.05 * first
    for found, stream in zip(trained.predict(batch), (batch.video, batch.audio), strict=True):
        error = found - (stream.noise - stream.data)
        assert error.square().mean().item() < 0.1


@pytest.mark.parametrize("task", ["ti2av", "tv2a", "a2v", "infill"])
def test_held_tokens_are_clean_and_cost_nothing(shards: Shards, task: str) -> None:
    trained = objective()
    batch = batches(shards, samples=1, **{task: 1.0}).batch(0, 0, 1)
    torch.manual_seed(1)
    for name in ("video", "audio"):
        stream = getattr(batch, name)
        runs = zip(stream.lengths, stream.factor[0].tolist(), strict=True)
        held = [factor for length, factor in runs for _ in range(length)]
        places = [place for place, factor in enumerate(held) if factor == 0]
        assert places or name == ("video" if task == "a2v" else "audio")
        if not places:
            continue
        other = stream.noise.clone()
        other[:, :, places] = torch.randn_like(other[:, :, places])
        changed = batch._replace(**{name: stream._replace(noise=other)})
        assert torch.equal(trained(changed).total, trained(batch).total)
        data = stream.data.clone()
        data[:, :, places] += 1.0
        changed = batch._replace(**{name: stream._replace(data=data)})
        assert not torch.equal(trained(changed).total, trained(batch).total)  # what is given is seen


def test_an_audio_only_task_has_the_loss_of_the_sound_alone(shards: Shards) -> None:
    losses = objective()(batches(shards, tv2a=1.0).batch(0, 0, 1))
    assert losses.parts["video"].tolist() == [0.0, 0.0]
    assert torch.equal(losses.total, losses.parts["audio"])
    assert set(objective()(batches(shards, tts=1.0).batch(0, 0, 1)).parts) == {"audio"}


def test_streams_are_weighed_as_said(shards: Shards) -> None:
    losses = objective(video_weight=0.25, audio_weight=3.0)(batches(shards, t2av=1.0).batch(0, 0, 1))
    assert torch.allclose(losses.total, 0.25 * losses.parts["video"] + 3.0 * losses.parts["audio"])


def test_a_given_picture_does_not_see_the_sound(shards: Shards) -> None:
    trained = objective()
    for task, sees in (("tv2a", False), ("t2av", True)):
        batch = batches(shards, **{task: 1.0}).batch(0, 0, 1)
        other = batch._replace(audio=batch.audio._replace(data=batch.audio.data + 1.0))
        same = torch.equal(trained.predict(batch)[0], trained.predict(other)[0])
        assert same != sees


def test_gradient_reaches_everything_in_a_joint_task(shards: Shards) -> None:
    trained = objective()
    trained(batches(shards, tr2av=1.0).batch(0, 0, 1)).total.mean().backward()
    without = [name for name, value in trained.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_first_stage_moves_the_sound_and_leaves_the_picture_bit_identical(shards: Shards) -> None:
    trained = objective()
    trained.network.video.requires_grad_(False)
    before = {name: value.detach().clone() for name, value in trained.named_parameters()}
    names = {name for name, _ in trained.trained("model")}
    assert {name.split(".")[1] for name in names if name.startswith("network.")} == {"audio"}
    optimiser = torch.optim.AdamW([value for _, value in trained.trained("model")], lr=1e-2, weight_decay=0.1)
    # Both with and without a voice.
    source = batches(shards, drop=DropSettings(0, 0.5, 0), tts=1.0)
    source.draws = replace(source.draws, tasks=from_mapping(TaskMix, {"tts": {"weight": 1.0, "reference": 1.0}}))
    present = set()
    for step in range(4):
        optimiser.zero_grad()
        batch = source.batch(step, 0, 1)
        present |= set(batch.voice_present.tolist())
        trained(batch).total.mean().backward()
        optimiser.step()
    assert present == {0.0, 1.0}
    for name, value in trained.named_parameters():
        assert torch.equal(value, before[name]) == (name not in names), name


@pytest.mark.parametrize("settings", [{"checkpointing": True}, {"attention": "plain"}], ids=["checkpointing", "plain"])
def test_other_ways_of_computing_give_the_same_gradient(shards: Shards, settings: dict[str, object]) -> None:
    batch = batches(shards, ti2av=1.0, tr2av=1.0).batch(0, 0, 1)
    found = []
    for trained in (objective(), objective(**settings)):
        trained(batch).total.mean().backward()
        found.append({name: value.grad for name, value in trained.named_parameters()})
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], rtol=1e-4, atol=1e-6), name


def test_a_region_counts_more_and_the_mean_stays() -> None:
    weights = Region(0.5, 0.75, 0.25, 0.75, 4.0).weights(8, 8)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[4, 2] / weights[0, 0]) == pytest.approx(4.0)
    assert (weights > weights[0, 0]).nonzero().tolist() == [[row, column] for row in (4, 5) for column in range(2, 6)]


def test_a_clip_without_voice_is_no_reference_at_all(shards: Shards, tmp_path: Path) -> None:
    alone = Shards(tiny_data.make_dataset(tmp_path / "alone", frames=(17, 17), speakers=0))
    batch = batches(alone, tr2av=1.0).batch(0, 0, 1)
    assert batch.voice_present.tolist() == [0.0, 0.0]
    trained = objective()
    other = batch._replace(reference=torch.randn_like(batch.reference))
    assert torch.equal(trained(batch).total, trained(other).total)
