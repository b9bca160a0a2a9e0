"""`python -m unitalking.training.average OUT FILE FILE ...`: the mean of the weights of several runs of one model.

Runs that go on from each other lie in one valley; between them the loss is lower than at any of their ends, where a
training rate that is still high leaves them (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .result import ABOUT_KEY
from .settings import TrainingError
from .start import read_tensors

log = logging.getLogger(__name__)


def average(paths: Sequence[Path]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of the mean; what is said of the run is what the last file says, with all names.

    Raises:
        TrainingError: fewer than two files, one that cannot be read, or models of other shapes.
    """
    if len(paths) < 2:
        raise TrainingError(f"An average needs at least two models, got {len(paths)}.")
    try:
        files = [read_tensors(path) for path in paths]
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"A model cannot be read: {error}") from error
    tensors, metadata = files[-1]
    for path, (other, _) in zip(paths, files, strict=True):
        if _shapes(other) != _shapes(tensors):
            raise TrainingError(f"{path} and {paths[-1]} are not runs of one model: their tensors differ.")
    mean = {
        name: _mean([other[name] for other, _ in files]) if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    about = json.loads(metadata.get(ABOUT_KEY, "{}")) | {"average_of": ", ".join(path.parent.name for path in paths)}
    return mean, metadata | {ABOUT_KEY: json.dumps(about)}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.double() for value in values]).mean(0).to(values[-1].dtype)


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m unitalking.training.average", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="where the mean goes")
    parser.add_argument("files", type=Path, nargs="+", help="model.safetensors of each run")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    temporary = given.out.with_name(given.out.name + ".part")
    try:
        tensors, metadata = average(given.files)
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata)
        temporary.replace(given.out)
    except (TrainingError, OSError) as error:
        log.error("Error: %s", error)
        return 1
    finally:
        temporary.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
