"""Files written by nodes/mp4.py, decoded again by PyAV: what is in them, and that nothing half-done is left."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import types
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]

# The writer knows no ComfyUI, so its room is opened without the entrance, which does.
for name, folder in (("unitalking_bare", ROOT), ("unitalking_bare.nodes", ROOT / "nodes")):
    room = types.ModuleType(name)
    room.__path__ = [str(folder)]
    sys.modules[name] = room
mp4 = importlib.import_module("unitalking_bare.nodes.mp4")
mp4_picture = importlib.import_module("unitalking_bare.nodes.mp4_picture")
mp4_sound = importlib.import_module("unitalking_bare.nodes.mp4_sound")

SETTINGS = {
    "fps": 24,
    "crf": 18,
    "lossless": False,
    "audio_codec": "aac",
    "audio_bitrate_kbps": 192,
    "loudness_lufs": None,
    "metadata": {},
}
BLACK, GREY = (0.0, 0.0, 0.0), (0.5, 0.5, 0.5)


def write(path: Path, frames: Any, audio: dict[str, Any] | None = None, **settings: Any) -> Any:
    return mp4.write_mp4(path, frames, audio, **{**SETTINGS, **settings})


def flat(frames: int, color: tuple[float, float, float] = GREY, height: int = 32, width: int = 48) -> Tensor:
    return torch.tensor(color).expand(frames, height, width, 3)


def pictures(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Soft random pictures of 8-bit values."""
    rough = torch.rand(frames, 3, 7, 9, generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.interpolate(rough, size=(height, width), mode="bilinear").movedim(1, -1)
    return (soft * 255).round() / 255


def sine(
    seconds: float, rate: int, *, channels: int = 1, frequency: float = 440.0, amplitude: float = 0.3
) -> dict[str, Any]:
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    wave = amplitude * torch.sin(2 * math.pi * frequency * t).float()
    return {"waveform": wave.expand(1, channels, -1).contiguous(), "sample_rate": rate}


def decode_video(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def rgb(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="rgb24")


def decode_audio(path: Path) -> tuple[np.ndarray, int]:
    """Samples (C, S), full scale 1, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        channels, planar = stream.codec_context.channels, stream.format.is_planar
        parts = [frame.to_ndarray() for frame in container.decode(stream)]
        if not planar:
            parts = [part.reshape(-1, channels).T for part in parts]
        samples = np.concatenate(parts, axis=1)
        return samples / (2.0**31 if samples.dtype == np.int32 else 1.0), stream.rate


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (24, Fraction(24)),
        (25.0, Fraction(25)),
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (Fraction(50, 3), Fraction(50, 3)),
    ],
)
def test_frames_rate_and_timestamps_are_exact(tmp_path: Path, fps: float | Fraction, exact: Fraction) -> None:
    path = tmp_path / "clip.mp4"
    written = write(path, flat(49), fps=fps)
    frames = decode_video(path)
    assert [frame.pts * frame.time_base for frame in frames] == [index / exact for index in range(49)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.start_time) == (49, exact, 0)
        assert stream.duration * stream.time_base == 49 / exact
    assert written.path == path
    assert written.frames == 49
    assert written.duration_s == pytest.approx(float(49 / exact))


def test_players_find_h264_420_with_bt709_tags_and_the_index_in_front(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write(path, pictures(9, 48, 64), sine(0.5, 44100))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.width, context.height) == (64, 48)
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert container.streams.audio[0].codec_context.name == "aac"
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert data.index(b"colr") < data.index(b"mdat")


@pytest.mark.parametrize(
    "color",
    [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0), BLACK, (0.8, 0.55, 0.4), (0.1, 0.3, 0.35)],
)
def test_colours_come_back_within_three_levels(tmp_path: Path, color: tuple[float, float, float]) -> None:
    path = tmp_path / "clip.mp4"
    write(path, flat(3, color), crf=8)
    expected = np.array(color) * 255
    for frame in decode_video(path):
        assert np.abs(rgb(frame) - expected).max() <= 3


def test_colours_of_a_patchwork_stay_in_their_places(tmp_path: Path) -> None:
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.55, 0.4]])
    frames = colors.repeat_interleave(16, 0)[None, None].expand(2, 32, 64, 3)
    path = tmp_path / "clip.mp4"
    write(path, frames, crf=4)
    decoded = rgb(decode_video(path)[1]).astype(float)
    for index, color in enumerate(colors):
        middle = decoded[4:-4, 16 * index + 4 : 16 * index + 12]
        assert np.abs(middle - 255 * color.numpy()).max() <= 3


def test_chroma_lies_on_the_left_luma_column() -> None:
    red = (torch.arange(32) / 31).expand(8, 32)
    batch = torch.stack([red, torch.zeros_like(red), torch.zeros_like(red)], dim=-1)[None]
    planes = mp4_picture.yuv_frames(batch, "yuv420p")[0].planes
    stored = np.frombuffer(planes[2], np.uint8).reshape(planes[2].height, -1)[0, 1:16].astype(float)
    at_even_columns = 128 + 224 * 0.5 * red[0, 2::2].numpy()  # red - luma over its scale is half of red
    assert np.abs(stored - at_even_columns).max() <= 0.51  # half a column aside would be 1.8


def test_a_lower_crf_is_closer_to_the_picture(tmp_path: Path) -> None:
    frames = pictures(5, 64, 64)
    errors = []
    for crf in (4, 18, 40):
        write(tmp_path / "clip.mp4", frames, crf=crf)
        decoded = np.stack([rgb(frame) for frame in decode_video(tmp_path / "clip.mp4")])
        errors.append(np.abs(decoded / 255 - frames.numpy()).mean())
    assert errors[0] < errors[1] < errors[2]


def test_the_best_crf_stays_in_the_profile_that_players_know(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", pictures(2, 32, 48), crf=0)
    with av.open(str(written.path)) as container:
        assert container.streams.video[0].codec_context.profile == "High"
    assert any("crf 0 was written as crf 1" in note for note in written.notes)


@pytest.mark.parametrize("size", [(48, 64), (33, 47)])
def test_lossless_gives_every_eight_bit_value_back(tmp_path: Path, size: tuple[int, int]) -> None:
    noise = torch.randint(0, 256, (4, *size, 3), generator=torch.Generator().manual_seed(0))
    path = tmp_path / "clip.mp4"
    written = write(path, noise / 255, lossless=True)
    decoded = decode_video(path)
    assert decoded[0].format.name == "yuv444p10le"
    assert np.array_equal(np.stack([rgb(frame) for frame in decoded]), noise.numpy())
    assert not any("even" in note for note in written.notes)


def test_odd_sizes_are_made_even_by_repeating_the_edge(tmp_path: Path) -> None:
    frames = flat(2, (0.0, 1.0, 0.0), 31, 47).clone()
    path = tmp_path / "clip.mp4"
    written = write(path, frames, crf=4)
    decoded = rgb(decode_video(path)[0])
    assert decoded.shape == (32, 48, 3)
    assert np.abs(decoded - np.array([0, 255, 0])).max() <= 3
    assert any("47 x 31 was made even, 48 x 32" in note for note in written.notes)


def test_batches_give_the_same_file_as_one_tensor(tmp_path: Path) -> None:
    frames = pictures(11, 32, 48)
    write(tmp_path / "one.mp4", frames)
    write(tmp_path / "many.mp4", (frames[start : start + 3] for start in range(0, 11, 3)))
    one, many = (decode_video(tmp_path / name) for name in ("one.mp4", "many.mp4"))
    assert len(many) == 11
    assert all(np.array_equal(rgb(a), rgb(b)) for a, b in zip(one, many, strict=True))


def test_a_single_frame_makes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    written = write(path, flat(1), sine(1.0, 44100))
    assert len(decode_video(path)) == 1
    assert written.duration_s == pytest.approx(1 / 24)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(1 / 24, abs=0.002)


@pytest.mark.parametrize("codec", ["aac", "flac", "alac"])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_sound_and_picture_last_equally_long(tmp_path: Path, codec: str, rate: int) -> None:
    path = tmp_path / "clip.mp4"
    written = write(path, flat(49), sine(49 / 24, rate), audio_codec=codec)
    samples, stored_rate = decode_audio(path)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert abs(float(stream.duration * stream.time_base) - 49 / 24) < 0.002
    assert abs(samples.shape[1] / stored_rate - 49 / 24) <= 1 / 24
    if codec != "aac":
        assert stored_rate == rate
        assert samples.shape[1] == math.floor(Fraction(49 * rate, 24) + Fraction(1, 2))
        assert written.notes == ()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("codec", ["flac", "alac"])
@pytest.mark.parametrize("rate", [44100, 192000])
def test_lossless_sound_keeps_24_bits(tmp_path: Path, codec: str, channels: int, rate: int) -> None:
    whole = torch.randint(
        -(2**23), 2**23, (1, channels, rate // 2), generator=torch.Generator().manual_seed(0), dtype=torch.int64
    )
    path = tmp_path / "clip.mp4"
    write(path, flat(12), {"waveform": whole.double() / 2**23, "sample_rate": rate}, audio_codec=codec)
    samples, stored_rate = decode_audio(path)
    assert stored_rate == rate
    assert np.array_equal(samples * 2**23, whole[0].numpy())


@pytest.mark.parametrize("rate", [16000, 44100, 48000, 192000])
def test_aac_keeps_level_pitch_and_place_of_a_tone(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "clip.mp4"
    write(path, flat(48), sine(2.0, rate, channels=2, frequency=440, amplitude=0.5))
    samples, stored_rate = decode_audio(path)
    assert samples.shape[0] == 2
    inner = samples[0, stored_rate // 4 : stored_rate]
    expected = sine(2.0, stored_rate, frequency=440, amplitude=0.5)["waveform"][0, 0].numpy()
    expected = expected[stored_rate // 4 : stored_rate]
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(0.5 / math.sqrt(2), rel=0.02)
    assert np.corrcoef(inner, expected)[0, 1] > 0.999  # half a sample of delay would give 0.9995, a millisecond -0.9


@pytest.mark.parametrize("codec", ["aac", "flac", "alac"])
def test_a_flash_and_a_beep_stay_together(tmp_path: Path, codec: str) -> None:
    frames = torch.zeros(72, 32, 48, 3)
    frames[48] = 1.0
    rate = 44100
    audio = {"waveform": torch.zeros(1, 1, 3 * rate), "sample_rate": rate}
    audio["waveform"][0, 0, 2 * rate : 2 * rate + 400] = sine(1, rate, frequency=2000)["waveform"][0, 0, :400]
    path = tmp_path / "clip.mp4"
    write(path, frames, audio, audio_codec=codec)
    flash = next(float(frame.pts * frame.time_base) for frame in decode_video(path) if rgb(frame).mean() > 128)
    samples, _ = decode_audio(path)
    beep = int(np.argmax(np.abs(samples[0]) > 0.15)) / rate
    assert flash == 2.0
    assert beep == pytest.approx(2.0, abs=0.003)


def test_packets_of_picture_and_sound_are_interleaved(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write(path, pictures(60, 32, 48), sine(30, 44100), fps=2)  # longer than what FFmpeg sorts by itself
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
        packets.sort(key=lambda packet: packet.pos)
        times = [float(packet.dts * packet.time_base) for packet in packets]
        kinds = {packet.stream.type for packet in packets}
    assert kinds == {"video", "audio"}
    assert max(abs(after - before) for before, after in pairwise(times)) < 2  # one after the other would be 30


def test_a_longer_sound_is_cut_and_a_shorter_one_filled(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    written = write(path, flat(24), sine(3.0, 44100), audio_codec="flac")
    assert decode_audio(path)[0].shape[1] == 44100
    assert "The sound lasts 3.00 s, the picture 1.00 s: it was cut." in written.notes
    written = write(path, flat(24), sine(0.5, 44100), audio_codec="flac")
    samples, _ = decode_audio(path)
    assert samples.shape[1] == 44100
    assert np.abs(samples[0, 22050:]).max() == 0
    assert "The sound lasts 0.50 s, the picture 1.00 s: it was filled with silence." in written.notes


def test_a_missing_sound_is_said_and_gives_no_track(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", flat(2))
    with av.open(str(written.path)) as container:
        assert len(container.streams.audio) == 0
    assert written.notes == ("No sound was given: the file has none.",)


@pytest.mark.parametrize("samples", [0, 44100])
def test_a_silent_sound_is_said_and_gives_a_track(tmp_path: Path, samples: int) -> None:
    audio = {"waveform": torch.zeros(1, 1, samples), "sample_rate": 44100}
    written = write(tmp_path / "clip.mp4", flat(24), audio, loudness_lufs=-16.0)
    assert decode_audio(written.path)[0].shape[1] >= 44100
    assert "The sound is silent." in written.notes


def test_a_rate_that_aac_lacks_is_resampled_and_said(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", flat(24), sine(1.0, 192000))
    assert decode_audio(written.path)[1] == 48000
    assert written.notes == ("The sound is stored at 48000 Hz instead of 192000 Hz, for AAC.",)


def test_more_than_two_channels_are_mixed_and_said(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", flat(24), sine(1.0, 44100, channels=8), audio_codec="flac")
    samples, _ = decode_audio(written.path)
    assert samples.shape[0] == 1
    assert np.abs(samples).max() == pytest.approx(0.3, abs=1e-3)
    assert written.notes == ("8 channels were mixed to one.",)


def test_samples_above_full_scale_are_cut_off_and_said(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", flat(24), sine(1.0, 44100, amplitude=2.0), audio_codec="flac")
    samples, _ = decode_audio(written.path)
    assert samples.max() == pytest.approx(1.0, abs=1e-6)
    assert samples.min() == -1.0  # a wrapped integer would have the other sign
    share = float((np.abs(samples) > 0.999999).mean())
    assert share == pytest.approx(2 / 3, abs=0.01)
    assert written.notes == ("67 % of the samples were above full scale (up to +6.0 dB) and were cut off.",)


def test_a_higher_bitrate_makes_a_larger_file(tmp_path: Path) -> None:
    noise = torch.rand(1, 2, 88200, generator=torch.Generator().manual_seed(0)) - 0.5
    sizes = [
        write(tmp_path / "clip.mp4", flat(48), {"waveform": noise, "sample_rate": 44100}, audio_bitrate_kbps=rate)
        .path.stat()
        .st_size
        for rate in (64, 128, 256)
    ]
    assert sizes[0] * 1.5 < sizes[1]
    assert sizes[1] * 1.5 < sizes[2]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [0.02, 0.9])
def test_loudness_reaches_its_target(tmp_path: Path, level: float, channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    waveform = torch.rand(1, channels, 3 * 44100, generator=generator) * 2 - 1
    audio = {"waveform": waveform * level, "sample_rate": 44100}
    written = write(tmp_path / "clip.mp4", flat(72), audio, loudness_lufs=-23.0, audio_codec="flac")
    samples, rate = decode_audio(written.path)
    measured = mp4_sound.loudness(mp4_sound.Sound(torch.from_numpy(samples), rate))
    assert measured == pytest.approx(-23.0, abs=0.1)
    assert any("to -23.0 LUFS." in note for note in written.notes)


def test_loudness_survives_aac_within_half_a_unit(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", flat(72), sine(3.0, 44100, amplitude=0.05), loudness_lufs=-16.0)
    samples, rate = decode_audio(written.path)
    measured = mp4_sound.loudness(mp4_sound.Sound(torch.from_numpy(samples[:, : 3 * rate]), rate))
    assert measured == pytest.approx(-16.0, abs=0.5)


def test_the_loudness_of_the_standards_test_tone_is_known() -> None:
    tone = sine(5.0, 48000, frequency=997, amplitude=1.0)["waveform"][0]
    assert mp4_sound.loudness(mp4_sound.Sound(tone, 48000)) == pytest.approx(-3.01, abs=0.1)
    assert mp4_sound.loudness(mp4_sound.Sound(tone / 10, 48000)) == pytest.approx(-23.01, abs=0.1)


def test_loudness_stops_where_peaks_would_reach_minus_one_decibel(tmp_path: Path) -> None:
    audio = sine(2.0, 44100, amplitude=0.02)
    audio["waveform"][0, 0, 40000] = 0.5
    written = write(tmp_path / "clip.mp4", flat(48), audio, loudness_lufs=-10.0, audio_codec="flac")
    samples, _ = decode_audio(written.path)
    assert 20 * math.log10(np.abs(samples).max()) == pytest.approx(-1.0, abs=0.01)
    assert any("(not -10.0: peaks stay below -1 dBFS)" in note for note in written.notes)


def test_without_a_target_the_samples_stay_what_they_are(tmp_path: Path) -> None:
    audio = sine(1.0, 44100, amplitude=0.01)
    written = write(tmp_path / "clip.mp4", flat(24), audio, audio_codec="flac")
    samples, _ = decode_audio(written.path)
    assert np.abs(samples - audio["waveform"][0].numpy()).max() < 2**-23
    assert written.notes == ()


def test_a_sound_too_short_to_measure_is_left_alone(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", flat(5), sine(5 / 24, 44100), loudness_lufs=-16.0)
    assert any("loudness was left alone" in note for note in written.notes)


METADATA = {"prompt": '{"1": {"class_type": "Größe"}}', "workflow": '{"nodes": [' + "1, " * 20000 + "2]}"}


def test_metadata_comes_back_and_says_that_it_is_generated(tmp_path: Path) -> None:
    written = write(tmp_path / "clip.mp4", flat(2), metadata=METADATA)
    with av.open(str(written.path)) as container:
        assert {key: container.metadata[key] for key in METADATA} == METADATA
        assert "generated" in container.metadata["comment"].lower()
    write(written.path, flat(2), metadata={"comment": "mine"})
    with av.open(str(written.path)) as container:
        assert container.metadata["comment"] == "mine"


def test_comfyui_reads_pictures_sound_and_metadata(tmp_path: Path, comfy_imports: Path) -> None:
    from comfy_api.latest._input_impl.video_types import VideoFromFile

    frames, audio = pictures(25, 48, 64), sine(25 / 24, 44100)
    written = write(tmp_path / "clip.mp4", frames, audio, crf=4, metadata=METADATA)
    parts = VideoFromFile(str(written.path)).get_components()
    assert parts.frame_rate == 24
    assert parts.images.shape == frames.shape
    assert float((parts.images - frames).abs().mean()) < 0.02
    assert parts.audio["sample_rate"] == 44100
    assert parts.audio["waveform"].shape[-1] == pytest.approx(25 / 24 * 44100, abs=44100 / 24)
    assert parts.metadata["workflow"] == METADATA["workflow"]


@pytest.mark.parametrize(("where", "value"), [("pictures", float("nan")), ("sound", float("inf"))])
def test_bad_values_are_named_and_leave_no_file(tmp_path: Path, where: str, value: float) -> None:
    frames, audio = flat(9).clone(), sine(1.0, 44100)
    if where == "pictures":
        frames[6, 1, 1, 1] = value
        message = "Frame 6 has values that are NaN or infinite"
    else:
        audio["waveform"][0, 0, 5] = value
        message = "1 samples that are NaN or infinite"
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "clip.mp4", frames, audio)
    assert list(tmp_path.iterdir()) == []


def test_cancel_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"what was there before")

    class CancelledError(BaseException):
        pass

    def cancel(done: int, total: int | None) -> None:
        if done == 5:
            raise CancelledError

    with pytest.raises(CancelledError):
        write(path, flat(9), sine(1.0, 44100), on_progress=cancel)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.read_bytes() == b"what was there before"


def test_a_kill_half_way_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    script = f"""
import os, runpy
names = runpy.run_path({str(Path(__file__))!r})
def kill(done, total):
    if done == 30:
        os._exit(9)
names["write"](names["Path"]({str(tmp_path / "clip.mp4")!r}), names["flat"](40), on_progress=kill)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".mp4"]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    write(path, flat(3))
    assert len(decode_video(path)) == 3


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    write(tmp_path / "a.mp4", flat(5), on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    calls.clear()
    write(tmp_path / "b.mp4", iter([flat(2), flat(1)]), on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, None), (2, None), (3, None)]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(0, 8, 8, 3), "no pictures"),
        (torch.zeros(8, 8, 3), r"shape \(8, 8, 3\)"),
        (torch.zeros(2, 8, 8, 4), r"shape \(2, 8, 8, 4\)"),
        ([torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 16, 3)], "from 8 x 8 to 16 x 8 at frame 1"),
    ],
)
def test_pictures_of_wrong_shape_are_named(tmp_path: Path, frames: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "clip.mp4", frames)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crf": 52}, "crf is 52"),
        ({"crf": -1}, "crf is -1"),
        ({"audio_codec": "mp3"}, "'mp3'; expected one of aac, flac, alac"),
        ({"audio_bitrate_kbps": 0}, "audio_bitrate_kbps is 0"),
        ({"fps": 0}, "rate: got 0"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "clip.mp4", flat(2), **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_sound_of_wrong_shape_or_rate_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(44100,\)"):
        write(tmp_path / "clip.mp4", flat(2), {"waveform": torch.zeros(44100), "sample_rate": 44100})
    with pytest.raises(ValueError, match="0 Hz"):
        write(tmp_path / "clip.mp4", flat(2), {"waveform": torch.zeros(1, 1, 100), "sample_rate": 0})
