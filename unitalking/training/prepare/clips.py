"""A clip as the encoders take it: pictures at the model's rate and size, sound at the codec's, texts, references."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ... import timeline
from ...config import UniTalkingConfig
from ...voice import analyse_voice, resample
from .media import NoStream, duration_s, read_frames, read_sound
from .sources import ClipSource, Row, SkipClip

# As Encode Voice Reference: never more of a clip than this.
LONGEST_REFERENCE_S = 10.0


@dataclass(frozen=True)
class ReadSettings:
    """How clips are read.

    Attributes:
        sizes: (width, height) in pixels; the one nearest in shape is taken.
        longest_s: longer clips are refused, or cut into parts.
        shortest_s: shorter ones are refused.
        too_long: "skip", or "cut" into parts of at most `longest_s`, each with all of the clip's texts.
        lowest_fps: slower files are refused.
        audio_only: leave pictures out.
        allow_silent: keep clips without sound.
        allow_no_speech: keep clips without text.
        references: reference clips of every synthetic clip.
    """

    sizes: tuple[tuple[int, int], ...]
    longest_s: float
    shortest_s: float = 0.5
    too_long: str = "skip"
    lowest_fps: float = 15.0
    audio_only: bool = False
    allow_silent: bool = False
    allow_no_speech: bool = False
    references: int = 1


@dataclass(frozen=True, eq=False)
class RawClip:
    """A clip before encoding.

    Attributes:
        key: its name in the data set.
        source: for messages.
        frames: (4 n + 1, H, W, 3) uint8, None without picture.
        waveform: (S,) float32 at the codec's rate, a whole number of latents, None without sound.
        references: (S,) each, at the codec's rate.
        row: texts and speaker.
        spoken: when the speech begins and ends, in seconds, where the source knows.
    """

    key: str
    source: str
    frames: Tensor | None
    waveform: Tensor | None
    references: tuple[Tensor, ...] = ()
    row: Row = field(default_factory=Row)
    spoken: tuple[float, float] | None = None


class ClipReader:
    """Reads clips of files for a model with these rates."""

    def __init__(self, config: UniTalkingConfig, settings: ReadSettings) -> None:
        self.config, self.settings = config, settings
        self.most_frames = self._frames_within(settings.longest_s)

    def read(self, source: ClipSource) -> Iterator[RawClip]:
        """The clip, or its parts if it is too long and may be cut.

        Raises:
            SkipClip: it cannot be used, and why.
        """
        row = source.described()
        if not row.speech and not self.settings.allow_no_speech:
            raise SkipClip("no text: expected speech in a .txt or .json beside it, or in the manifest")
        folder = Path(source.folder)
        references = tuple(self._reference(folder / path) for path in row.references)
        parts = list(self._parts(folder, row))
        for number, part in enumerate(parts):
            key = source.key if len(parts) == 1 else f"{source.key}-{number:03d}"
            yield self._read_part(key, source, folder, part, references)

    def _parts(self, folder: Path, row: Row) -> Iterator[Row]:
        """The row, or one row for each part of a clip that is too long and may be cut."""
        video = row.video is not None and not self.settings.audio_only
        end = row.end_s
        if end is None:
            end = float(duration_s(folder / (row.video if video else row.audio or row.video), video=video))
        length = end - row.start_s
        # Files often say a little more than they hold.
        if length <= self.settings.longest_s + 0.1:
            yield row
            return
        if self.settings.too_long == "skip":
            raise SkipClip(
                f"lasts {length:.2f} s, expected at most {self.settings.longest_s:g}; cut it (with its text), "
                "or allow longer clips by --longest"
            )
        step = self.most_frames / float(timeline.rational(self.config.fps))
        for number in range(math.ceil(length / step)):
            start = row.start_s + number * step
            stop = min(start + step, end)
            if stop - start >= self.settings.shortest_s:
                yield replace(row, start_s=start, end_s=stop)

    def _read_part(
        self, key: str, source: ClipSource, folder: Path, row: Row, references: tuple[Tensor, ...]
    ) -> RawClip:
        settings, config = self.settings, self.config
        span = {"start_s": row.start_s, "end_s": row.end_s}
        frames = None
        if row.video is not None and not settings.audio_only:
            options = {"most": self.most_frames, "lowest_fps": settings.lowest_fps}
            frames = read_frames(folder / row.video, config.fps, self.size_for, **span, **options)
            frames = frames[: whole_clip(len(frames), config.time_stride)]
        waveform = self._sound(folder, row, span)
        return fit_clip(RawClip(key, source.name, frames, waveform, references, row), config, settings)

    def _sound(self, folder: Path, row: Row, span: dict[str, float | None]) -> Tensor | None:
        path = folder / (row.audio or row.video or "")
        beside_video = row.audio is None and not self.settings.audio_only
        try:
            channels, rate = read_sound(path, beside_video=beside_video, **span)
        except NoStream:
            if self.settings.allow_silent and row.audio is None and not self.settings.audio_only:
                return None
            raise
        return resample(channels.mean(dim=0), rate, self.config.sample_rate)

    def _reference(self, path: Path) -> Tensor:
        try:
            channels, rate = read_sound(path, start_s=0.0, end_s=None, beside_video=False)
            return reference_waveform(channels, rate, self.config)
        except (SkipClip, ValueError) as error:
            raise SkipClip(f"reference {path.name}: {error}") from error

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """The wanted size nearest in shape; of several of that shape the largest that enlarges nothing."""
        return nearest_size(self.settings.sizes, width, height)

    def _frames_within(self, seconds: float) -> int:
        rate = timeline.rational(self.config.fps)
        return whole_clip(math.floor(seconds * rate + 1e-6), self.config.time_stride)


def nearest_size(sizes: tuple[tuple[int, int], ...], width: int, height: int) -> tuple[int, int]:
    """See `ClipReader.size_for`."""
    off = {size: abs(math.log(size[0] / size[1] * height / width)) for size in sizes}
    nearest = [size for size in sizes if off[size] < min(off.values()) + 1e-9]
    fitting = [size for size in nearest if size[0] <= width and size[1] <= height]
    return max(fitting) if fitting else min(nearest)


def whole_clip(frames: int, time_stride: int) -> int:
    """The longest valid clip of at most so many pictures; 0 for 0."""
    return (frames - 1) // time_stride * time_stride + 1 if frames else 0


def fit_clip(clip: RawClip, config: UniTalkingConfig, settings: ReadSettings) -> RawClip:
    """The clip with sound as long as inference makes it for so many pictures.

    A clip without picture is filled up with silence to the length of the next valid clip, so that training sees the
    lengths that inference plans.

    Raises:
        SkipClip: too short.
    """
    rate, step = timeline.rational(config.fps), config.samples_per_latent
    if clip.frames is not None:
        frames = len(clip.frames)
        seconds = float(frames / rate)
    else:
        seconds = clip.waveform.shape[0] / config.sample_rate
        # One sample less: so many pictures rarely last a whole number of samples, and were rounded up.
        frames = timeline.frames_for(seconds - 1 / config.sample_rate, config.fps, config.time_stride)
    if seconds < settings.shortest_s:
        raise SkipClip(f"lasts {seconds:.2f} s, expected at least {settings.shortest_s:g}")
    if clip.waveform is None:
        return clip
    samples = timeline.audio_latents(frames, config.fps, config.sample_rate, step) * step
    waveform = torch.nn.functional.pad(clip.waveform, (0, max(0, samples - clip.waveform.shape[0])))[:samples]
    if not bool(waveform.isfinite().all()):
        raise SkipClip("its sound holds NaN or Inf")
    return replace(clip, waveform=waveform.float().contiguous())


def reference_waveform(channels: Tensor, sample_rate: int, config: UniTalkingConfig) -> Tensor:
    """What Encode Voice Reference encodes of a clip: its best stretch, (S,) at the codec's rate.

    Args:
        channels: (C, S).

    Raises:
        ValueError: silent, empty, or with NaN.
    """
    filled_s = config.reference_tokens / config.audio_latents_per_s
    window_s = min(filled_s, LONGEST_REFERENCE_S) if filled_s else LONGEST_REFERENCE_S
    clip = analyse_voice(channels, sample_rate, window_s=window_s, codec_sample_rate=config.sample_rate)
    return resample(clip.waveform, sample_rate, config.sample_rate)
