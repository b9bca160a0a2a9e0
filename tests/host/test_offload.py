"""Little memory: parts of the model stay behind, are cast when needed, and still carry their LoRA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

Pack = Callable[[str], ModuleType]


@pytest.fixture
def model(pack: Pack, tmp_path: Path) -> object:
    random_model = pack("unitalking.checkpoint.random_model")
    path = tmp_path / "tiny.safetensors"
    random_model.write_random(path, random_model.TINY, 0)
    return pack("nodes.loading").load_model(str(path), {"dtype": torch.float32})


def patched(model: object) -> object:
    """A LoRA on a projection and on the modulation, whose file name has no `.weight`."""
    generator = torch.Generator().manual_seed(0)
    lora = {}
    for key, rows in (("video.blocks.0.ffn.0", 256), ("video.blocks.1.modulation", 6), ("audio.head.modulation", 2)):
        lora[f"diffusion_model.{key}.lora_A.weight"] = torch.randn(2, 96, generator=generator) * 0.3
        lora[f"diffusion_model.{key}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) * 0.3
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]


def velocities(model: object) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    config = model.model.unitalking
    latents = [
        torch.randn(1, config.in_dim, 2, 4, 4, generator=generator),
        torch.randn(1, config.audio_channels, 5, generator=generator),
    ]
    context = torch.randn(1, config.text_len, config.text_dim, generator=generator)
    with torch.inference_mode():
        return model.model.diffusion_model(latents, torch.tensor([500.0]), context, audio_context=context)


def loaded(model: object, memory: int) -> list[Tensor]:
    """Velocities with at most `memory` bytes of weights loaded, 0 for no limit."""
    model.patch_model(torch.device("cpu"), lowvram_model_memory=memory)
    try:
        return velocities(model)
    finally:
        model.unpatch_model(torch.device("cpu"))


def test_offloaded_model_computes_what_the_loaded_one_does(model: object) -> None:
    with_lora = patched(model)
    whole = loaded(with_lora, 0)
    without = loaded(model, 0)
    for part, plain in zip(whole, without, strict=True):
        assert (part - plain).norm() > 1e-2 * plain.norm()  # the LoRA acts on both streams
    offloaded = loaded(with_lora, 100_000)
    for part, expected in zip(offloaded, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-5)


def test_modulation_is_patched_by_its_name_in_files(model: object) -> None:
    with_lora = patched(model)
    assert "diffusion_model.video.blocks.1.modulation.weight" in with_lora.patches
    before = model.model.diffusion_model.video.blocks[1].modulation.weight.clone()
    with_lora.patch_model(torch.device("cpu"))
    after = model.model.diffusion_model.video.blocks[1].modulation.weight.clone()
    with_lora.unpatch_model(torch.device("cpu"))
    assert (after - before).norm() > 0.1
    assert torch.equal(model.model.diffusion_model.video.blocks[1].modulation.weight, before)


def test_offloading_really_leaves_modulation_behind(model: object) -> None:
    model.patch_model(torch.device("cpu"), lowvram_model_memory=1)
    table = model.model.diffusion_model.video.blocks[0].modulation
    assert table.comfy_cast_weights
    model.unpatch_model(torch.device("cpu"))
    assert not table.comfy_cast_weights


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_weights_of_a_large_model_stay_in_the_file_in_its_own_dtype(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """On this CPU, which has neither type, the host would make fp32 of them: twice the memory."""
    random_model, loading = pack("unitalking.checkpoint.random_model"), pack("nodes.loading")
    written = tmp_path / "written.safetensors"
    random_model.write_random(written, random_model.TINY, 0)
    path = tmp_path / "half.safetensors"
    tensors = load_file(written)
    halves = {name: value.to(dtype) if value.dtype == torch.bfloat16 else value for name, value in tensors.items()}
    with safe_open(written, "pt") as opened:
        save_file(halves, path, opened.metadata())
    small = loading.load_model(str(path))
    monkeypatch.setattr(loading, "CAST_ONCE_BELOW", 0)
    file = loading.read_model_file(str(path))[0]
    places = {value.data_ptr() for value in file.network.values()}
    large = loading.patch_model(file, str(path), {})
    kept = dict(large.model.diffusion_model.named_parameters())
    assert len(kept) > 100
    assert {value.dtype for value in kept.values()} == {dtype}
    assert all(value.data_ptr() in places for value in kept.values())  # nothing is copied
    assert {value.dtype for value in small.model.diffusion_model.parameters()} == {torch.float32}
    for fast, slow in zip(loaded(small, 0), loaded(large, 0), strict=True):
        assert torch.equal(fast, slow)
    given = loading.load_model(str(path), {"dtype": torch.float32})
    assert {value.dtype for value in given.model.diffusion_model.parameters()} == {torch.float32}


def test_a_lora_leaves_weights_in_the_file_as_they_are(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_model, loading = pack("unitalking.checkpoint.random_model"), pack("nodes.loading")
    path = tmp_path / "tiny.safetensors"
    random_model.write_random(path, random_model.TINY, 0)
    before = path.read_bytes()
    cast = loaded(patched(loading.load_model(str(path))), 0)
    monkeypatch.setattr(loading, "CAST_ONCE_BELOW", 0)
    model = loading.load_model(str(path))
    plain = loaded(model, 0)
    for part, expected, without in zip(loaded(patched(model), 0), cast, plain, strict=True):
        assert (part - without).norm() > 1e-2 * without.norm()
        assert (part - expected).norm() < 2e-2 * expected.norm()  # the sum of weight and LoRA is rounded to the file's
    assert all(torch.equal(a, b) for a, b in zip(loaded(model, 0), plain, strict=True))
    assert path.read_bytes() == before
