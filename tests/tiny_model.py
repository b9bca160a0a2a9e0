"""The tiny random model as a file, written once per run: what tests take that need a model, whichever ships."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from unitalking.checkpoint.random_model import TINY, write_random

_FOLDER = tempfile.TemporaryDirectory(prefix="unitalking-tests-")
TINY_MODEL = Path(_FOLDER.name) / "tiny_random.safetensors"
write_random(TINY_MODEL, TINY, seed=0)


def add_tiny_model(base_directory: Path) -> None:
    """Puts it into the model folder of a ComfyUI, under its own name."""
    folder = base_directory / "models" / "unitalking"
    folder.mkdir(parents=True)
    shutil.copyfile(TINY_MODEL, folder / TINY_MODEL.name)
