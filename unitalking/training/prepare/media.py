"""Pictures and sound of media files on one clock: frames nearest in time, sound from the same moment on. PyAV.

Time 0 of a file is the beginning of its picture, or of its sound where it has no picture or none is wanted.
Axes: F pictures, H W pixels, C channels, S samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from ... import timeline
from .sources import SkipClip

# A container that says it is longer than this beyond what it holds was cut off.
CUT_OFF_S, CUT_OFF_SHARE = 0.5, 0.05
# Sound is decoded from this much earlier after a jump: compressed sound needs a few packets to settle.
SOUND_LEAD_S = Fraction(1, 2)
TIME_BASE = 1_000_000


class NoStream(SkipClip):
    """A file without the picture or the sound that was looked for."""


SizeFor = Callable[[int, int], tuple[int, int]]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open container; whatever the library finds wrong with it is a reason to skip the clip."""
    if not path.is_file():
        raise SkipClip(f"{path.name} is missing")
    try:
        with av.open(str(path)) as container:
            yield container
    except SkipClip:
        raise
    except (av.error.FFmpegError, ValueError, LookupError, ArithmeticError) as error:
        what = "is empty" if path.stat().st_size == 0 else "cannot be read; it is damaged, cut off, or no media file"
        raise SkipClip(f"{path.name} {what} ({str(error).splitlines()[0]})") from error


def duration_s(path: Path, *, video: bool) -> Fraction:
    """How long a file says it is, 0 if it does not.

    Raises:
        SkipClip: it cannot be read, or has no such stream.
    """
    with opened(path) as container:
        return _said_duration(container, _stream(container, path, "video" if video else "audio"))


def read_frames(
    path: Path, fps: float, size_for: SizeFor, *, start_s: float, end_s: float | None, most: int, lowest_fps: float
) -> Tensor:
    """The pictures of a clip at the model's rate.

    Picture k is the one nearest to `start_s` + k / fps, as a player would show it; none is made up beyond the end.

    Args:
        path: of the file.
        fps: wanted.
        size_for: from (width, height) of the file to those wanted; pictures are fitted by a centre crop.
        start_s, end_s: part of the file; None: to its end.
        most: as many pictures at most.
        lowest_fps: files of a lower rate are refused.

    Returns:
        (F, H, W, 3) uint8, F of any number.

    Raises:
        SkipClip: unreadable, without pictures, too few per second, or cut off.
    """
    with opened(path) as container:
        stream = _stream(container, path, "video")
        stream.codec_context.thread_count = 1
        rate = stream.average_rate or stream.guessed_rate
        if not rate or rate < lowest_fps:
            raise SkipClip(
                f"{path.name} has {float(rate or 0):.3g} pictures per second, expected at least {lowest_fps:g}"
            )
        start = Fraction(start_s).limit_denominator(TIME_BASE)
        wanted = timeline.rational(fps)
        if end_s is not None:
            most = min(
                most, math.floor((Fraction(end_s).limit_denominator(TIME_BASE) - start) * wanted + Fraction(1, 2))
            )
        pictures = _Nearest(start, wanted, most, size_for)
        for time, frame in _timed_frames(container, stream, start, Fraction(rate)):
            if pictures.full:
                break
            pictures.add(time, frame)
        pictures.finish(1 / Fraction(rate))
        if not pictures.full and end_s is None:
            _check_end(path, pictures.end, _said_duration(container, stream))
    if not pictures.chosen:
        raise SkipClip(f"{path.name} has no pictures" + (f" from {start_s:g} s on" if start_s else ""))
    return torch.from_numpy(np.stack(pictures.chosen))


class _Nearest:
    """Chooses, for every wanted moment, the nearest of pictures that arrive in the order of their times."""

    def __init__(self, start: Fraction, fps: Fraction, most: int, size_for: SizeFor) -> None:
        self.start, self.fps, self.most, self.size_for = start, fps, most, size_for
        self.chosen: list[np.ndarray] = []
        self.last: tuple[Fraction, Any] | None = None
        self.fitted: tuple[Any, np.ndarray] | None = None
        self.size: tuple[int, int] | None = None
        self.end = Fraction(0)

    @property
    def full(self) -> bool:
        """Whether all that are wanted are there."""
        return len(self.chosen) >= self.most

    @property
    def moment(self) -> Fraction:
        """Time of the next wanted picture."""
        return self.start + len(self.chosen) / self.fps

    def add(self, time: Fraction, frame: Any) -> None:
        """The next picture of the file."""
        while not self.full and self.moment <= time:
            earlier = self.last is not None and self.moment - self.last[0] <= time - self.moment
            self._choose(self.last[1] if earlier else frame)
        self.last = (time, frame)

    def finish(self, length: Fraction) -> None:
        """No more pictures: the last one is shown for `length` seconds."""
        if self.last is None:
            return
        self.end = self.last[0] + length
        count = math.floor((self.end - self.start) * self.fps + Fraction(1, 2))
        while not self.full and len(self.chosen) < count:
            self._choose(self.last[1])

    def _choose(self, frame: Any) -> None:
        if self.fitted is None or self.fitted[0] is not frame:
            picture = _upright(frame)
            # Streams may change their size on the way; a clip keeps the one that it begins with.
            self.size = self.size or self.size_for(picture.shape[1], picture.shape[0])
            self.fitted = (frame, crop_to(picture, *self.size))
        self.chosen.append(self.fitted[1])


