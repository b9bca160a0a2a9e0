"""Weights in fp8: cast on loading, or stored with scales in any of the host's three file formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab, rel
from lora_files import write_lora
from safetensors.torch import save_file
from torch import Tensor

FP8 = torch.float8_e4m3fn
LARGEST = 448.0  # of float8_e4m3fn
# Weights that stay in fp8 lie in memory as they lie in the file, and a matrix product may round by where that is.
SAME = 1e-6
# fp8 keeps three bits of mantissa, 3 % per weight: 2 % measured on this model's clip, 4 % without scales.
CLOSE = 0.05


def is_quantised(key: str, value: Tensor) -> bool:
    return ".blocks." in key and key.startswith(("video.", "audio.")) and value.ndim == 2


def quantise(lab: Lab) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The model's tensors with the blocks' matrices in fp8, and one scale for each."""
    tensors, scales = dict(lab.tensors()), {}
    for key, value in tensors.items():
        if is_quantised(key, value):
            scale = value.float().abs().max() / LARGEST
            scales[key.removesuffix(".weight")] = scale
            tensors[key] = (value.float() / scale).to(FP8)
    return tensors, scales


def old_format(tensors: dict[str, Tensor], scales: dict[str, Tensor], prefix: str) -> dict[str, str]:
    """`scaled_fp8` and `.scale_weight`."""
    tensors |= {f"{prefix}{layer}.scale_weight": scale for layer, scale in scales.items()}
    tensors[f"{prefix}scaled_fp8"] = torch.zeros(2, dtype=FP8)
    return {}


def metadata_format(tensors: dict[str, Tensor], scales: dict[str, Tensor], prefix: str) -> dict[str, str]:
    """`_quantization_metadata` and `.weight_scale`."""
    tensors |= {f"{prefix}{layer}.weight_scale": scale for layer, scale in scales.items()}
    layers = {f"{prefix}{layer}": {"format": "float8_e4m3fn"} for layer in scales}
    return {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}


def tensor_format(tensors: dict[str, Tensor], scales: dict[str, Tensor], prefix: str) -> dict[str, str]:
    """`.comfy_quant` and `.weight_scale`, as ModelSave writes them."""
    told = torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)
    tensors |= {f"{prefix}{layer}.weight_scale": scale for layer, scale in scales.items()}
    tensors |= {f"{prefix}{layer}.comfy_quant": told.clone() for layer in scales}
    return {}


FORMATS = {"old": old_format, "metadata": metadata_format, "tensor": tensor_format}
EACH_FORMAT = pytest.mark.parametrize("kind", FORMATS)


def scaled_file(lab: Lab, kind: str, prefix: str = "") -> Path:
    write: Callable[..., dict[str, str]] = FORMATS[kind]
    weights, scales = quantise(lab)
    network = ("video.", "audio.")
    tensors = {(prefix if key.startswith(network) else "") + key: value for key, value in weights.items()}
    metadata = write(tensors, scales, prefix)
    path = lab.folder / f"{kind}.safetensors"
    save_file(tensors, path, metadata)
    return path


def load(lab: Lab, path: Path, **options: Any) -> Any:
    return lab.pack("nodes.loading").load_model(str(path), options)


def dequantised(lab: Lab) -> Any:
    """A plain float32 model of the values that the fp8 files stand for."""
    weights, scales = quantise(lab)
    plain = {key: (weights[f"{key}.weight"].float() * scale) for key, scale in scales.items()}
    path = lab.rewrite("plain.safetensors", lambda given: given | {f"{key}.weight": v for key, v in plain.items()})
    return lab.load(path)


def sampled(lab: Lab, model: Any) -> list[Tensor]:
    return lab.ksampler(model, lab.prompt(), lab.held(lab.latent()), cfg=1.0)


@EACH_FORMAT
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_scaled_files_of_every_format_stand_for_the_same_weights(
    lab: Lab, caplog: pytest.LogCaptureFixture, kind: str, prefix: str
) -> None:
    model = load(lab, scaled_file(lab, kind, prefix))
    assert not [record for record in caplog.records if "unet" in record.message], "nothing missing, nothing unexpected"
    assert model.model.diffusion_model.state_dict()["video.blocks.0.self_attn.q.weight"].dtype == FP8, "kept in fp8"
    results = sampled(lab, model), sampled(lab, dequantised(lab))
    assert [rel(a, b) <= SAME for a, b in zip(*results, strict=True)] == [True, True]


