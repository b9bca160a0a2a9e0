"""Fresh weights for a network, or for a part of one that has no trained weights. Ours, the paper does not say."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import UniTalkingConfig

INITIAL_GATE = 0.5


@torch.no_grad()
def initialise(name: str, value: Tensor, config: UniTalkingConfig) -> None:
    """Fills one weight from PyTorch's random numbers, in place.

    Projections as Xavier, those that end a branch smaller by sqrt(2 blocks), velocities zero, gates half open.

    Args:
        name: of the weight in the network.
        value: what is filled.
        config: for the width and the number of blocks.
    """
    if "modulation" in name:
        value.normal_(std=config.dim**-0.5)
        if ".blocks." in name:
            value[:, (2, 5)] = INITIAL_GATE
    elif value.ndim == 1:
        value.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    elif ".head.head." in name:
        value.zero_()
    else:
        nn.init.xavier_uniform_(value.flatten(1))
        if name.endswith((".o.weight", ".ffn.2.weight")):
            value.div_(math.sqrt(2 * config.num_layers))
