"""Whether a picture falls into patches of different colours, as small models make them. F frames, H W pixels."""

from __future__ import annotations

import torch
from torch import Tensor

CELL = 16
NEAR, FAR = 2, 6


def patchiness(frames: Tensor, cell: int = CELL) -> float:
    """How much more colours jump across the borders of a model's cells than in the cells' middles, in 255ths.

    A jump is the change over 4 pixels beyond that of the 4 pixels before and after. About 0 for a picture that knows no
    cells, whatever it shows; negative by chance.

    Args:
        frames: (F, H, W, 3) uint8; the middle one is looked at.
        cell: side of a cell in pixels: the video VAE's stride in space.
    """
    picture = frames[len(frames) // 2].float()
    found = []
    for side in (picture, picture.transpose(0, 1)):
        rows = torch.arange(FAR, len(side) - FAR)
        across = side[rows + NEAR] - side[rows - NEAR]
        beside = (side[rows + FAR] - side[rows + NEAR] + side[rows - NEAR] - side[rows - FAR]) / 2
        jump = (across - beside).abs().mean(dim=(1, 2))
        found.append(jump[rows % cell == 0].mean() - jump[rows % cell == cell // 2].mean())
    return float(torch.stack(found).mean())
