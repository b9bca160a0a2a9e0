"""Public files at their full size, of zeros in sparse files: exact names, shapes, types and bytes; memory and time.

Not in the default run: `python scripts/test.py -m full_size --log-cli-level=info`; for 24 GB of memory.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import public_files
import pytest
import torch
from codec_forms import raw_vae, stored, weight_norm
from safetensors.torch import save_file
from torch import Tensor

from unitalking.checkpoint.public_models import OVI_MODELS, WAN22_5B
from unitalking.checkpoint.random_model import entries
from unitalking.checkpoint.tensor_files import Entry, header_bytes
from unitalking.codec.audio_codec import AUDIO_CODEC_44K
from unitalking.config import UniTalkingConfig

pytestmark = pytest.mark.full_size
Pack = Callable[[str], ModuleType]
GB = 1e9
logger = logging.getLogger(__name__)


def shapes(config: UniTalkingConfig, layout: public_files.Layout, dtype: torch.dtype) -> dict[str, Tensor]:
    """Names and shapes of a network's public file, on the meta device."""
    names = {entry.name: entry.shape for entry in entries(config) if entry.name.startswith(("video.", "audio."))}
    return layout({name: torch.empty(shape, dtype=dtype, device="meta") for name, shape in names.items()})


def write_zeros(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> int:
    """A safetensors file of zeros that takes no room on disk; its size."""
    listed = [Entry(name, tuple(value.shape), value.dtype) for name, value in sorted(tensors.items())]
    header = header_bytes(listed, metadata)
    size = len(header) + sum(entry.num_bytes for entry in listed)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(size)
    return size


@dataclass
class Cost:
    """Time, and the most memory besides the pages of files."""

    seconds: float = 0.0
    gigabytes: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """What happens inside, measured."""
    cost, ended = Cost(), threading.Event()
    gc.collect()
    before, most = anonymous(), 0

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.01):
            most = max(most, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - started
        ended.set()
        watcher.join()
        cost.gigabytes = (most - before) / GB


def anonymous() -> int:
    """Bytes of this process's memory that no file backs."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


WAN = (WAN22_5B, public_files.wan_native, torch.float16, 9_999_658_848, 825)
OVI = (OVI_MODELS["960x960_5s"], public_files.ovi_published, torch.bfloat16, 23_321_751_056, 2073)


@pytest.mark.parametrize(("config", "layout", "dtype", "size", "count"), [WAN, OVI], ids=["wan", "ovi"])
def test_a_network_loads_from_its_public_file_in_its_own_dtype_without_being_copied(
    pack: Pack,
    tmp_path: Path,
    config: UniTalkingConfig,
    layout: public_files.Layout,
    dtype: torch.dtype,
    size: int,
    count: int,
) -> None:
    """The published size to the byte says that names, shapes and types are those of the published file."""
    tensors = shapes(config, layout, dtype)
    assert len(tensors) == count
    path = tmp_path / ("model_960x960.safetensors" if config.audio_channels else "wan.safetensors")
    assert write_zeros(path, tensors) == size
    with measured() as loading:
        model = pack("nodes.loading").load_model(str(path))
    network = model.model.diffusion_model
    assert {value.dtype for value in network.parameters()} == {dtype}
    assert model.model.unitalking.name == config.name
    assert loading.gigabytes < 1.0
    generator = torch.Generator().manual_seed(0)
    latents = [torch.randn(1, 48, 1, 2, 2, generator=generator)]
    latents += [torch.randn(1, config.audio_channels, 3, generator=generator)] if config.audio_channels else []
    context = torch.randn(1, 8, config.text_dim, generator=generator)
    model.patch_model(torch.device("cpu"))
    with torch.inference_mode(), measured() as step:
        made = network(latents, torch.tensor([500.0]), context, audio_context=context)
    made = made if config.audio_channels else [made]
    assert [part.shape for part in made] == [latent.shape for latent in latents]
    assert not any(part.any() for part in made)  # of weights that are zero
    assert step.gigabytes < 3.0
    logger.info("%s", json.dumps({"file": path.name, "loading": vars(loading), "one small pass": vars(step)}))


def test_the_codec_of_44_khz_loads_from_its_two_public_files(pack: Pack, comfy_imports: Path) -> None:
    folder = Path(importlib.import_module("folder_paths").get_folder_paths("vae")[0])
    folder.mkdir(parents=True, exist_ok=True)
    vae, vocoder = folder / "mmaudio_vae_44k_fp16.safetensors", folder / "bigvgan_generator.pt"
    try:
        save_file(stored(torch.float16)(raw_vae(AUDIO_CODEC_44K)), vae)
        assert vae.stat().st_size == 610_966_028
        generator = weight_norm(AUDIO_CODEC_44K)
        assert len(generator) == 783
        torch.save({"generator": generator}, vocoder)
        del generator
        with measured() as loading:
            config, tensors = pack("nodes.vae").read_audio_codec(str(vae))
            codec = pack("nodes.vae").load_audio_vae(config, tensors, vae.name)
        sound = 0.1 * torch.randn(1, 22050, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode(), measured() as both_ways:
            module = codec.first_stage_model.codec
            again = module.decode(module.encode(sound))
        assert again.isfinite().all()
        assert again.shape[1] == 21 * 1024
        assert loading.gigabytes < 3.0
        told = {"file": vae.name, "loading": vars(loading), "0.5 s there and back": vars(both_ways)}
        logger.info("%s", json.dumps(told))
    finally:
        vae.unlink(missing_ok=True)
        vocoder.unlink(missing_ok=True)
