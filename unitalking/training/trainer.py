"""The loop: batches in, steps out, with checkpoints, curves, averaged weights and samples; on any number of processes.

Devices, processes, gradient synchronisation and sharding are accelerate's; what is computed is the objective's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from ..mapping import to_mapping
from .checkpoints import Checkpoints
from .clock import Clock
from .objective import Batches, Losses, Objective
from .optimiser import Average, build_optimisers, set_rate
from .processes import make_accelerator
from .settings import TrainerSettings, TrainingError

log = logging.getLogger(__name__)


class _Numbered(Dataset):
    """Batches by number, for a loader that makes them ahead."""

    def __init__(self, batches: Batches, rank: int, ranks: int) -> None:
        self.batches, self.rank, self.ranks = batches, rank, ranks

    def __getitem__(self, index: int) -> Any:
        return self.batches.batch(index, self.rank, self.ranks)


@dataclasses.dataclass
class _Party:
    """Who is stepped in turn."""

    name: str
    parameters: list[torch.nn.Parameter]
    optimisers: list[Any]


class Trainer:
    """One run.

    Args:
        settings: of the run.
        objective: what is trained.
        batches: the data.
        folder: where checkpoints and curves go; a run found there is continued.
        on_sample: called with (step, trainer) every `sample_every` steps and at the end, averaged weights in place, on
            the main process alone (on all of them where the weights are shared out).
        accelerator: to use another than the default one.
        about: what else must be the same when a run is continued, as JSON.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        objective: Objective,
        batches: Batches,
        folder: Path,
        on_sample: Callable[[int, Trainer], None] | None = None,
        accelerator: Accelerator | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings, self.batches, self.on_sample = settings, batches, on_sample
        self.folder = Path(folder)
        self.accelerator = accelerator or make_accelerator(settings)
        self.step = 0
        settings.samples_per_batch(self.accelerator.num_processes)
        shapes = {name: list(value.shape) for name, value in objective.named_parameters()}
        trained = {party: sorted(name for name, _ in objective.trained(party)) for party in objective.parties}
        identity = {"sharded": self.is_sharded, "settings": to_mapping(settings), **(about or {})}
        identity |= {"parameters": shapes, "trained": trained}
        self.checkpoints = Checkpoints(self.folder / "checkpoints", settings.keep, identity)
        self._prepare(objective, trained)
        self.accelerator.register_save_state_pre_hook(self._keep_what_moves)
        self.curves: SummaryWriter | None = None

    @property
    def is_sharded(self) -> bool:
        """Whether the weights are shared out over processes (FSDP)."""
        return self.accelerator.distributed_type.value == "FSDP"

    def _prepare(self, objective: Objective, trained: dict[str, list[str]]) -> None:
        settings = self.settings.optimiser
        if self.is_sharded and settings.kind == "muon":
            raise TrainingError("optimiser.kind: muon needs whole matrices, and FSDP shares them out: use adamw.")
        built = {party: build_optimisers(objective, party, settings) for party in objective.parties}
        flat = [optimiser for group in built.values() for optimiser in group]
        self.objective, *prepared = self.accelerator.prepare(objective, *flat)
        self.inner: Objective = self.accelerator.unwrap_model(self.objective, keep_fp32_wrapper=False)
        left = iter(prepared)
        named = dict(self.inner.named_parameters())
        self.parties = [
            _Party(party, [named[name] for name in trained[party]], [next(left) for _ in built[party]])
            for party in built
        ]
        self.average = None
        if self.settings.ema:
            every = [value for party in self.parties for value in party.parameters]
            self.average = Average(every, self.settings.ema)
            self.accelerator.register_for_checkpointing(self.average)

    def run(self) -> None:
        """Trains to the last step, from the newest checkpoint if there is one.

        Raises:
            TrainingError: NaN or Inf in a loss or gradient, a checkpoint that cannot be written or is another run's.
        """
        state = self.accelerator.state
        log.info("%d processes on %s, precision %s", state.num_processes, state.device.type, state.mixed_precision)
        self._resume()
        if self.step >= self.settings.steps:
            log.info("step %d of %d: nothing left to do", self.step, self.settings.steps)
            return
        pending: tuple[int, Any, list[Tensor]] | None = None
        clock = Clock(self.step, self.settings)
        with self._curves():
            for micro_batches in self._loader():
                losses, norm = self._one_step(micro_batches)
                if pending:  # a step late, so that no device is waited for
                    self._check(*pending)
                pending = (self.step, micro_batches, [*(part.total for part in losses), norm])
                self.step += 1
                last = self.step == self.settings.steps
                if self.step % self.settings.log_every == 0 or last:
                    self._write_curves(losses, norm, clock)
                if self.step % self.settings.checkpoint_every == 0 or last:
                    self._check(*pending)
                    self.save()
                if self.settings.sample_every and (self.step % self.settings.sample_every == 0 or last):
                    self._sample()

    def save(self) -> None:
        """Writes a checkpoint of the present step."""
        accelerator = self.accelerator
        self.checkpoints.save(
            self.step,
            lambda path: accelerator.save_state(str(path)),
            is_main=accelerator.is_main_process,
            wait=accelerator.wait_for_everyone,
        )

    def _keep_what_moves(self, models: list[Any], weights: list[dict[str, Tensor]], path: str) -> None:
        """Leaves frozen weights out of a checkpoint: the run's start has them. Sharded ones are written elsewhere."""
        frozen = {name for name, value in self.inner.named_parameters() if not value.requires_grad}
        for state in weights:
            for name in [name for name in state if name.removeprefix("module.") in frozen]:
                del state[name]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, if there are any."""
        if self.average is None:
            yield
            return
        self.average.swap()
        try:
            yield
        finally:
            # Without a backward pass FSDP keeps what it gathered, and would go on with the averaged weights.
            for module in self.inner.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()
            self.average.swap()

    def ema_state_dict(self) -> dict[str, Tensor]:
        """The objective's state with averaged weights, whole, on the CPU; to be called on every process."""
        with self.averaged():
            state = self.accelerator.get_state_dict(self.objective)
            return {name: value.detach().cpu().clone() for name, value in state.items()}

    def _resume(self) -> None:
        found = self.checkpoints.newest()
        if found:
            path, step = found
            try:
                self.accelerator.load_state(str(path), **({} if self.is_sharded else {"strict": False}))
            except Exception as error:  # a damaged file fails in many ways
                raise TrainingError(
                    f"{path} cannot be read: {error}. Remove that folder to go on from the checkpoint before it."
                ) from error
            self.step = step
            log.info("going on from %s", path)

    def _loader(self) -> Iterator[list[Any]]:
        """Micro-batches of each step still to do, made ahead by workers."""
        share, settings = self.settings.accumulation, self.settings
        dataset = _Numbered(self.batches, self.accelerator.process_index, self.accelerator.num_processes)
        numbers = range(self.step * share, settings.steps * share)
        loader = iter(DataLoader(dataset, batch_size=None, sampler=numbers, num_workers=settings.workers))
        for _ in range(self.step, settings.steps):
            yield [next(loader) for _ in range(share)]

    def _one_step(self, micro_batches: Sequence[Any]) -> tuple[list[Losses], Tensor]:
        """Every party's step; the losses of the last party's micro-batches with all parts, and the gradient's norm."""
        factor = self.settings.optimiser.lr_factor(self.step, self.settings.steps)
        given = [send_to_device(batch, self.accelerator.device, non_blocking=True) for batch in micro_batches]
        every: list[Losses] = []
        norms = []
        for party in self.parties:
            for other in self.parties:
                for optimiser in other.optimisers:
                    optimiser.zero_grad(set_to_none=True)
            set_rate(party.optimisers, factor)
            every += [self._backward(batch, party, place == len(given) - 1) for place, batch in enumerate(given)]
            norms.append(torch.nn.utils.clip_grad_norm_(party.parameters, self.settings.clip or float("inf")))
            for optimiser in party.optimisers:
                optimiser.step()
        if self.average:
            self.average.update()
        return every, torch.stack([torch.as_tensor(_local(norm)) for norm in norms]).amax()

    def _backward(self, batch: Any, party: _Party, is_last: bool) -> Losses:
        waiting = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.objective)
        with waiting:
            losses = self.objective(batch, party.name)
            self.accelerator.backward(losses.total.mean() / self.settings.accumulation)
        parts = {name: value.detach() for name, value in losses.parts.items()}
        return Losses(losses.total.detach(), parts)

    def _check(self, step: int, micro_batches: Sequence[Any], values: Sequence[Tensor]) -> None:
        """Stops at the first step whose loss or gradient is not finite, before anything of it is saved."""
        if all(bool(torch.isfinite(value).all()) for value in values):
            return
        keys = [str(key) for batch in micro_batches for key in getattr(batch, "keys", None) or ()]
        what = "loss" if not all(bool(torch.isfinite(value).all()) for value in values[:-1]) else "gradient"
        newest = self.checkpoints.complete()
        raise TrainingError(
            f"Step {step}: the {what} is NaN or Inf. Batch {step} (seed {self.settings.seed}) on process "
            f"{self.accelerator.process_index}: {', '.join(keys) or 'samples without names'}. "
            f"Last good checkpoint: {newest[-1] if newest else 'none'}. Look at these samples; if they are fine, lower "
            "the learning rate."
        )

    @contextlib.contextmanager
    def _curves(self) -> Iterator[None]:
        if not self.accelerator.is_main_process:
            yield
            return
        # Points after the checkpoint belong to the part of the run that is done again.
        self.curves = SummaryWriter(str(self.folder / "logs"), purge_step=self.step + 1 if self.step else None)
        try:
            yield
        finally:
            self.curves.close()
            self.curves = None

    def _write_curves(self, losses: Sequence[Losses], norm: Tensor, clock: Clock) -> None:
        values: dict[str, list[Tensor]] = {}
        for party in losses:
            for name, value in [("loss", party.total), *party.parts.items()]:
                values.setdefault(name, []).append(value.float().mean())
        means = {name: torch.stack(found).mean() for name, found in values.items()}
        if self.accelerator.num_processes > 1:
            means = {name: self.accelerator.reduce(value, "mean") for name, value in means.items()}
        if self.curves is None:
            return
        rate, eta = clock.read(self.step)
        numbers = {f"loss/{name}": float(value) for name, value in means.items()}
        numbers["train/gradient_norm"] = float(norm)
        numbers["train/samples_per_s"] = rate
        for party in self.parties:
            for place, optimiser in enumerate(party.optimisers):
                numbers[f"lr/{party.name}{place}"] = optimiser.param_groups[0]["lr"]
        for name, value in numbers.items():
            self.curves.add_scalar(name, value, self.step)
        self.curves.flush()
        shown = "  ".join(f"{name} {float(value):.4f}" for name, value in means.items())
        log.info("step %d/%d  %s  %.1f samples/s  %s left", self.step, self.settings.steps, shown, rate, eta)

    def _sample(self) -> None:
        if self.on_sample and (self.accelerator.is_main_process or self.is_sharded):
            was_training = self.inner.training
            with self.averaged(), torch.no_grad():
                self.inner.eval()
                self.on_sample(self.step, self)
                self.inner.train(was_training)
        self.accelerator.wait_for_everyone()


def _local(norm: Any) -> Any:
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm
