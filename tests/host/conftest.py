"""Puts this folder's helper module (`lab`) within reach of its tests, and makes its fixtures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from comfyui import ComfyUI

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.append(FOLDER)

from lab import Lab  # noqa: E402 (needs the path)


@pytest.fixture(scope="session")
def loaded_lab(pack: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The small model and its helpers, loaded once."""
    return Lab(pack, tmp_path_factory.mktemp("lab"))


@pytest.fixture
def lab(loaded_lab: Lab) -> Iterator[Lab]:
    """The lab as nodes run in the host: in inference mode; on one thread, which is faster at this width."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield loaded_lab
    torch.set_num_threads(threads)


@pytest.fixture
def upload(host: ComfyUI) -> Iterator[Callable[[Path], str]]:
    """Puts a file into the input folder of the running ComfyUI, which is empty again afterwards."""
    names: list[str] = []

    def put(path: Path) -> str:
        names.append(host.upload(path))
        return names[-1]

    yield put
    for name in names:
        (host.base_directory / "input" / name).unlink()
