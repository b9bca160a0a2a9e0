"""Context windows: a long clip seen through windows, picture and sound at the same moments."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from lab import Lab, equal, normal, rel
from plain_run import PlainRun, condition
from torch import Tensor

FRAMES = 17  # 5 video latents, 23 audio latents
LIMIT = 1e-5


def windowed(lab: Lab, model: Any, **changes: Any) -> Any:
    """The stock Context Windows (Manual) along time."""
    settings = {
        "context_length": 3,
        "context_overlap": 1,
        "context_schedule": "standard_static",
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "flat",
        "dim": 2,
        "freenoise": False,
        "causal_window_fix": False,
        **changes,
    }
    return (
        importlib.import_module("comfy_extras.nodes_context_windows")
        .ContextWindowsManualNode.execute(model, **settings)
        .args[0]
    )


def one_step(lab: Lab, model: Any, latent: dict[str, Any]) -> list[Tensor]:
    """The denoised clip of the first step without guidance, normalised."""
    result = lab.ksampler(model, lab.prompt(), latent, cfg=1.0, steps=1)
    statistics = lab.model.model.latent_format
    return [statistics.video.normalise(result[0]), statistics.audio.normalise(result[1])]


def window_velocity(
    lab: Lab, state: list[Tensor], frames: list[int], latents: range, anchor: int = 0
) -> tuple[Tensor, Tensor]:
    """Velocities of a window whose tokens keep the rotations that they have in the whole clip."""
    plain, scale = PlainRun(lab), lab.config.position_scale
    start = latents[0] * scale - (frames[0] - anchor)
    layout = plain.network.audio_layout
    plain.network.audio_layout = lambda latent: layout(latent, start)
    shown = [*range(frames[0] - anchor, frames[0]), *frames]
    window = state[0][:, :, shown], state[1][:, :, list(latents)]
    video, audio = plain.velocity(window, 1.0, condition(lab.prompt()[0]))
    return video[:, :, anchor:], audio


@pytest.mark.parametrize("anchor", [0, 1], ids=["plain", "causal_window_fix"])
def test_windows_are_averaged_where_they_overlap(lab: Lab, anchor: int) -> None:
    model, calls = lab.watched(windowed(lab, lab.model, causal_window_fix=bool(anchor)))
    ours = one_step(lab, model, lab.latent(frames=FRAMES))
    state = list(lab.random_noise().generate_noise(lab.latent(frames=FRAMES)).unbind())
    # A video latent lasts 5.2 audio latents.
    first = window_velocity(lab, state, [0, 1, 2], range(0, 16))
    second = window_velocity(lab, state, [2, 3, 4], range(10, 23), anchor)
    video = torch.cat([first[0][:, :, :2], (first[0][:, :, 2:] + second[0][:, :, :1]) / 2, second[0][:, :, 1:]], dim=2)
    shared = (first[1][:, :, 10:] + second[1][:, :, :6]) / 2
    audio = torch.cat([first[1][:, :, :10], shared, second[1][:, :, 6:]], dim=2)
    assert [call["latents"][0].shape[2] for call in calls] == [3, 3 + anchor]
    assert [call["latents"][1].shape[2] for call in calls] == [16, 13]
    expected = [part - velocity for part, velocity in zip(state, (video, audio), strict=True)]
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, expected, strict=True)] == [True, True]


def test_a_window_over_the_whole_clip_is_no_window(lab: Lab) -> None:
    latent = lab.held(lab.latent(frames=FRAMES))
    conds = lab.prompt()
    assert equal(
        lab.ksampler(windowed(lab, lab.model, context_length=5), conds, latent),
        lab.ksampler(lab.model, conds, latent),
    )


SCHEDULES = {
    "static": {"context_schedule": "standard_static"},
    "uniform": {"context_schedule": "standard_uniform", "context_stride": 2},
    "looped": {"context_schedule": "looped_uniform", "closed_loop": True},
    "batched": {"context_schedule": "batched"},
    "pyramid": {"fuse_method": "pyramid"},
    "overlap-linear": {"fuse_method": "overlap-linear"},
    "freenoise": {"freenoise": True},
    "relative": {"fuse_method": "relative"},
    "causal": {"causal_window_fix": True},
}


@pytest.mark.parametrize("portrait", [False, True], ids=["text", "portrait"])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_stock_schedule_runs(lab: Lab, kind: str, *, portrait: bool) -> None:
    latent = lab.latent(frames=FRAMES)
    latent = lab.held(latent) if portrait else latent
    model = windowed(lab, lab.model, **SCHEDULES[kind])
    out = lab.joint(model, lab.prompt(), latent, guidance_voice=1.5, sampler="euler", scheduler="simple")
    assert [part.shape for part in out] == [part.shape for part in latent["samples"].unbind()]
    assert all(bool(part.isfinite().all()) for part in out)
    if portrait:
        assert torch.equal(out[0][:, :, 0], latent["samples"].unbind()[0][:, :, 0])


def test_the_wan_context_windows_run(lab: Lab) -> None:
    node = importlib.import_module("comfy_extras.nodes_context_windows").WanContextWindowsManualNode
    model = node.execute(lab.model, 9, 4, "standard_uniform", 1, False, "pyramid", True).args[0]
    out = lab.ksampler(model, lab.prompt(), lab.held(lab.latent(frames=FRAMES)))
    assert all(bool(part.isfinite().all()) for part in out)


def test_a_held_frame_is_held_in_the_windows_that_show_it(lab: Lab) -> None:
    sinusoid = lab.pack("unitalking.model.modulation").timestep_sinusoid
    model, calls = lab.watched(windowed(lab, lab.model))
    with lab.counted(["video.time_embedding.0"]) as counts:
        lab.ksampler(model, lab.prompt(), lab.held(lab.latent(frames=FRAMES)), cfg=1.0, steps=1)
    given = counts.inputs["video.time_embedding.0"]
    time = float(calls[0]["timestep"])
    assert torch.allclose(given[0], sinusoid(torch.tensor([[0.0, time]]), 32).float())
    assert torch.allclose(given[1], sinusoid(torch.tensor([[time]]), 32).float())


def test_the_held_start_of_the_sound_is_held_in_the_windows_that_show_it(lab: Lab) -> None:
    sinusoid = lab.pack("unitalking.model.modulation").timestep_sinusoid
    video, audio = normal(1, 8, 5, 4, 4, seed=1), normal(1, 6, 23, seed=2)
    mask = torch.ones(1, 1, 23)
    mask[:, :, :12] = 0
    model, calls = lab.watched(windowed(lab, lab.model))
    with lab.counted(["audio.time_embedding.0"]) as counts:
        lab.ksampler(model, lab.prompt(), lab.masked(video, audio, torch.ones(1, 1, 5, 4, 4), mask), cfg=1.0, steps=1)
    expected = sinusoid(torch.tensor([[0.0, float(calls[0]["timestep"])]]), 32).float()
    assert all(torch.allclose(given, expected) for given in counts.inputs["audio.time_embedding.0"])
    assert len(counts.inputs["audio.time_embedding.0"]) == 2


def test_windows_of_a_plain_video_latent_run(lab: Lab) -> None:
    """The host cannot cut a sound of length 0, so a picture alone must be plain here."""
    latent = {"samples": lab.latent(frames=FRAMES, streams="picture")["samples"].unbind()[0]}
    out = lab.ksampler(windowed(lab, lab.model), lab.prompt(), latent)
    assert bool(out[0].isfinite().all())


def test_windows_cover_every_moment_of_the_sound(lab: Lab) -> None:
    audio_window = lab.pack("nodes.windows").audio_window
    for video, audio in ((5, 22), (31, 157), (31, 10), (2, 200)):
        seen = [audio_window([index], video, audio, lab.config) for index in range(video)]
        assert sorted({latent for window in seen for latent in window}) == list(range(audio)), (video, audio)
        assert all(seen), "a window without sound cannot be run"
        whole = audio_window(list(range(video)), video, audio, lab.config)
        assert whole == list(range(audio))
