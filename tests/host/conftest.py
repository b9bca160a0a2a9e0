"""Puts this folder's helper module (`lab`) within reach of its tests, and makes its fixtures."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny_model import TINY_MODEL

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.append(FOLDER)

from lab import Lab, Parts  # noqa: E402 (needs the path)


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


@pytest.fixture(scope="session")
def parts(pack: Callable[[str], ModuleType]) -> Parts:
    """What Load UniTalking Model gives of the tiny random model, in fp32."""
    file, _ = pack("nodes.loading").read_model_file(str(TINY_MODEL))
    vae = pack("nodes.vae")
    return Parts(
        pack("nodes.loading").patch_model(file, str(TINY_MODEL), {"dtype": torch.float32}),
        pack("nodes.clip").load_bundled_clip(file),
        vae.load_bundled_video_vae(file),
        vae.load_audio_vae(file.config, file.parts["audio_vae"], "tiny"),
    )


@pytest.fixture(scope="session")
def loaded(pack: Callable[[str], ModuleType]) -> tuple[Any, ...]:
    """MODEL, CLIP, VAE and audio VAE of the tiny random model, as the node loads them."""
    pack("nodes.files").register_folders()
    choices = 3 * ["from model file"]
    return pack("nodes.loaders").LoadModel.execute(TINY_MODEL.name, *choices, "default").args


@pytest.fixture
def as_nodes_run() -> Iterator[None]:
    """Inference mode, as in the host."""
    with torch.inference_mode():
        yield


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What nodes have said."""
    caplog.set_level(logging.INFO)
    return lambda: "\n".join(record.getMessage() for record in caplog.records if "UniTalking" in record.getMessage())
