"""Muon: momentum steps made orthogonal, for matrices. Ours, the paper trains with AdamW.

PyTorch's own works matrix by matrix and in bfloat16 alone, which is ten times slower on processors without instructions
for it. This one takes matrices of one shape together, shares them out over processes, and leaves the precision to the
caller; the steps are the same.

Source: Jordan et al. (2024), the quintic iteration and its coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
SMALLEST_NORM = 1e-7


class Muon(Optimizer):
    """w <- (1 - lr decay) w - lr sqrt(max(1, rows / columns)) orthogonal(g + momentum m), m the moving mean of g.

    Args:
        params: matrices.
        lr: learning rate.
        weight_decay: decoupled.
        momentum: of the moving mean.
        dtype: of the iteration, float32 or bfloat16.

    Raises:
        ValueError: a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype
        for parameter in (value for group in self.param_groups for value in group["params"]):
            if parameter.ndim != 2:
                raise ValueError(f"Muon moves matrices; got a parameter of shape {tuple(parameter.shape)}.")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step of all parameters that have a gradient."""
        for group in self.param_groups:
            momentum = group["momentum"]
            same_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    same_shape.setdefault(parameter.shape, []).append(parameter)
                    self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
            for shape, parameters in same_shape.items():
                gradients = [parameter.grad for parameter in parameters]
                means = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
                torch._foreach_lerp_(means, gradients, 1 - momentum)
                ahead = torch._foreach_lerp(gradients, means, momentum)
                moves = _shared_out(torch.stack(ahead), self.dtype).to(parameters[0].dtype)
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                rate = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
                torch._foreach_add_(parameters, list(moves.unbind()), alpha=-rate)


def _shared_out(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """`orthogonalise`, where there are several processes each of them for a part of the matrices."""
    processes = distributed.get_world_size() if distributed.is_initialized() else 1
    if processes == 1:
        return orthogonalise(matrices, dtype)
    count = len(matrices)
    filled = torch.cat((matrices, matrices.new_zeros(-count % processes, *matrices.shape[1:])))
    own = orthogonalise(filled.chunk(processes)[distributed.get_rank()], dtype).contiguous()
    gathered = own.new_empty(filled.shape)
    distributed.all_gather_into_tensor(gathered, own)
    return gathered[:count]


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices (N, R, C) with the same singular vectors, and singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    found = (matrices.mT if tall else matrices).to(dtype)
    found = found / found.flatten(1).norm(dim=1).clamp_min(SMALLEST_NORM)[:, None, None]
    for _ in range(ITERATIONS):
        square = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(square, square, square, beta=b, alpha=c), found, beta=a)
    return found.mT if tall else found
