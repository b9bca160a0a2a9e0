"""GGUF files: packed by the `gguf` package, loaded through ComfyUI-GGUF's operations, or a stand-in of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import TINY_MODEL
from torch import Tensor

pytest.importorskip("gguf", reason="needs requirements-train.txt")

import gguf

from unitalking.checkpoint.__main__ import main
from unitalking.checkpoint.files import METADATA_KEY
from unitalking.checkpoint.gguf_files import read_metadata
from unitalking.checkpoint.quantize import MATRICES

Pack = Callable[[str], ModuleType]
NAME = "tiny_q8.gguf"


@pytest.fixture
def folder(pack: Pack, comfy_imports: Path) -> Iterator[Path]:
    """models/diffusion_models of the host in this process."""
    pack("nodes.files").register_folders()
    folder = Path(importlib.import_module("folder_paths").get_folder_paths("diffusion_models")[0])
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    (folder / NAME).unlink(missing_ok=True)


@pytest.fixture
def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The host with ComfyUI-GGUF's node and folder."""
    stand_in = importlib.import_module("gguf_stand_in")
    folder_paths = importlib.import_module("folder_paths")
    paths, _ = folder_paths.folder_names_and_paths["diffusion_models"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "unet_gguf", (paths, {".gguf"}))
    monkeypatch.setitem(importlib.import_module("nodes").NODE_CLASS_MAPPINGS, "UnetLoaderGGUF", stand_in.UnetLoaderGGUF)
    folder_paths.filename_list_cache.clear()
    return stand_in


@pytest.fixture
def packed(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The tiny model, packed by the command."""
    assert main(["quantize", str(TINY_MODEL), "--out", str(folder / NAME)]) == 0
    assert "largest error 0.00" in capsys.readouterr().out
    return folder / NAME


def unpacked(path: Path) -> dict[str, Tensor]:
    """What the packed weights stand for, by the package's own reading."""
    found = {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        found[tensor.name] = torch.from_numpy(values.copy())
    return found


def velocities(model: Any) -> list[Tensor]:
    """Of both streams, with whatever is patched into the model."""
    config, generator = model.model.unitalking, torch.Generator().manual_seed(1)
    latents = [
        torch.randn(1, config.in_dim, 2, 4, 4, generator=generator),
        torch.randn(1, config.audio_channels, 5, generator=generator),
    ]
    context = torch.randn(1, config.text_len, config.text_dim, generator=generator)
    model.patch_model(torch.device("cpu"))
    try:
        with torch.inference_mode():
            return model.model.diffusion_model(latents, torch.tensor([500.0]), context, audio_context=context)
    finally:
        model.unpatch_model(torch.device("cpu"))


def test_the_blocks_matrices_are_packed_and_everything_else_is_kept(packed: Path) -> None:
    before, after = load_file(TINY_MODEL), unpacked(packed)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(packed).tensors}
    assert set(kinds) == {name for name in before if name.startswith(("video.", "audio.", "latents."))}
    for name, kind in kinds.items():
        given, made = before[name].float().flatten(), after[name].flatten()
        assert (kind == "Q8_0") == bool(MATRICES.fullmatch(name)), name
        assert (given - made).norm() <= (0.01 * given.norm() if kind == "Q8_0" else 0), name
    assert sum(kind == "Q8_0" for kind in kinds.values()) > 20
    assert json.loads(read_metadata(packed)[METADATA_KEY])["dim"] == 96


def test_a_packed_model_computes_what_its_unpacked_weights_do(
    pack: Pack, stand_in: ModuleType, packed: Path, tmp_path: Path
) -> None:
    load = pack("nodes.loaders").LoadModel.execute
    bundle = TINY_MODEL.name
    model = load(NAME, bundle, bundle, bundle, "default").args[0]
    assert isinstance(model, stand_in.GGUFModelPatcher)
    weight = model.model.diffusion_model.audio.blocks[0].self_attn.q.weight
    assert isinstance(weight, stand_in.GGMLTensor)
    assert weight.numel() < 96 * 96 * 1.1  # a byte for each number and a scale for every 32
    tensors = load_file(TINY_MODEL)
    for name, values in unpacked(packed).items():
        tensors[name] = values.reshape(tensors[name].shape)
    path = tmp_path / "unpacked.safetensors"
    save_file(tensors, path, read_metadata(packed))
    plain = pack("nodes.loading").load_model(str(path), {"dtype": torch.float32})
    for made, expected in zip(velocities(model), velocities(plain), strict=True):
        assert (made - expected).norm() <= 1e-5 * expected.norm()
    lora = {"diffusion_model.video.blocks.0.ffn.0.lora_A.weight": torch.randn(2, 96) * 0.3}
    lora["diffusion_model.video.blocks.0.ffn.0.lora_B.weight"] = torch.randn(256, 2) * 0.3
    import comfy.sd

    changed, unchanged = (
        velocities(comfy.sd.load_lora_for_models(each, None, lora, 1.0, 0.0)[0]) for each in (model, plain)
    )
    assert (changed[0] - velocities(model)[0]).norm() > 1e-2 * changed[0].norm()
    for made, expected in zip(changed, unchanged, strict=True):
        assert (made - expected).norm() <= 1e-5 * expected.norm()


def test_gguf_files_are_offered_only_with_the_pack_that_reads_them(
    pack: Pack, folder: Path, packed: Path, request: pytest.FixtureRequest
) -> None:
    files = pack("nodes.files")
    assert NAME not in files.model_choices()
    with pytest.raises(Exception, match=r"tiny_q8.gguf is a GGUF file.*install that, or choose a .safetensors"):
        pack("nodes.loading").read_model_file(str(packed))
    request.getfixturevalue("stand_in")
    assert NAME in files.model_choices()
    assert files.find_model(NAME) == str(packed)


def test_a_damaged_or_foreign_gguf_file_is_named(pack: Pack, stand_in: ModuleType, folder: Path) -> None:
    (folder / NAME).write_bytes(b"GGUF but no more")
    with pytest.raises(Exception, match=r"tiny_q8.gguf is damaged or no GGUF file: fetch it again"):
        pack("nodes.loading").read_model_file(str(folder / NAME))
    writer = gguf.GGUFWriter(folder / NAME, "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(Exception, match=r"tiny_q8.gguf cannot be read by ComfyUI-GGUF: Unexpected architecture.*llama"):
        pack("nodes.loading").read_model_file(str(folder / NAME))
