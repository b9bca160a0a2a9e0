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
    height, width = portrait.shape[:2]
    reach = max(1, round(REACH * min(height, width)))
    keep = _outside_mouth(height, width)[reach : height - reach, reach : width - reach]
    distances = []
    for share in LOOKED_AT:
        frame = frames[round(share * (len(frames) - 1))].float()[reach : height - reach, reach : width - reach]
        shifts = [(down, right) for down in range(2 * reach + 1) for right in range(2 * reach + 1)]
        found = []
        for down, right in shifts:
            moved = portrait[down : down + height - 2 * reach, right : right + width - 2 * reach].float()
            found.append((frame - moved).abs()[keep].mean())
        distances.append(torch.stack(found).min())
    return float(torch.stack(distances).mean())


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
