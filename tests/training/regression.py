"""A small regression to run the loop with, alone or under `accelerate launch`. Not a test itself."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import conftest  # noqa: F401  makes `unitalking` importable

from unitalking.mapping import from_mapping
from unitalking.training.objective import Losses, Objective
from unitalking.training.processes import leave_processes
from unitalking.training.settings import TrainerSettings
from unitalking.training.trainer import Trainer


class Points(NamedTuple):
    inputs: Tensor
    targets: Tensor
    keys: tuple[str, ...]


class RegressionBatches:
    """Points of a fixed function; `poison` is the number of a batch that holds NaN."""

    def __init__(self, samples: int, seed: int, poison: int = -1) -> None:
        self.samples, self.seed, self.poison = samples, seed, poison

    def batch(self, index: int, rank: int, ranks: int) -> Points:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + index)
        inputs = torch.randn(self.samples, 6, generator=generator)
        targets = inputs[:, :2].sin() + 0.1 * torch.randn(self.samples, 2, generator=generator)
        if index == self.poison:
            targets[-1, 0] = float("nan")
        share = slice(rank * self.samples // ranks, (rank + 1) * self.samples // ranks)
        return Points(inputs[share], targets[share], tuple(f"point-{index}-{n}" for n in range(self.samples))[share])


class Regression(Objective):
    """Layers named like a network's blocks, so that Muon takes its matrices, two of them of one shape."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        layers = nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 6), nn.Linear(6, width), nn.Linear(width, 2)
        self.net = nn.ModuleDict({"blocks": nn.Sequential(*layers)})
        for value in self.parameters():
            value.data = torch.randn(value.shape, generator=generator) * 0.3

    def forward(self, batch: Points, party: str) -> Losses:
        error = (self.net["blocks"](batch.inputs) - batch.targets).square().mean(1)
        return Losses(error, {"root": error.sqrt()})


def main(folder: Path, settings: dict, losses: Path) -> None:
    """One run; the loss of every step goes into a file, in full precision, averaged over processes."""
    trainer = build(folder, settings)
    seen = record(trainer)
    trainer.run()
    totals = [torch.tensor(value, dtype=torch.float64) for value in seen]
    means = [float(trainer.accelerator.reduce(value, "mean")) for value in totals]
    if trainer.accelerator.is_main_process:
        losses.write_text(json.dumps({"processes": trainer.accelerator.num_processes, "losses": means}))


def build(folder: Path, settings: dict, poison: int = -1) -> Trainer:
    parsed = from_mapping(TrainerSettings, settings)
    batches = RegressionBatches(parsed.batch_size // parsed.accumulation, parsed.seed, poison)
    return Trainer(parsed, Regression(), batches, folder)


def record(trainer: Trainer) -> list[float]:
    """The loss of every micro-batch, as it is run."""
    seen: list[float] = []
    inner = trainer._backward

    def backward(*arguments: object) -> Losses:
        losses = inner(*arguments)
        seen.append(float(losses.total.double().mean()))
        return losses

    trainer._backward = backward
    return seen


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))
    leave_processes()
