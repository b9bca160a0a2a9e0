"""Reading clips: the right pictures at the model's rate, sound on the same clock, reasons for what cannot be read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clip_files import RATE, pictures, tone, write_sound, write_video
from PIL import Image

from unitalking.portrait import fit_portrait
from unitalking.training.prepare.media import NoStream, crop_to, duration_s, read_frames, read_sound
from unitalking.training.prepare.sources import SkipClip

PORTRAITS = Path(__file__).resolve().parent.parent.parent / "assets" / "portraits"
SPAN = {"start_s": 0.0, "end_s": None}
READING = {**SPAN, "most": 1000, "lowest_fps": 5.0}


def same_size(width: int, height: int) -> tuple[int, int]:
    """Keeps pictures as they are."""
    return width, height


def numbers(frames: torch.Tensor) -> list[int]:
    """Which pictures of `pictures` these are."""
    return (frames.float().mean((1, 2, 3)) / 4).round().int().tolist()


@pytest.mark.parametrize("fps", [24, 25, 30, 15, 50, Fraction(24000, 1001), Fraction(30000, 1001)])
def test_pictures_are_those_nearest_in_time(fps: float, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", pictures(60), fps=fps)
    chosen = np.array(numbers(read_frames(path, 24, same_size, **READING)))
    wanted = np.arange(len(chosen)) / 24
    off = np.abs(np.arange(60)[:, None] / float(fps) - wanted)  # (pictures, moments)
    assert len(chosen) == int(60 / float(fps) * 24 + 0.5)
    # The container rounds times to milliseconds.
    assert (off[chosen, np.arange(len(chosen))] <= off.min(0) + 1.1e-3).all()


def test_pictures_of_varying_rate_are_chosen_by_their_times(tmp_path: Path) -> None:
    times_ms = [0, 40, 500, 520, 600, 1000]
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        stream.codec_context.time_base = Fraction(1, 1000)
        for picture, time in zip(pictures(6), times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = read_frames(path, 10, same_size, **{**READING, "lowest_fps": 0.1, "most": 11})
    # Wanted at 0, 100, ... 1000 ms.
    assert numbers(frames) == [0, 1, 1, 2, 2, 2, 4, 4, 4, 5, 5]


@pytest.mark.parametrize("start", [0.5, 1.0, 1.25])
@pytest.mark.parametrize("between_keys", ["5", "50"])
def test_a_part_begins_where_it_is_said_to(start: float, between_keys: str, tmp_path: Path) -> None:
    """Wherever the key picture before it lies, from which decoding starts."""
    path = write_video(tmp_path / "clip.mp4", pictures(60), codec="libx264", codec_options={"g": between_keys})
    frames = read_frames(path, 24, same_size, **{**READING, "start_s": start, "end_s": start + 1})
    assert numbers(frames) == [round(24 * start) + k for k in range(24)]


def test_no_more_pictures_than_wanted_are_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", pictures(60))
    assert numbers(read_frames(path, 24, same_size, **{**READING, "most": 5})) == [0, 1, 2, 3, 4]


def test_pictures_are_fitted_by_a_centre_crop(tmp_path: Path) -> None:
    wide = np.zeros((3, 40, 120, 3), np.uint8)
    wide[:, :, 40:80] = 200  # the middle third
    path = write_video(tmp_path / "clip.mkv", wide)
    frames = read_frames(path, 24, lambda width, height: (40, 40), **READING)
    assert frames.shape == (3, 40, 40, 3)
    assert int(frames.min()) > 195


def test_a_stream_that_changes_its_size_gives_pictures_of_one_size(tmp_path: Path) -> None:
    path, codec = tmp_path / "clip.m2v", "mpeg2video"
    parts = [write_video(tmp_path / f"{side}.m2v", pictures(12, 64, side), codec=codec) for side in (48, 96)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = read_frames(path, 24, same_size, **READING)
    assert frames.shape[1:] == (48, 64, 3)
    assert len(frames) > 12


@pytest.mark.parametrize(("width", "height"), [(128, 128), (96, 160), (160, 64), (512, 512)])
def test_fitting_is_that_of_a_portrait(width: int, height: int) -> None:
    """But for the rounding of bytes: the first picture of training is fitted as a portrait is in ComfyUI."""
    picture = np.asarray(Image.open(PORTRAITS / "amara.jpg").convert("RGB"))[:, 20:-31]
    expected = fit_portrait(torch.from_numpy(picture.copy()).float()[None] / 255, width, height, "crop")[0][0] * 255
    found = torch.from_numpy(crop_to(picture, width, height)).float()
    assert found.shape == expected.shape
    apart = (found - expected).abs()
    assert float(apart.flatten().quantile(0.999)) < 1  # the rest lies at the drawing's hard edges
    assert float(apart.mean()) < 0.25


def test_a_phone_held_upright_gives_upright_pictures(tmp_path: Path) -> None:
    lying = np.zeros((5, 32, 64, 3), np.uint8)
    lying[:, :, :16] = 255  # on the left: on top after a quarter turn clockwise
    path = write_video(tmp_path / "clip.mp4", lying, codec="libx264")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    turned = (0, 1 << 16, 0, -1 << 16, 0, 0, 32 << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turned)
    path.write_bytes(data)
    frames = read_frames(path, 24, same_size, **READING)
    assert frames.shape[1:3] == (64, 32)
    assert float(frames[:, :16].float().mean()) > 200
    assert float(frames[:, 32:].float().mean()) < 50


def flash_and_click(fps: float = 24, rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that are white in picture 24 alone, and a click when it is shown."""
    frames = np.zeros((49, 32, 32, 3), np.uint8)
    frames[24] = 255
    sound = np.zeros(round(49 / fps * rate), np.float32)
    click = round(24 / fps * rate)
    sound[click : click + 40] = 0.9
    return frames, sound


