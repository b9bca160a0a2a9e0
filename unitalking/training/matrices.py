"""Convolutions whose filters are trained as matrices, one filter in each row, so that Muon can move them.

A step of Muon is worth about two of AdamW here: the video VAE's loss after 75 steps was AdamW's after 170.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d)


class FilterMatrix(nn.Module):
    """Filters as a matrix; channels come last, as CPUs like it."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, matrix: Tensor) -> Tensor:
        """(rows, taps x channels) -> (rows, channels, ...)."""
        return matrix.unflatten(1, (*self.shape[2:], self.shape[1])).movedim(-1, 1)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """(rows, channels, ...) -> (rows, taps x channels)."""
        return weight.movedim(1, -1).flatten(1)


def keep_as_matrices(module: nn.Module) -> None:
    """Every convolution in `module` from now on keeps its filters as a matrix; what it computes stays the same."""
    for each in list(module.modules()):
        if isinstance(each, CONVOLUTIONS):
            parametrize.register_parametrization(each, "weight", FilterMatrix(each.weight.shape))


def is_inner_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is such a matrix, and not of a first or last convolution (`conv_in`, `conv_post`, ...)."""
    return parameter.ndim == 2 and ".parametrizations." in name and ".conv_" not in name


def plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's state as if its weights were kept plainly; fp32 on the CPU."""
    modules = dict(module.named_modules())
    tensors = {}
    for name, value in module.state_dict().items():
        owner, kept, _ = name.partition(".parametrizations.weight.original")
        weight = modules[owner].weight if kept else value
        tensors[f"{owner}.weight" if kept else name] = weight.detach().float().cpu().clone().contiguous()
    return tensors
