"""What each task holds, and what may see what."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from unitalking.checkpoint.random_model import TINY
from unitalking.config import UniTalkingConfig
from unitalking.tasks import TASKS, factor_runs, held_tokens, sound_of_frames

FULL = UniTalkingConfig()
FRAMES, LATENTS = 5, 40  # 17 pictures of 24 fps last 0.708 s: 22.1 latents of 31.25 a second


def held(name: str, spans: tuple[tuple[int, int], ...] = ()) -> tuple[list[int], list[int]]:
    """Which latent frames and audio latents a task holds."""
    video = TASKS[name].video_mask(FRAMES, spans)
    audio = TASKS[name].audio_mask(LATENTS, TINY, spans)
    assert video.shape == (1, 1, FRAMES, 1, 1)
    assert audio.shape == (1, 1, LATENTS)
    factors = held_tokens([video, audio])
    return (
        [place for place, value in enumerate(factors.video[0]) if value == 0],
        [place for place, value in enumerate(factors.audio[0]) if value == 0],
    )


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("t2av", [], []),
        ("tr2av", [], []),
        ("ti2av", [0], []),
        ("tv2a", list(range(FRAMES)), []),
        ("a2v", [], list(range(LATENTS))),
        ("tts", [], []),
    ],
)
def test_each_task_holds_what_its_name_gives(name: str, video: list[int], audio: list[int]) -> None:
    assert held(name) == (video, audio)


@pytest.mark.parametrize("name", TASKS)
def test_only_a_given_picture_is_blind_to_the_sound(name: str) -> None:
    task = TASKS[name]
    factors = held_tokens([task.video_mask(FRAMES), task.audio_mask(LATENTS, TINY)])
    assert factors.video_sees_audio == (name != "tv2a")
    assert task.layout == (name != "tts", name != "t2v", name != "tv2a")


def test_a_prefix_holds_the_sound_that_its_pictures_determine_fully() -> None:
    video, audio = held("infill", ((0, 3),))  # 9 pictures: 0.375 s, 11.7 latents
    assert (video, audio) == ([0, 1, 2], list(range(11)))


def test_a_span_in_the_middle_holds_no_sound_of_the_pictures_around_it() -> None:
    video, audio = held("infill", ((2, 4),))  # pictures 5 .. 12: 0.2083 s to 0.5417 s, latents 6.51 to 16.93
    assert (video, audio) == ([2, 3], list(range(7, 16)))


def test_continuation_at_full_size_holds_what_the_design_says() -> None:
    pictures = 4 * 6 + 1
    assert sound_of_frames(0, 7, FULL) == (0, int(pictures / 24 * 44100 / 1024))


def test_sound_of_neighbouring_spans_does_not_overlap() -> None:
    ends = [sound_of_frames(start, start + 1, FULL) for start in range(8)]
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ends))
    other = replace(FULL, fps=25)
    assert sound_of_frames(1, 3, other) != sound_of_frames(1, 3, FULL)


def test_runs_of_a_mixed_batch_have_a_level_per_clip() -> None:
    masks = torch.cat([TASKS[name].video_mask(FRAMES) for name in ("t2av", "ti2av")])
    runs = factor_runs(held_tokens([masks]).video, tokens=FRAMES * 16, batch=4)
    assert runs.lengths == (16, (FRAMES - 1) * 16)
    assert runs.timestep.tolist() == [[1, 1], [0, 1], [1, 1], [0, 1]]