@pytest.mark.parametrize(
    ("ending", "codecs", "rate"),
    [
        ("mkv", {}, RATE),
        ("mp4", {"codec": "libx264", "sound_codec": "aac"}, 44100),
        ("mp4", {"codec": "mpeg4", "sound_codec": "aac"}, 48000),
        ("webm", {"codec": "libvpx-vp9", "sound_codec": "libopus"}, 48000),
    ],
)
def test_a_click_stays_at_its_flash(ending: str, codecs: dict[str, str], rate: int, tmp_path: Path) -> None:
    frames, sound = flash_and_click(rate=rate)
    path = write_video(tmp_path / f"clip.{ending}", frames, sound, rate=rate, **codecs)
    for start in (0.0, 0.5):
        part = {"start_s": start, "end_s": 2.0}
        shown = read_frames(path, 24, same_size, **{**READING, **part})
        heard, heard_rate = read_sound(path, beside_video=True, **part)
        flash_s = int(shown.float().mean((1, 2, 3)).argmax()) / 24
        click_s = float(heard[0].abs().gt(0.3).nonzero()[0]) / heard_rate
        assert flash_s == 1.0 - start
        assert abs(click_s - flash_s) < 0.003


def test_sound_that_begins_later_than_the_picture_is_preceded_by_silence(tmp_path: Path) -> None:
    frames, sound = flash_and_click()
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
        late = RATE // 2
        samples = (sound[late:] * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, late, Fraction(1, RATE)
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    heard, rate = read_sound(path, beside_video=True, **SPAN)
    assert abs(float(heard[0].abs().gt(0.3).nonzero()[0]) / rate - 1.0) < 0.002
    assert float(heard[0, : late - 50].abs().max()) == 0


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_samples_come_back_as_they_were_written(rate: int, tmp_path: Path) -> None:
    sound = tone(1.5, rate)
    samples, found = read_sound(write_sound(tmp_path / "clip.wav", sound, rate), beside_video=False, **SPAN)
    assert found == rate
    assert samples.shape == (1, len(sound))
    torch.testing.assert_close(samples[0], torch.from_numpy(sound), rtol=0, atol=1e-4)


def test_a_part_of_a_sound_is_that_part(tmp_path: Path) -> None:
    sound = tone(3.0) * np.linspace(0, 1, 3 * RATE, dtype=np.float32)
    path = write_sound(tmp_path / "clip.wav", sound)
    samples, _ = read_sound(path, start_s=1.0, end_s=2.5, beside_video=False)
    torch.testing.assert_close(samples[0], torch.from_numpy(sound[RATE : 5 * RATE // 2]), rtol=0, atol=1e-4)


def test_length_is_that_of_the_stream(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", pictures(48), tone(2.0), codec="libx264", sound_codec="aac")
    assert float(duration_s(path, video=True)) == pytest.approx(2.0, abs=0.01)
    assert float(duration_s(path, video=False)) == pytest.approx(2.0, abs=0.08)


# ---- what cannot be read


def test_a_file_without_the_stream_says_so(tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mkv", pictures(5))
    with pytest.raises(NoStream, match=r"silent\.mkv has no sound"):
        read_sound(silent, beside_video=True, **SPAN)
    with pytest.raises(NoStream, match=r"clip\.wav has no picture"):
        read_frames(write_sound(tmp_path / "clip.wav", tone(1)), 24, same_size, **READING)


@pytest.mark.parametrize(
    ("contents", "message"),
    [(None, "is missing"), (b"", "is empty"), (b"not a video" * 100, "cannot be read; it is damaged")],
)
def test_a_file_that_is_no_video_says_what_is_wrong(contents: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    if contents is not None:
        path.write_bytes(contents)
    for read in (
        lambda: read_frames(path, 24, same_size, **READING),
        lambda: read_sound(path, beside_video=False, **SPAN),
        lambda: duration_s(path, video=True),
    ):
        with pytest.raises(SkipClip, match=message):
            read()


@pytest.mark.parametrize("fast_start", [False, True])
def test_a_cut_off_video_is_found(fast_start: bool, tmp_path: Path) -> None:
    """With the index at its end the file cannot be opened, with the index in front it opens and ends too early."""
    noise = np.random.default_rng(0).integers(0, 255, (96, 64, 64, 3), np.uint8)
    options = {"movflags": "faststart"} if fast_start else {}
    path = write_video(tmp_path / "clip.mp4", noise, tone(4.0), codec="libx264", sound_codec="aac", options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = r"clip\.mp4 (was cut off: it says that it lasts 4\.0|cannot be read)"
    with pytest.raises(SkipClip, match=message):
        read_frames(path, 24, same_size, **READING)
    with pytest.raises(SkipClip, match=message):
        read_sound(path, beside_video=True, **SPAN)


def test_a_video_of_too_few_pictures_per_second_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", pictures(20), fps=8)
    with pytest.raises(SkipClip, match=r"clip\.mkv has 8 pictures per second, expected at least 15"):
        read_frames(path, 24, same_size, **{**READING, "lowest_fps": 15.0})


def test_a_part_beyond_the_end_holds_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", pictures(24), tone(1.0))
    with pytest.raises(SkipClip, match="no pictures from 5 s on"):
        read_frames(path, 24, same_size, **{**READING, "start_s": 5.0})
    with pytest.raises(SkipClip, match="no sound"):
        read_sound(path, start_s=5.0, end_s=6.0, beside_video=True)
