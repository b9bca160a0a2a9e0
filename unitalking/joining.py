"""Two clips of which the second begins with the end of the first, made into one.

Axes: F frames, H W pixels, C channels, S samples. Source: ours, the paper does not say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from .timeline import Rate, samples_kept

FADE_S = 0.02
# The model may not turn a whisper into a shout, nor may the join.
MOST_GAIN_DB = 6.0
# Softer than this is silence, which says nothing of how loud a speech is.
_SILENCE = 10 ** (-50 / 20)
_LEVEL_S = 0.02


@dataclass
class _Room:
    """Pictures (n, H, W, 3), of which the first `used` are those of joined clips."""

    pictures: Tensor
    used: int


# Of joined clips that are still there.
_ROOMS: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def join_pictures(first: Tensor, second: Tensor, overlap: int, *, one_scene: bool = True) -> Tensor:
    """All of the first clip, then the second without its beginning, in the first one's colours.

    Args:
        first, second: (F, H, W, 3) in [0, 1]; the second's first `overlap` pictures are the first's last.
        overlap: pictures, at least 1.
        one_scene: what follows gets the mean colour of all that was before, so that a chain of clips does not drift.
            Off, where the light changes: only what decoding twice does to the pictures that both have is taken back.

    Raises:
        ValueError: clips of different sizes, or shorter than the overlap.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"The clips have pictures of {_size(first)} and {_size(second)}: join clips of one size.")
    if not 1 <= overlap <= min(len(first), len(second)):
        raise ValueError(
            f"overlap: got {overlap}, expected 1 to {min(len(first), len(second))}, the length of the shorter clip."
        )
    new = second[overlap:]
    before, after = (first, new) if one_scene and len(new) else (first[-overlap:], second[:overlap])
    return appended(first, (new + before.mean(dim=(0, 1, 2)) - after.mean(dim=(0, 1, 2))).clamp(0, 1))


def appended(first: Tensor, new: Tensor) -> Tensor:
    """One behind the other, (F, H, W, 3), as `torch.cat` gives them.

    The host keeps what every join of a chain has made. From the second on they are views of one tensor with room for
    as much again, into which the next one writes behind them: all of them take the memory of two, not of their sum.
    """
    room, end = _ROOMS.get(first), len(first) + len(new)
    if room is None or room.used != len(first) or end > len(room.pictures):
        room = _Room(first.new_empty(end if room is None else 2 * end, *first.shape[1:]), 0)
        room.pictures[: len(first)] = first
    room.pictures[len(first) : end], room.used = new, end
    joined = room.pictures[:end]
    _ROOMS[joined] = room
    return joined


def join_sounds(
    first: Tensor, second: Tensor, frames: tuple[int, int], overlap: int, fps: Rate, sample_rate: int
) -> Tensor:
    """The sound of two joined clips: exactly as long as their pictures, without a click, of one loudness.

    The second takes over at the end of the overlap, within 20 ms.

    Args:
        first, second: (C, S), as long as their pictures.
        frames: pictures of the first and of the second.
        overlap: pictures that both have.
        fps: pictures per second.
        sample_rate: Hz.
    """
    starts = samples_kept(frames[0] - overlap, fps, sample_rate)
    total = samples_kept(frames[0] + frames[1] - overlap, fps, sample_rate)
    ends = samples_kept(frames[0], fps, sample_rate)
    first, second = _fitted(first, ends), _fitted(second, total - starts)
    second = second * gain_between(first, second, sample_rate)
    fade = min(round(FADE_S * sample_rate), ends - starts)
    joined = first.new_zeros(first.shape[0], total)
    joined[:, :ends], joined[:, ends:] = first, second[:, ends - starts :]
    before, after = first[:, ends - fade : ends], second[:, ends - starts - fade : ends - starts]
    joined[:, ends - fade : ends] = _faded(before, after)
    return joined


def gain_between(first: Tensor, second: Tensor, sample_rate: int) -> float:
    """What makes the second sound (C, S) as loud as the first, by the level of what is not silent; at most 6 dB."""
    levels = [_level(each, sample_rate) for each in (first, second)]
    if None in levels:
        return 1.0
    most = 10 ** (MOST_GAIN_DB / 20)
    return min(max(levels[0] / levels[1], 1 / most), most)


def _faded(before: Tensor, after: Tensor) -> Tensor:
    """From one sound (C, S) to the other, of one power all along.

    Both say the same there, with phases of their own: how alike they are decides what their sum has to be divided by.
    """
    share = torch.linspace(0, 1, before.shape[1], dtype=before.dtype, device=before.device)
    # Opposite phases cancel each other, and nothing is made louder for that than it is for different sounds.
    alike = functional.cosine_similarity(before.flatten(), after.flatten(), dim=0).clamp(min=0)
    power = (1 - share) ** 2 + share**2 + 2 * alike * share * (1 - share)
    return (before * (1 - share) + after * share) / power.sqrt()


def _level(sound: Tensor, sample_rate: int) -> float | None:
    step = max(1, round(_LEVEL_S * sample_rate))
    whole = sound.shape[1] // step * step
    power = sound[:, :whole].double().square().mean(0).reshape(-1, step).mean(1)
    heard = power[power > _SILENCE**2]
    return float(heard.mean().sqrt()) if len(heard) else None


def _fitted(sound: Tensor, samples: int) -> Tensor:
    return functional.pad(sound[:, :samples], (0, max(0, samples - sound.shape[1])))


def _size(pictures: Tensor) -> str:
    return f"{pictures.shape[2]}x{pictures.shape[1]}"
