"""Filters of clips on small real inputs: speech against tones and noise, cuts, pauses, and a stand-in for faces."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_files import RATE, tone
from red_square_detector import write_red_square_detector

from unitalking.training.prepare.clips import RawClip
from unitalking.training.prepare.filters import (
    Filters,
    FilterSettings,
    count_cuts,
    face_share,
    load_face_detector,
    longest_pause_s,
)
from unitalking.training.prepare.media import read_sound
from unitalking.voice import resample

VOICES = Path(__file__).resolve().parent.parent.parent / "assets" / "voices"


def clip(waveform: torch.Tensor | None = None, frames: torch.Tensor | None = None) -> RawClip:
    """A clip with no texts."""
    return RawClip("1", "clip", frames, waveform)


def filters(**settings: object) -> Filters:
    """At 24 fps and 16 kHz."""
    return Filters(FilterSettings(**settings), 24, RATE)


def voice(name: str = "alice_clear") -> torch.Tensor:
    """Four seconds of one of the pack's voices."""
    samples, rate = read_sound(VOICES / f"{name}.flac", start_s=0.0, end_s=4.0, beside_video=False)
    return resample(samples.mean(0), rate, RATE)


def white_noise(seconds: float = 3.0, level: float = 0.1) -> torch.Tensor:
    """Seeded noise."""
    return level * torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(0))


def chords(seconds: float = 4.0) -> torch.Tensor:
    """Three tones at a time, another three every half second: music of a kind, with a pitch all through."""
    parts = [
        sum(tone(0.5, pitch=base * 2 ** (step / 12)) for step in (0, 4, 7))
        for base in (220 * 2 ** (n * 5 % 12 / 12) for n in range(round(2 * seconds)))
    ]
    return torch.from_numpy(np.concatenate(parts) / 3)


def test_without_filters_everything_is_kept() -> None:
    frames = torch.zeros(25, 32, 32, 3, dtype=torch.uint8)
    assert filters().reason(clip(torch.zeros(RATE), frames)) == ""


# ---- sound


@pytest.mark.parametrize("name", ["alice_clear", "martin_deep", "nora_bright"])
def test_speech_is_speech(name: str) -> None:
    assert filters(speech_share=0.5).reason(clip(voice(name))) == ""


@pytest.mark.parametrize(
    "sound", [white_noise(), chords(), torch.from_numpy(tone(3.0)), torch.zeros(3 * RATE)], ids=list("ncts")
)
def test_noise_music_and_silence_are_no_speech(sound: torch.Tensor) -> None:
    assert filters(speech_share=0.3).reason(clip(sound)) == "0% of it is speech, at least 30% are wanted"


def test_share_of_speech_is_that_of_the_clip() -> None:
    """A third of speech: enough for a quarter, not for a half."""
    sound = torch.cat((voice(), torch.zeros(8 * RATE)))
    assert filters(speech_share=0.25).reason(clip(sound)) == ""
    assert "of it is speech, at least 50% are wanted" in filters(speech_share=0.5).reason(clip(sound))


def test_one_clip_leaves_no_trace_in_the_next() -> None:
    judge = filters(speech_share=0.3)
    first = [judge._speech_share(sound) for sound in (voice(), chords(), voice())]
    assert first[0] == first[2]


def test_silent_clips_are_found_and_quiet_ones_kept() -> None:
    judge = filters(no_silence=True)
    assert judge.reason(clip(torch.zeros(RATE))) == "silent all through"
    assert judge.reason(clip(white_noise(level=0.0005))) == "silent all through"  # -66 dBFS
    assert judge.reason(clip(0.05 * voice())) == ""


def test_long_pauses_are_found() -> None:
    paused = torch.cat((voice()[: 2 * RATE], torch.zeros(2 * RATE), voice()[: 2 * RATE]))
    judge = filters(longest_pause_s=1.0)
    assert judge.reason(clip(voice())) == ""
    assert judge.reason(clip(paused)).endswith("s without speech, at most 1 are allowed")
    assert judge.reason(clip(torch.zeros(3 * RATE))).startswith("3.00 s without speech")
    assert filters(longest_pause_s=3.0).reason(clip(paused)) == ""


def test_longest_pause_is_the_longest_run_without_speech() -> None:
    speech = torch.tensor([0, 1, 0, 0, 0, 1, 1, 0, 0], dtype=torch.bool)
    assert longest_pause_s(speech) == pytest.approx(0.03)
    assert longest_pause_s(~speech) == pytest.approx(0.02)


