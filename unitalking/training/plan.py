"""Which clips make up which batch: shuffled anew every epoch, clips of one size and length together, and among these
clips with texts of about one length: all texts of a batch cost as much as its longest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from .settings import TrainingError

# Batches among which clips are sorted by their texts; the larger, the less padding and the less chance.
WINDOW = 8


class Plan:
    """The order of the data, as a function of the batch's number.

    A batch holds clips of one length, so that nothing is padded. What is left over of a length is left out for that
    epoch, another part each time; lengths with fewer clips than a batch repeat them.

    Args:
        sizes: for every clip what must be equal in a batch, (clips, n).
        texts: for every clip, a number that grows with its text, (clips,).
        batch: clips of a batch.
        seed: of the order.
    """

    def __init__(self, sizes: np.ndarray, texts: np.ndarray, batch: int, seed: int) -> None:
        if not len(sizes):
            raise TrainingError("The data set holds no clip that these tasks can use.")
        _, group = np.unique(sizes, axis=0, return_inverse=True)
        self.groups = [np.flatnonzero(group.ravel() == number) for number in range(group.max() + 1)]
        self.texts, self.batch, self.seed = texts, batch, seed
        self.length = sum(max(1, len(clips) // batch) for clips in self.groups)
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.length

    def __getstate__(self) -> Mapping[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_epoch"}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(state)
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)

    def clips(self, index: int) -> np.ndarray:
        """Numbers of the clips in batch `index`, (batch,)."""
        epoch, place = divmod(index, self.length)
        return self._epoch(epoch)[place]

    def _make_epoch(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng((self.seed, epoch))
        batches = []
        for clips in self.groups:
            wanted = max(1, len(clips) // self.batch) * self.batch
            order = np.concatenate([random.permutation(clips) for _ in range(-(-wanted // len(clips)))])
            windows = np.split(order[:wanted], range(WINDOW * self.batch, wanted, WINDOW * self.batch))
            order = np.concatenate([clips[np.argsort(self.texts[clips], kind="stable")] for clips in windows])
            batches.append(order.reshape(-1, self.batch))
        every = np.concatenate(batches)
        return every[random.permutation(len(every))]
