"""Files of `torch.save` that hold tensors and nothing else."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from .files import CheckpointError

# Under which a training script keeps the weights among other things.
NESTED = ("generator", "state_dict")


def read_pickle(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a pickle, nested under `generator` too; code in it is never run.

    Raises:
        CheckpointError: missing, damaged, with code, or without tensors.
    """
    name = Path(path).name
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{name} is not there any more: choose another.") from error
    except pickle.UnpicklingError as error:
        # PyTorch's own text advises to load it unsafely, so it is not passed on.
        found = "holds pickled code" if "GLOBAL" in str(error) else "is damaged, or holds pickled code"
        raise CheckpointError(
            f"{name} {found}, which is never run: take the codec's weights from where they were published, as "
            "safetensors if there is a choice."
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{name} is damaged or its download was cut off: fetch it again. ({reason})") from error
    nested = [key for key in NESTED if isinstance(held, dict) and isinstance(held.get(key), dict)]
    tensors = held[nested[0]] if nested else held
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{name} does not hold a list of tensors: choose the codec's weights as published.")
    return tensors