def test_old_and_new_files_give_the_same_clip(lab: Lab) -> None:
    first, *others = (sampled(lab, load(lab, scaled_file(lab, kind))) for kind in FORMATS)
    for other in others:
        assert [rel(a, b) <= SAME for a, b in zip(other, first, strict=True)] == [True, True]


@EACH_FORMAT
def test_scaled_files_are_close_to_the_model(lab: Lab, kind: str) -> None:
    results = sampled(lab, load(lab, scaled_file(lab, kind))), sampled(lab, lab.model)
    assert [1e-3 < rel(a, b) < CLOSE for a, b in zip(*results, strict=True)] == [True, True]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_weights_may_be_cast_to_fp8_on_loading(lab: Lab, dtype: torch.dtype) -> None:
    model = load(lab, lab.path, dtype=dtype)
    assert model.model.diffusion_model.video.blocks[0].self_attn.q.weight.dtype == dtype
    rounded = lab.rewrite(
        "rounded.safetensors",
        lambda tensors: {
            key: value.to(dtype).float() if key.startswith(("video.", "audio.")) else value
            for key, value in tensors.items()
        },
    )
    ours, exact, near = sampled(lab, model), sampled(lab, lab.load(rounded)), sampled(lab, lab.model)
    compute = model.model.get_dtype_inference()
    same = SAME if compute == torch.float32 else 3e-2
    assert [rel(a, b) <= same for a, b in zip(ours, exact, strict=True)] == [True, True]
    step = torch.finfo(dtype).eps  # weights are off by up to half of it
    assert [0.1 * step < rel(a, b) < step for a, b in zip(ours, near, strict=True)] == [True, True]


@pytest.mark.parametrize("choice", ["fp8_e4m3fn", "bf16", "fp32", "default"])
def test_the_loaders_choices_are_kept(lab: Lab, choice: str) -> None:
    options = lab.pack("nodes.loaders").WEIGHT_DTYPES[choice]
    model = load(lab, lab.path, **options)
    expected = {"fp8_e4m3fn": FP8, "bf16": torch.bfloat16, "fp32": torch.float32}.get(choice)
    dtypes = {value.dtype for value in model.model.diffusion_model.state_dict().values()}
    assert expected is None or dtypes == {expected}
    assert all(bool(part.isfinite().all()) for part in sampled(lab, model))


@EACH_FORMAT
def test_a_lora_acts_on_scaled_weights(lab: Lab, kind: str) -> None:
    targets = ["video.blocks.0.self_attn.q.weight", "audio.blocks.1.ffn.0.weight", "video.blocks.1.modulation"]
    write_lora(lab.path, "on_fp8.safetensors", targets, "kohya", scale=0.5)
    node = lab.host.LoraLoaderModelOnly()
    models = load(lab, scaled_file(lab, kind)), dequantised(lab)
    ours, plain = (sampled(lab, node.load_lora_model_only(model, "on_fp8.safetensors", 1.0)[0]) for model in models)
    assert [rel(a, b) < 0.02 for a, b in zip(ours, plain, strict=True)] == [True, True]
    assert [rel(a, b) > 0.05 for a, b in zip(ours, sampled(lab, models[1]), strict=True)] == [True, True]


@EACH_FORMAT
def test_scaled_weights_are_saved_as_they_are(lab: Lab, kind: str) -> None:
    model = load(lab, scaled_file(lab, kind))
    again = load(lab, lab.save(model, f"scaled_{kind}"))
    assert again.model.diffusion_model.state_dict()["video.blocks.0.self_attn.q.weight"].dtype == FP8
    results = sampled(lab, again), sampled(lab, model)
    assert [rel(a, b) <= SAME for a, b in zip(*results, strict=True)] == [True, True]


def test_what_quantize_writes_stays_narrow_and_near(lab: Lab) -> None:
    path = lab.folder / "quantized.safetensors"
    largest = lab.pack("unitalking.checkpoint.quantize").quantize(lab.path, path, lambda line: None)
    assert largest < CLOSE
    model = load(lab, path)
    weights = model.model.diffusion_model.state_dict()
    assert weights["audio.blocks.1.cross_attn.k_reference.weight"].dtype == FP8
    assert weights["audio.blocks.1.norm3.weight"].dtype != FP8
    results = sampled(lab, model), sampled(lab, lab.model)
    assert [1e-3 < rel(a, b) < CLOSE for a, b in zip(*results, strict=True)] == [True, True]
