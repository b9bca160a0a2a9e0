"""Whether a picture falls into patches or blotches of different colours, as small models make them.

F frames, H W pixels.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch.nn.functional import avg_pool2d

from .clips import Frames

CELL = 16
NEAR, FAR = 2, 6
BLOTCH_CELLS = 32
RED, GREEN, BLUE = 0.299, 0.587, 0.114  # ITU-R BT.601


def patchiness(frames: Frames, cell: int = CELL) -> float:
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


def blotchiness(frames: Frames, cells: int = BLOTCH_CELLS) -> float:
    """How much colour, brightness aside, changes from one small cell of a picture to the next, in 255ths.

    The median over all neighbours: most of a clean picture's neighbours lie in one area of one colour, so that edges do
    not count, however strong; blotches change colour everywhere, however weakly.

    Args:
        frames: (F, H, W, 3) uint8; the middle one is looked at.
        cells: along the shorter side.
    """
    red, green, blue = rearrange(frames[len(frames) // 2].float(), "h w c -> c h w")
    brightness = RED * red + GREEN * green + BLUE * blue
    colour = torch.stack([(blue - brightness) / (2 - 2 * BLUE), (red - brightness) / (2 - 2 * RED)])
    colour = avg_pool2d(colour, max(1, min(frames.shape[1:3]) // cells))
    down, right = colour.diff(dim=1).norm(dim=0), colour.diff(dim=2).norm(dim=0)
    return float(torch.cat([down.flatten(), right.flatten()]).median())
