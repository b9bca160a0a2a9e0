"""AdamW (PyTorch's own), or Muon for the matrices of the blocks with AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from .muon import Muon
from .objective import Objective
from .processes import DTYPES, fastest_precision
from .settings import OptimiserSettings, TrainingError

BASE_LR = "base_lr"


def build_optimisers(objective: Objective, party: str, settings: OptimiserSettings) -> list[Optimizer]:
    """The optimisers of one party; each group remembers its rate as `base_lr`.

    Raises:
        TrainingError: nothing to train.
    """
    named = list(objective.trained(party))
    if not named:
        raise TrainingError(f"{party}: no parameter requires a gradient, so there is nothing to train.")
    matrices = []
    if settings.kind == "muon":
        matrices = [(name, value) for name, value in named if objective.is_matrix(name, value)]
    taken = {name for name, _ in matrices}
    rest = [(name, value) for name, value in named if name not in taken]
    found: list[Optimizer] = []
    if matrices:
        values = [value for _, value in matrices]
        dtype = DTYPES[fastest_precision(values[0].device.type == "cpu")]
        found.append(Muon(values, lr=settings.matrix_lr, weight_decay=settings.weight_decay, dtype=dtype))
    if rest:
        kinds: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, value in rest:
            kinds.setdefault((value.ndim < 2, objective.rate(name)), []).append(value)
        groups = [
            {"params": values, "weight_decay": 0.0 if is_vector else settings.weight_decay, "lr": settings.lr * rate}
            for (is_vector, rate), values in sorted(kinds.items(), key=lambda kind: kind[0])
        ]
        found.append(torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, foreach=True))
    for optimiser in found:
        for group in optimiser.param_groups:
            group[BASE_LR] = group["lr"]
    return found


def set_rate(optimisers: Iterable[Optimizer], factor: float) -> None:
    """Every group's rate, as a multiple of its own base."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group[BASE_LR] * factor


class Average:
    """An exponential moving average of parameters, which samples and the result use.

    The decay grows to its value over the first steps, so that the start is forgotten: min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.updates = 0
        self.values = [value.detach().clone() for value in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """One step of the average."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self.values, [value.detach() for value in self.parameters], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the averaged values and the parameters'; twice is as before."""
        for kept, value in zip(self.values, self.parameters, strict=True):
            now = value.detach().clone()
            value.copy_(kept)
            kept.copy_(now)

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint: values, whole where they are shared out over processes."""
        return {"updates": self.updates, "values": [_whole(value) for value in self.values]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, object]) -> None:
        """Takes back what `state_dict` gave."""
        self.updates = state["updates"]
        for kept, value in zip(self.values, state["values"], strict=True):
            kept.copy_(_like(value, kept))


def _whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _like(value: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    if not hasattr(kept, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(kept.device), kept.device_mesh, kept.placements)