def _upright(frame: Any) -> np.ndarray:
    """A decoded picture as a player shows it, (H, W, 3) uint8."""
    picture = frame.to_ndarray(format="rgb24")
    return np.rot90(picture, round((getattr(frame, "rotation", 0) or 0) / 90))


def crop_to(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The crop of `fit_portrait`, (H, W, 3) uint8 -> (height, width, 3), in bytes: 25 times as fast as in floats.

    Measured difference on drawn portraits: at most 2 of 255 made smaller, 6 at hard edges of enlarged ones.
    """
    if picture.shape[:2] == (height, width):
        return np.ascontiguousarray(picture)
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = max(height, round(picture.shape[0] * scale)), max(width, round(picture.shape[1] * scale))
    values = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(values, size=size, mode="bicubic", antialias=True)[0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return resized[:, top : top + height, left : left + width].permute(1, 2, 0).contiguous().numpy()


def _timed_frames(container: Any, stream: Any, start: Fraction, rate: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """Pictures with their time in seconds from the first, from the one before `start` on."""
    origin = (stream.start_time or 0) * stream.time_base
    if start > 0:
        container.seek(int((start + origin) * TIME_BASE), backward=True)
    number = 0
    for frame in container.decode(stream):
        time = number / rate if frame.pts is None else frame.pts * stream.time_base - origin
        number += 1
        yield time, frame


def read_sound(path: Path, *, start_s: float, end_s: float | None, beside_video: bool) -> tuple[Tensor, int]:
    """The sound of a clip.

    Args:
        path: of the file.
        start_s, end_s: part of the file; None: to its end.
        beside_video: time 0 is the beginning of the file's picture.

    Returns:
        (C, S) float32 and the sample rate; silence where the sound begins later than the picture.

    Raises:
        SkipClip: unreadable, without sound, or cut off.
    """
    with opened(path) as container:
        stream = _stream(container, path, "audio")
        stream.codec_context.thread_count = 1
        clock = container.streams.video[0] if beside_video else stream
        origin = (clock.start_time or 0) * clock.time_base
        start = origin + Fraction(start_s).limit_denominator(TIME_BASE)
        stop = None if end_s is None else origin + Fraction(end_s).limit_denominator(TIME_BASE)
        if start_s > 0:
            container.seek(int((start - SOUND_LEAD_S) * TIME_BASE), backward=True)
        first, samples, rate = _decoded_sound(container, stream, path, stop)
        end = first + Fraction(samples.shape[1], rate)
        if stop is None:
            # A picture may be longer than its sound: only the sound's own length tells.
            said = Fraction(stream.duration or 0) * stream.time_base
            _check_end(path, end - (stream.start_time or 0) * stream.time_base, said)
    offset = round((first - start) * rate)
    samples = torch.nn.functional.pad(samples, (offset, 0)) if offset > 0 else samples[:, -offset:]
    if stop is not None:
        samples = samples[:, : max(0, round((stop - start) * rate))]
    if not samples.shape[1]:
        raise SkipClip(f"{path.name} has no sound" + (f" from {start_s:g} s on" if start_s else ""))
    return samples, rate


def _decoded_sound(container: Any, stream: Any, path: Path, stop: Fraction | None) -> tuple[Fraction, Tensor, int]:
    """Time of the first sample, all samples (C, S) until `stop`, and their rate."""
    rate = stream.rate
    to_float = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
    first, parts = None, []
    for frame in container.decode(stream):
        time = Fraction(0) if frame.pts is None else frame.pts * frame.time_base
        first = time if first is None else first
        if stop is not None and time > stop:
            break
        parts += [part.to_ndarray() for part in to_float.resample(frame)]
    parts += [part.to_ndarray() for part in to_float.resample(None)] if parts else []
    if not parts:
        raise SkipClip(f"{path.name} has no sound")
    return first, torch.from_numpy(np.concatenate(parts, axis=1)), rate


def _stream(container: Any, path: Path, kind: str) -> Any:
    streams = getattr(container.streams, kind)
    if not streams:
        raise NoStream(f"{path.name} has no {'picture' if kind == 'video' else 'sound'}")
    return streams[0]


def _said_duration(container: Any, stream: Any) -> Fraction:
    if stream.duration:
        return stream.duration * stream.time_base
    return Fraction(container.duration or 0, TIME_BASE)


def _check_end(path: Path, end: Fraction, said: Fraction) -> None:
    if said - end > max(CUT_OFF_S, CUT_OFF_SHARE * said):
        raise SkipClip(
            f"{path.name} was cut off: it says that it lasts {float(said):.2f} s and holds {float(end):.2f} s"
        )
