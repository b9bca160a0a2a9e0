"""The committed judges, and a handful of real held-out clips."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

JUDGES = Path(__file__).resolve().parents[2] / "assets" / "judges"
CLIPS = 10


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def judges() -> object:
    """The judges that the repository carries."""
    from unitalking.evaluation.judges import load_judges

    return load_judges(JUDGES)


@pytest.fixture(scope="session")
def real() -> list[object]:
    """Real clips of common words, voices and faces that the judges have not learnt from; skips without espeak-ng."""
    pytest.importorskip("espeakng_loader", reason="making real clips needs espeak-ng: requirements-train.txt")
    from unitalking.evaluation.anchors import held_out

    return held_out(CLIPS, "common", seed=11)