# ---- pictures


def moving_scene(count: int, seed: int) -> torch.Tensor:
    """A square that moves over a textured background, (count, 64, 96, 3) uint8."""
    generator = torch.Generator().manual_seed(seed)
    texture = torch.randint(0, 255, (8, 12, 3), dtype=torch.uint8, generator=generator)
    frames = texture.repeat_interleave(8, 0).repeat_interleave(8, 1).repeat(count, 1, 1, 1)
    for number in range(count):
        left = 10 + number % 60
        frames[number, 20:40, left : left + 20] = 255
    return frames


@pytest.mark.parametrize(("lengths", "cuts"), [((49,), 0), ((25, 24), 1), ((20, 20, 20), 2), ((3, 40, 2), 2)])
def test_cuts_are_counted_and_motion_is_none(lengths: tuple[int, ...], cuts: int) -> None:
    frames = torch.cat([moving_scene(length, seed) for seed, length in enumerate(lengths)])
    assert count_cuts(frames, 24) == cuts


def test_clips_with_more_cuts_than_allowed_are_left_out() -> None:
    frames = torch.cat([moving_scene(25, 0), moving_scene(24, 1)])
    assert filters(max_cuts=0).reason(clip(frames=frames)) == "1 scene cuts, at most 0 are allowed"
    assert filters(max_cuts=1).reason(clip(frames=frames)) == ""


def squares(*red: bool) -> torch.Tensor:
    """Pictures of 100 x 70, with a red square where it says so, six pictures of each."""
    frames = torch.zeros(len(red), 70, 100, 3, dtype=torch.uint8)
    for number, shown in enumerate(red):
        frames[number, 10:60, 20:70] = torch.tensor([250, 0, 0] if shown else [0, 0, 250], dtype=torch.uint8)
    return frames.repeat_interleave(6, 0)


def test_opencvs_face_detector_sees_pictures_as_they_are(tmp_path: Path) -> None:
    """Red as red, not as blue, at the picture's own size; the stand-in sees red squares in YuNet's place."""
    show_face = load_face_detector(str(write_red_square_detector(tmp_path / "red.onnx")))
    assert show_face(squares(True)[0])
    assert not show_face(squares(False)[0])
    assert show_face(squares(True)[0][:40])


def test_share_of_pictures_with_a_face_decides(tmp_path: Path) -> None:
    path = str(write_red_square_detector(tmp_path / "red.onnx"))
    frames = squares(True, True, True, False)
    assert face_share(frames, 24, load_face_detector(path)) == 0.75
    assert filters(face_share=0.7, face_detector=path).reason(clip(frames=frames)) == ""
    said = filters(face_share=0.9, face_detector=path).reason(clip(frames=frames))
    assert said == "shows a face 75% of the time, at least 90% are wanted"


def test_filters_of_pictures_and_of_sound_leave_the_other_alone(tmp_path: Path) -> None:
    path = str(write_red_square_detector(tmp_path / "red.onnx"))
    judge = filters(speech_share=0.3, no_silence=True, max_cuts=0, face_share=0.5, face_detector=path)
    assert judge.reason(clip(voice())) == ""
    assert judge.reason(clip(frames=squares(True, True))) == ""


# ---- what is missing


@pytest.mark.parametrize(
    ("settings", "module", "option"),
    [
        ({"speech_share": 0.3}, "silero_vad", "--require-speech"),
        ({"max_cuts": 0}, "scenedetect", "--max-cuts"),
        ({"face_share": 0.9, "face_detector": "x.onnx"}, "cv2", "--require-face"),
    ],
)
def test_a_missing_library_is_named_before_any_clip_is_read(
    settings: dict[str, object], module: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"{option} needs {module}.*pip install -r requirements-train\.txt"):
        filters(**settings)
    assert filters().reason(clip(torch.zeros(RATE))) == ""


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, r"face\.onnx: there is no such file"),
        (b"no model", r"--face-detector .*face\.onnx: OpenCV cannot read it"),
    ],
)
def test_a_face_detector_that_is_none_is_named(contents: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        filters(face_share=0.9, face_detector=str(path))
    with pytest.raises(ValueError, match=r"needs --face-detector FILE.*none was given"):
        Filters(replace(FilterSettings(), face_share=0.9), 24, RATE)
