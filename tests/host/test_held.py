"""Held tokens: a task is only which tokens are clean, and the network is told so token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lab import Lab, differ, equal, normal, rel
from plain_run import PlainRun, condition
from torch import Tensor

LIMIT = 1e-5
TOKENS = 4  # of a latent frame of the lab's clip
VIDEO, AUDIO = (8, 3, 4, 4), (6, 12)
# The host's uni_pc stops at a noise level of 0.001, and leaves that much noise in everything.
SOLVERS = {"euler": 1e-5, "uni_pc": 5e-3, "dpmpp_2m": 1e-5, "res_multistep": 1e-5, "lcm": 1e-5}


def clip(batch: int = 1) -> tuple[Tensor, Tensor]:
    """Given latents of both streams."""
    return normal(batch, *VIDEO, seed=40), normal(batch, *AUDIO, seed=41)


def ones(batch: int = 1) -> tuple[Tensor, Tensor]:
    """Masks that hold nothing."""
    return torch.ones(batch, 1, *VIDEO[1:]), torch.ones(batch, 1, *AUDIO[1:])


def frames(*values: float) -> Tensor:
    """A video mask with one value per latent frame."""
    return torch.tensor(values).float().reshape(1, 1, 3, 1, 1).expand(1, 1, *VIDEO[1:]).clone()


def latents(*values: float) -> Tensor:
    """An audio mask: the first value for four latents, the second for the other eight."""
    return torch.cat([torch.full((1, 1, 4), float(values[0])), torch.full((1, 1, 8), float(values[-1]))], dim=2)


def factors(video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    """What the network should be told of masks without fine structure: the share of the noise of every token."""
    return video[:, 0, :, 0, 0].repeat_interleave(TOKENS, dim=1), audio[:, 0]


# Task -> video mask, audio mask, whether the picture sees the sound
TASKS = {
    "TI2AV": (frames(0, 1, 1), latents(1), True),
    "TV2A": (frames(0, 0, 0), latents(1), False),
    "TV2A from a given start of the sound": (frames(0, 0, 0), latents(0, 1), False),
    "A2V": (frames(1, 1, 1), latents(0), True),
    "A2V from a portrait": (frames(0, 1, 1), latents(0), True),
    "continuation": (frames(0, 0, 1), latents(0, 1), True),
    "half held": (frames(1, 0.5, 1), latents(0.25, 1), True),
}
EACH_TASK = pytest.mark.parametrize("task", TASKS)


def run(lab: Lab, latent: dict[str, Any], **settings: Any) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Joint Flow Sampler without guidance, and its network calls."""
    model, calls = lab.watched(lab.model)
    strengths = {"guidance_video": 1.0, "guidance_audio": 1.0}
    return lab.joint(model, lab.prompt(), latent, **{**strengths, **settings}), calls


@pytest.mark.parametrize("sampler", SOLVERS)
def test_a_held_first_frame_comes_back_through_stock_nodes(lab: Lab, sampler: str) -> None:
    latent = lab.held(lab.latent())
    out = lab.ksampler(lab.model, lab.prompt(), latent, sampler_name=sampler)
    moved = (out[0][:, :, 0] - latent["samples"].unbind()[0][:, :, 0]).abs().max()
    assert float(moved) <= SOLVERS[sampler]
    assert not torch.allclose(out[0][:, :, 1], latent["samples"].unbind()[0][:, :, 1], atol=0.1)


@EACH_TASK
@pytest.mark.parametrize("sampler", ["flow_unipc", "euler"])
def test_held_tokens_come_back_bit_for_bit_through_ours(lab: Lab, task: str, sampler: str) -> None:
    given, masks = clip(), TASKS[task][:2]
    out, _ = run(lab, lab.masked(*given, *masks), sampler=sampler)
    for part, source, mask in zip(out, given, masks, strict=True):
        held = (mask == 0).expand_as(part)
        assert torch.equal(part[held], source[held])
        assert held.all() or not torch.equal(part[~held], source[~held])


@EACH_TASK
def test_the_network_is_told_what_is_held_and_which_task_it_is(lab: Lab, task: str) -> None:
    video, audio, sees = TASKS[task]
    _, calls = run(lab, lab.masked(*clip(), video, audio))
    plain, cond = PlainRun(lab), condition(lab.prompt()[0])
    for call in calls:
        given = {"factors": factors(video, audio), "video_sees_audio": sees}
        expected = plain.velocity(call["latents"], call["timestep"] / 1000, cond, **given)
        assert rel(call["velocity"][1], expected[1]) <= LIMIT
        if sees:
            assert rel(call["velocity"][0], expected[0]) <= LIMIT
        else:
            assert not call["velocity"][0].any(), "the picture ran before"
    assert len(calls) == 3


def test_held_tokens_have_noise_level_0(lab: Lab) -> None:
    names = ["video.time_embedding.0", "audio.time_embedding.0"]
    sinusoid = lab.pack("unitalking.model.modulation").timestep_sinusoid
    with lab.counted(names) as counts:
        _, calls = run(lab, lab.masked(*clip(), frames(0, 1, 1), latents(0, 1)))
    for step, call in enumerate(calls):
        expected = sinusoid(torch.tensor([[0.0, float(call["timestep"])]]), 32).float()
        assert all(torch.allclose(counts.inputs[name][step], expected) for name in names)


