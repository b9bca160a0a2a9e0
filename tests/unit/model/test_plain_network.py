"""The network equals a slow derivation of the same equations (`plain_network`), task by task, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import SIZES, Given, given, hold, rel_l2, run, tiny_model
from plain_network import PlainNumbers, PlainStream, plain_velocities

from unitalking.checkpoint.keys import to_file_keys

# The order of additions differs, nothing else: 1e-14 was measured, and the smallest mistake (an eps) makes 1e-7.
LIMIT = 1e-11


def cases() -> dict[str, tuple[Given, dict[str, Any]]]:
    """Each task as what it holds clean, and the option of the forward it needs."""
    plain, voice = given(grid=(3, 4, 4), length=7), given(grid=(3, 4, 4), length=7, voice=True)
    video_held, audio_held = torch.zeros_like(plain.video_timestep), torch.zeros_like(plain.audio_timestep)
    first = hold(plain.video_timestep, 1)
    prefix = plain.but(video_timestep=first, audio_timestep=hold(plain.audio_timestep, 3))
    return {
        "t2av": (plain, {}),
        "ti2av": (plain.but(video_timestep=first), {}),
        "tr2av": (voice.but(video_timestep=first), {}),
        "tv2a": (plain.but(video_timestep=video_held), {"video_sees_audio": False}),
        "a2v": (plain.but(audio_timestep=audio_held), {}),
        "continuation": (prefix, {}),
        "tts": (plain.but(video_timestep=None), {}),
        "tts_voice": (voice.but(video_timestep=None), {}),
        "video_only": (plain.but(audio_timestep=None), {}),
    }


def plain_streams(inputs: Given, sample: int) -> tuple[PlainStream | None, PlainStream | None]:
    video = audio = None
    if inputs.video_timestep is not None:
        per_frame = inputs.video.shape[3] * inputs.video.shape[4] // 4
        times = inputs.video_timestep[sample].repeat_interleave(per_frame).tolist()
        video = PlainStream(inputs.video[sample], inputs.video_context[sample], times)
    if inputs.audio_timestep is not None:
        reference = None if inputs.reference is None else inputs.reference[sample]
        times = inputs.audio_timestep[sample].tolist()
        audio = PlainStream(inputs.audio[sample], inputs.audio_context[sample], times, reference)
    return video, audio


@pytest.mark.parametrize("name", list(cases()))
def test_network_equals_the_plain_derivation(name: str) -> None:
    inputs, options = cases()[name]
    model = tiny_model()
    weights = to_file_keys(model.state_dict())
    numbers = PlainNumbers(SIZES["num_heads"], SIZES["num_layers"], SIZES["text_len"])
    velocities = run(model, inputs, **options)
    for sample in range(len(inputs.video)):
        expected = plain_velocities(weights, numbers, *plain_streams(inputs, sample), **options)
        for actual, wanted in zip(velocities, expected, strict=True):
            assert (actual is None) == (wanted is None)
            if wanted is not None:
                assert rel_l2(actual[sample], wanted) < LIMIT
