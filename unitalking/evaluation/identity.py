"""Whether a clip shows the face of its portrait. F frames, H W pixels, N portraits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .mouth import MOUTH_BOX, pixels_of

LOOKED_AT = (0.5, 0.75, 1.0)
REACH = 1 / 20
COARSE = 32


def face_distance(frames: Tensor, portrait: Tensor) -> float:
    """Mean absolute difference to the portrait outside of the mouth, in 255ths.

    The head may have moved: the portrait is shifted by up to a twentieth of the picture to where it fits best.

    Args:
        frames: (F, H, W, 3) uint8; the middle one, the one after three quarters and the last one are looked at.
        portrait: (H, W, 3) uint8.
    """
    reach = max(2, round(REACH * min(portrait.shape[:2])))
    still = portrait.permute(2, 0, 1).float()
    places = [round(share * (len(frames) - 1)) for share in LOOKED_AT]
    distances = []
    for frame in frames[places].permute(0, 3, 1, 2).float():
        half = [functional.avg_pool2d(picture, 2) for picture in (frame, still)]
        coarse = _shift_costs(*half, (0, 0), reach // 2, reach // 2)
        down, right = (2 * place for place in min(coarse, key=coarse.__getitem__))
        fine = _shift_costs(frame, still, (down, right), 1, reach)
        distances.append(min(fine.values()))
    return sum(distances) / len(distances)


def _shift_costs(
    frame: Tensor, still: Tensor, around: tuple[int, int], spread: int, reach: int
) -> dict[tuple[int, int], float]:
    """Mean difference outside of the mouth for shifts of the portrait near one, at most `reach`."""
    height, width = still.shape[1:]
    keep = _outside_mouth(height, width)[reach : height - reach, reach : width - reach]
    inner = frame[:, reach : height - reach, reach : width - reach]
    steps = range(-spread, spread + 1)
    costs = {}
    for down, right in [(around[0] + down, around[1] + right) for down in steps for right in steps]:
        if max(abs(down), abs(right)) <= reach:
            top, left = reach - down, reach - right
            moved = still[:, top : top + inner.shape[1], left : left + inner.shape[2]]
            costs[down, right] = float((inner - moved).abs()[:, keep].mean())
    return costs


def nearest(frames: Tensor, portraits: Tensor) -> int:
    """Which portrait the clip's last half is most like, mouth aside; portraits (N, H, W, 3) uint8."""
    late = _coarse(frames[len(frames) // 2 :]).median(dim=0).values
    keep = _outside_mouth(COARSE, COARSE)
    differences = (_coarse(portraits) - late).abs()[:, :, keep].mean(dim=(1, 2))
    return int(differences.argmin())


def _coarse(frames: Tensor) -> Tensor:
    """(F, H, W, 3) -> (F, 3, 32, 32)."""
    return functional.adaptive_avg_pool2d(frames.permute(0, 3, 1, 2).float(), COARSE)


def _outside_mouth(height: int, width: int) -> Tensor:
    """(H, W), False in the box that the mouth moves in."""
    left, top, right, bottom = pixels_of(MOUTH_BOX, height, width)
    keep = torch.ones(height, width, dtype=torch.bool)
    keep[top:bottom, left:right] = False
    return keep