def test_the_network_sees_held_tokens_clean_at_every_step(lab: Lab) -> None:
    given = clip()
    _, calls = run(lab, lab.masked(*given, frames(0, 1, 1), latents(0, 1)))
    statistics = lab.model.model.latent_format
    clean = statistics.video.normalise(given[0])[:, :, 0], statistics.audio.normalise(given[1])[:, :, :4]
    for call in calls:
        assert torch.allclose(call["latents"][0][:, :, 0], clean[0], atol=1e-5)
        assert torch.allclose(call["latents"][1][:, :, :4], clean[1], atol=1e-5)


def test_a_given_picture_is_not_changed_by_the_sound(lab: Lab) -> None:
    """TV2A: the picture's velocity is the same whatever the sound's noise; in every other task it is not."""
    for task, (video, audio, sees) in TASKS.items():
        along = {"keep_picture": "recompute"}
        velocities = [run(lab, lab.masked(*clip(), video, audio), seed=seed, **along)[1] for seed in (3, 4)]
        pictures, sounds = ([calls[0]["velocity"][stream] for calls in velocities] for stream in (0, 1))
        assert torch.equal(*pictures) == (not sees), task
        assert not torch.equal(*sounds), task


def test_the_sound_of_a_given_picture_follows_the_picture(lab: Lab) -> None:
    video, audio, _ = TASKS["TV2A"]
    results = [run(lab, lab.masked(source, clip()[1], video, audio))[0] for source in (clip()[0], clip()[0].flip(2))]
    assert differ(*results)[1]


def test_the_picture_of_a_given_sound_follows_the_sound(lab: Lab) -> None:
    video, audio, _ = TASKS["A2V"]
    results = [run(lab, lab.masked(clip()[0], source, video, audio))[0] for source in (clip()[1], clip()[1].flip(2))]
    assert differ(*results)[0]


def test_a_clip_that_is_held_altogether_comes_back(lab: Lab) -> None:
    given = clip()
    out, _ = run(lab, lab.masked(*given, frames(0, 0, 0), latents(0)))
    assert equal(out, given)


def test_a_frame_counts_as_held_only_if_all_of_it_is(lab: Lab) -> None:
    video, audio = ones()
    video[:, :, 0, 1:] = 0
    _, calls = run(lab, lab.masked(*clip(), video, audio))
    expected = PlainRun(lab).velocity(
        calls[0]["latents"], calls[0]["timestep"] / 1000, condition(lab.prompt()[0]), factors=factors(*ones())
    )
    assert rel(calls[0]["velocity"][0], expected[0]) <= LIMIT


# Masks and batches


def test_a_mask_of_one_clip_serves_a_batch(lab: Lab) -> None:
    video, audio, _ = TASKS["continuation"]
    one, _ = run(lab, lab.masked(*clip(), video, audio))
    given = [part.repeat(2, *[1] * (part.ndim - 1)) for part in clip()]
    two, _ = run(lab, lab.masked(*given, video, audio))
    assert all(torch.allclose(a, b[:1], atol=1e-5) for a, b in zip(one, two, strict=True))


def test_clips_of_a_batch_may_hold_different_tokens(lab: Lab) -> None:
    given = clip(batch=2)
    masks = torch.cat([frames(0, 1, 1), frames(1, 1, 0)]), torch.cat([latents(1), latents(0, 1)])
    out, calls = run(lab, lab.masked(*given, *masks))
    plain, cond, call = PlainRun(lab), condition(lab.prompt()[0]), calls[0]
    for index in range(2):
        row = slice(index, index + 1)
        told = factors(masks[0][row], masks[1][row])
        state = [part[row] for part in call["latents"]]
        expected = plain.velocity(state, call["timestep"][row] / 1000, cond, factors=told)
        assert [rel(a[row], b) <= LIMIT for a, b in zip(call["velocity"], expected, strict=True)] == [True, True]
    assert torch.equal(out[0][1, :, 2], given[0][1, :, 2])
    assert not torch.equal(out[0][0, :, 2], given[0][0, :, 2])


def test_a_plain_video_mask_holds_nothing_of_the_sound(lab: Lab) -> None:
    video, audio = frames(0, 1, 1), latents(1)
    nested, _ = run(lab, lab.masked(*clip(), video, audio))
    plain, _ = run(lab, {"samples": lab.nested(clip()), "noise_mask": video})
    assert equal(nested, plain)


def test_masks_of_ones_change_nothing(lab: Lab) -> None:
    given = clip()
    with_masks, _ = run(lab, lab.masked(*given, *ones()))
    without, _ = run(lab, {"samples": lab.nested(given)})
    assert [rel(a, b) <= LIMIT for a, b in zip(with_masks, without, strict=True)] == [True, True]


def test_a_second_hold_keeps_what_is_held_of_the_sound(lab: Lab) -> None:
    latent = lab.held(lab.masked(*clip(), frames(1, 1, 1), latents(0, 1)))
    out, _ = run(lab, latent)
    assert torch.equal(out[1][:, :, :4], clip()[1][:, :, :4])
    assert torch.equal(out[0][:, :, 0], latent["samples"].unbind()[0][:, :, 0])
