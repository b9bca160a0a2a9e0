"""What a training run is told, whatever it trains. Unknown keys are errors (`mapping.from_mapping`)."""

from __future__ import annotations

from dataclasses import dataclass, field

PRECISIONS = ("fp32", "bf16", "auto")
OPTIMISERS = ("adamw", "muon")


class TrainingError(RuntimeError):
    """Why a run cannot start or go on, with what to do."""


def require(holds: bool, what: str, got: object, expected: str) -> None:
    """Raises ValueError naming the setting, what came and what was expected."""
    if not holds:
        raise ValueError(f"{what}: got {got}, expected {expected}.")


@dataclass(frozen=True)
class OptimiserSettings:
    """How parameters move.

    Attributes:
        kind: "adamw" (the paper's), or "muon": orthogonalised steps for the matrices of the blocks and AdamW for the
            rest, which needs several times fewer steps at small sizes. Muon needs whole matrices, so not with FSDP.
        lr: learning rate of AdamW.
        matrix_lr: learning rate of Muon.
        betas: AdamW's averages (the paper's 0.9, 0.999).
        eps: AdamW's floor.
        weight_decay: decoupled, per unit of learning rate, on matrices alone.
        warmup: steps in which the rate rises linearly from 0.
        decay_from: fraction of the steps after which it falls linearly to 0; 1: it stays.
    """

    kind: str = "adamw"
    lr: float = 1e-5
    matrix_lr: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: int = 0
    decay_from: float = 1.0

    def __post_init__(self) -> None:
        require(self.kind in OPTIMISERS, "optimiser.kind", self.kind, " or ".join(OPTIMISERS))
        for name in ("lr", "matrix_lr", "eps"):
            require(getattr(self, name) > 0, f"optimiser.{name}", getattr(self, name), "a number above 0")
        require(all(0 <= beta < 1 for beta in self.betas), "optimiser.betas", self.betas, "two numbers in [0, 1)")
        require(self.weight_decay >= 0, "optimiser.weight_decay", self.weight_decay, "at least 0")
        require(self.warmup >= 0, "optimiser.warmup", self.warmup, "at least 0 steps")
        require(0 <= self.decay_from <= 1, "optimiser.decay_from", self.decay_from, "a fraction of the steps, 0 to 1")

    def lr_factor(self, step: int, steps: int) -> float:
        """What the learning rates are multiplied with at step `step` (from 0) of `steps`."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        start = self.decay_from * steps
        falling = 1.0 if step < start else max(0.0, (steps - step) / max(steps - start, 1.0))
        return rising * falling


@dataclass(frozen=True)
class TrainerSettings:
    """One run of the loop.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: samples of one optimiser step, over all processes and all accumulated micro-batches.
        accumulation: micro-batches of one step on each process.
        seed: of everything that is drawn; with the step number it fixes every batch.
        precision: "bf16" computes under autocast with fp32 weights, "fp32" without; "auto" takes bf16 where the device
            multiplies it faster than fp32.
        clip: largest gradient norm; 0: not clipped.
        ema: decay of the averaged weights, which samples and the result use; 0: none.
        optimiser: how parameters move.
        checkpoint_every, keep: steps between checkpoints, and how many are kept.
        log_every: steps between two points of the curves.
        sample_every: steps between sample clips; 0: none.
        workers: processes that make batches ahead; 0: made in the loop itself.
    """

    steps: int
    batch_size: int
    accumulation: int = 1
    seed: int = 0
    precision: str = "bf16"
    clip: float = 1.0
    ema: float = 0.0
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    checkpoint_every: int = 1000
    keep: int = 2
    log_every: int = 10
    sample_every: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "checkpoint_every", "keep", "log_every"):
            require(getattr(self, name) >= 1, f"trainer.{name}", getattr(self, name), "at least 1")
        for name in ("clip", "sample_every", "workers"):
            require(getattr(self, name) >= 0, f"trainer.{name}", getattr(self, name), "at least 0")
        require(0 <= self.ema < 1, "trainer.ema", self.ema, "a decay in [0, 1)")
        require(self.precision in PRECISIONS, "trainer.precision", self.precision, " or ".join(PRECISIONS))

    def samples_per_batch(self, processes: int) -> int:
        """Samples of one micro-batch over all processes.

        Raises:
            ValueError: the batch cannot be shared out evenly.
        """
        share = self.accumulation * processes
        require(
            self.batch_size % share == 0,
            "trainer.batch_size",
            self.batch_size,
            f"a multiple of accumulation x processes = {self.accumulation} x {processes}",
        )
        return self.batch_size // self.accumulation
