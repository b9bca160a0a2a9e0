"""Seconds, pictures and samples <-> latents, tokens and positions: exact integer and rational arithmetic, no tensors.

A clip has 4n+1 pictures ("frames"); the video codec makes n+1 latent frames of them, the first from one picture and
every other from four. The audio codec makes one latent from `samples_per_latent` samples. Frame rates are rational
(24000/1001 is exact), so no length depends on rounding of floats.

Source: reference.md A1 and B1 for the strides and rates; the paper (Sec. 3) for the shared time axis; rounding is ours.
"""

from __future__ import annotations

import math
from fractions import Fraction

Rate = int | float | Fraction

# People write 23.98 for 24000/1001; nothing further off is meant to be it.
NTSC_ROUNDING = 3e-4
FINEST_RATE = 10**6


def rational(rate: Rate) -> Fraction:
    """An exact rate: whole numbers stay whole, 23.976 and 29.97 become the NTSC fractions they stand for.

    Args:
        rate: frames or samples per second, above 0.

    Raises:
        ValueError: not a positive finite number, or one too small to be told from 0.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"rate: got {rate}, expected a positive number per second.")
    if isinstance(rate, Fraction):
        return rate
    ntsc = Fraction(round(rate) * 1000, 1001)
    if not float(rate).is_integer() and abs(float(ntsc) - rate) < NTSC_ROUNDING * rate:
        return ntsc
    exact = Fraction(rate).limit_denominator(FINEST_RATE)
    if not exact:
        raise ValueError(f"rate: got {rate}, expected at least {1 / FINEST_RATE:g} per second.")
    return exact


def snap_frames(frames: int, time_stride: int = 4) -> int:
    """The nearest valid clip length, `time_stride` * n + 1 pictures (ties go to the longer clip), at least 1."""
    return max(0, (frames - 1 + time_stride // 2) // time_stride) * time_stride + 1


def snap_side(pixels: int, multiple: int) -> int:
    """The nearest multiple of `multiple` pixels (ties go up), at least one."""
    return max(1, (pixels + multiple // 2) // multiple) * multiple


def video_latents(frames: int, time_stride: int = 4) -> int:
    """Latent frames of a clip of `time_stride` * n + 1 pictures; 0 for 0.

    Raises:
        ValueError: `frames` is not 0 and not `time_stride` * n + 1.
    """
    if frames == 0:
        return 0
    if frames < 0 or (frames - 1) % time_stride:
        raise ValueError(
            f"frames: got {frames}, expected {time_stride}n+1; the nearest is {snap_frames(frames, time_stride)}."
        )
    return (frames - 1) // time_stride + 1


def frames_of(latents: int, time_stride: int = 4) -> int:
    """Pictures that `latents` latent frames decode to; 0 for 0."""
    return (latents - 1) * time_stride + 1 if latents else 0


def duration_s(frames: int, fps: Rate) -> Fraction:
    """Length of `frames` pictures in seconds, exact."""
    return frames / rational(fps)


def exact_samples(frames: int, fps: Rate, sample_rate: int) -> Fraction:
    """Samples that `frames` pictures last, before rounding."""
    return duration_s(frames, fps) * sample_rate


def samples_kept(frames: int, fps: Rate, sample_rate: int) -> int:
    """Samples that belong into a file with `frames` pictures: the exact number, halves rounded up."""
    return math.floor(exact_samples(frames, fps, sample_rate) + Fraction(1, 2))


def audio_latents(frames: int, fps: Rate, sample_rate: int, samples_per_latent: int) -> int:
    """The fewest audio latents whose sound covers `frames` pictures."""
    return math.ceil(exact_samples(frames, fps, sample_rate) / samples_per_latent)


def audio_latents_within(frames: int, fps: Rate, sample_rate: int, samples_per_latent: int) -> int:
    """The most audio latents that `frames` pictures of sound determine fully (what continuation may hold)."""
    return math.floor(exact_samples(frames, fps, sample_rate) / samples_per_latent)


def frames_for(seconds: float, fps: Rate, time_stride: int = 4) -> int:
    """The shortest valid clip that lasts at least `seconds`."""
    pictures = math.ceil(Fraction(max(seconds, 0.0)).limit_denominator(10**6) * rational(fps))
    return math.ceil(max(pictures - 1, 0) / time_stride) * time_stride + 1


def position_scale(fps: Rate, time_stride: int, sample_rate: int, samples_per_latent: int) -> Fraction:
    """Position of audio latent 1 on the video's time axis: video latents per second / audio latents per second.

    Ours, the paper only says that the time axis is shared: 512/3675 = 0.13932 at 24 fps and 44.1 kHz. It depends on
    the model's rates alone, never on the two lengths of a clip.
    """
    return rational(fps) / time_stride / Fraction(sample_rate, samples_per_latent)


def clip_within(seconds: Rate, fps: Rate, time_stride: int = 4) -> int:
    """The longest valid clip that lasts at most `seconds`; 0 where there is none.

    Half a picture more is taken for rounding: files often say a little less than they hold.
    """
    pictures = math.floor(Fraction(seconds).limit_denominator(10**6) * rational(fps) + Fraction(1, 2))
    return max(0, (pictures - 1) // time_stride * time_stride + 1) if pictures else 0


def shown_pictures(frames: int, fps: Rate, source_fps: Rate, available: int) -> list[int]:
    """Which picture of a source is on the screen when each of a clip's `frames` pictures is.

    Args:
        frames: of the clip.
        fps: of the clip.
        source_fps: of the source.
        available: pictures that the source has; the last stays on.
    """
    step = rational(source_fps) / rational(fps)
    return [min(math.floor(frame * step), available - 1) for frame in range(frames)]
