"""SyncNet with weights by hand: it sees how bright the middle of a picture is, and hears how loud it is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from unitalking.evaluation.full_size.syncnet import WEIGHTS, SyncNet

# What silence and white noise at 0.3 give is 0 and about this.
LOUD = 24.0


def write_syncnet(folder: Path) -> None:
    """A weights file in the published form."""
    network = SyncNet()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.Conv2d | nn.Conv3d | nn.Linear):
                part.weight.zero_()
                part.bias.zero_()
                part.weight[(0, 0, *(size // 2 for size in part.weight.shape[2:]))] = 1.0
        # The loudness is the first of 13 coefficients, so not in their middle.
        network.netcnnaud[-3].weight.zero_()[0, 0, 0, 1] = 1.0
        network.netfclip[-1].weight /= 255
        network.netfcaud[-1].weight /= LOUD
    torch.save(network.state_dict(), folder / WEIGHTS)


def flashes(frames: int, fps: float, late_s: float, size: int = 16) -> tuple[Tensor, Tensor]:
    """Pictures (F, size, size, 3) in 0 .. 1 that flash, each so long after its burst of noise; (S,) at 16 kHz."""
    bursts = ((0.3, 0.55), (0.8, 1.1), (1.45, 1.6))
    times = torch.arange(frames) / fps - late_s
    bright = sum(((times >= begin) & (times < end)).float() for begin, end in bursts)
    sound = torch.zeros(round(frames / fps * 16000))
    for begin, end in bursts:
        part = sound[round(begin * 16000) : round(end * 16000)]
        part.copy_(0.3 * torch.randn(len(part), generator=torch.Generator().manual_seed(0)))
    return bright[:, None, None, None].expand(-1, size, size, 3), sound
