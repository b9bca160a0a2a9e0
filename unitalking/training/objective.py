"""What the loop asks of the thing it trains and of its data. B samples of one process's share of a micro-batch.

All randomness lives in the batch: batch number `index` is a function of the run's seed, of `index` and of a sample's
place in the whole batch, so a run goes on with the same numbers after a kill, on any number of processes and workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class Losses(NamedTuple):
    """What an objective returns.

    Attributes:
        total: what is minimised, (B,); the loop takes the mean.
        parts: further values for the curves, (B,) or () each.
    """

    total: Tensor
    parts: dict[str, Tensor]


class Batches(Protocol):
    """A source of data."""

    def batch(self, index: int, rank: int, ranks: int) -> Any:
        """The share of process `rank` of `ranks` in micro-batch `index`, on the CPU.

        Returns:
            Tensors in NamedTuples, dicts, lists, or an object with a method `to(device)`. Where it has an attribute
            `keys` (names of its samples), a run that meets NaN names them.
        """
        ...


class Objective(nn.Module):
    """A module that holds what is trained and whose forward gives the losses of a batch.

    Attributes:
        parties: who is trained in turn on each batch, each with an optimiser of its own; one, unless it is a GAN.
    """

    parties: tuple[str, ...] = ("model",)

    def trained(self, party: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that a party moves; all that require a gradient."""
        return ((name, value) for name, value in self.named_parameters() if value.requires_grad)

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether Muon may move a parameter: matrices inside blocks, not stems, heads and embeddings."""
        return parameter.ndim == 2 and ".blocks." in name and "modulation" not in name

    def rate(self, name: str) -> float:
        """Learning rate of a parameter, as a share of the recipe's."""
        return 1.0

    def forward(self, batch: Any, party: str) -> Losses:
        """Losses of one micro-batch for one party."""
        raise NotImplementedError
