"""Small media files for tests, written with PyAV: moving pictures and tones that can be told apart."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 16000


def tone(seconds: float, rate: int = RATE, pitch: float = 220.0) -> np.ndarray:
    """A buzz (S,) float32 that swells, with a pitch that voice analysis finds."""
    time = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * math.pi * pitch * k * time) / k for k in range(1, 9))
    return (0.15 * buzz * (0.6 + 0.4 * np.sin(2 * math.pi * 3 * time))).astype(np.float32)


def pictures(count: int, width: int = 64, height: int = 48) -> np.ndarray:
    """(count, height, width, 3) uint8; picture k is grey of value 4 k, so that its number can be read from it."""
    return np.broadcast_to(
        (4 * np.arange(count) % 256).astype(np.uint8)[:, None, None, None], (count, height, width, 3)
    ).copy()


def write_video(
    path: Path,
    frames: np.ndarray,
    sound: np.ndarray | None = None,
    fps: float | Fraction = 24,
    rate: int = RATE,
    *,
    codec: str = "ffv1",
    sound_codec: str = "pcm_s16le",
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> Path:
    """A video file; lossless by default, for which the ending must be .mkv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=codec_options or {})
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        audio = None if sound is None else container.add_stream(sound_codec, rate=rate, layout="mono")
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
        if audio is not None:
            _mux_sound(container, audio, sound, rate)
    return path


def write_sound(path: Path, sound: np.ndarray, rate: int = RATE, codec: str = "pcm_s16le") -> Path:
    """A sound file; .wav by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        _mux_sound(container, container.add_stream(codec, rate=rate, layout="mono"), sound, rate)
    return path


def _mux_sound(container: av.container.OutputContainer, stream: av.AudioStream, sound: np.ndarray, rate: int) -> None:
    done = 0
    for part in np.split(sound, range(1024, len(sound), 1024)):
        samples = (part * 32767).round().astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, done, Fraction(1, rate)
        done += len(part)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
