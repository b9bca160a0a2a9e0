"""A model's matrices in scaled float8, in the form that ComfyUI's quantised layers read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .files import METADATA_KEY
from .layouts import strip_prefixes
from .tensor_files import Entry, TensorFile, write_tensors

FLOAT8 = torch.float8_e4m3fn
# What the blocks multiply with; norms, modulation, stems, embeddings and heads keep their precision.
MATRICES = re.compile(r"(video|audio)\.blocks\.\d+\.(self_attn|cross_attn|ffn)\.(?!\w*norm)[\w.]+\.weight")
SCALE, MARKER = "_scale", ".comfy_quant"
_MARK = torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8)


def quantize(source: Path, out: Path, tell: Callable[[str], None]) -> float:
    """Writes a model of ours with its blocks' matrices in float8, one scale each; everything else bit for bit.

    Args:
        source: a model file of ours; `convert` makes one of a public model.
        out: safetensors file to write.
        tell: is given each matrix with the size of its error, |quantised - weight| / |weight|.

    Returns:
        The largest of these errors.

    Raises:
        ValueError: a file of another kind, or one that is quantised already.
        OSError: a file cannot be read or written.
    """
    file = TensorFile(source)
    shells = network_to_quantise(file)
    narrow = [name for name in shells if MATRICES.fullmatch(name)]
    listed: list[Entry] = []
    for name, shell in shells.items():
        if name not in narrow:
            listed.append(Entry(name, tuple(shell.shape), shell.dtype))
            continue
        listed.append(Entry(name, tuple(shell.shape), FLOAT8))
        listed.append(Entry(name + SCALE, (), torch.float32))
        listed.append(Entry(name.removesuffix(".weight") + MARKER, tuple(_MARK.shape), torch.uint8))
    scales: dict[str, Tensor] = {}
    errors: list[float] = []

    def values(entry: Entry) -> Tensor:
        if entry.name in scales:
            return scales.pop(entry.name)
        if entry.name.endswith(MARKER):
            return _MARK
        weight = file.read(entry.name)
        if entry.dtype != FLOAT8:
            return weight
        quantised, scales[entry.name + SCALE] = scaled(weight)
        errors.append(_error(quantised, scales[entry.name + SCALE], weight))
        tell(f"{entry.name}: {errors[-1]:.4f}")
        return quantised

    write_tensors(out, listed, file.metadata, values)
    return max(errors)


def network_to_quantise(file: TensorFile) -> dict[str, Tensor]:
    """The tensors of a model file of ours, on the meta device, some of which can be quantised.

    Raises:
        ValueError: a file of another kind, or one that is quantised already.
    """
    shells = strip_prefixes(file.shells)
    if METADATA_KEY not in file.metadata or len(shells) != len(file.shells):
        raise ValueError(f"{file.name} is no model file of ours: `convert` makes one of a public model.")
    narrow = [shell for name, shell in shells.items() if MATRICES.fullmatch(name)]
    if not narrow or any(shell.dtype.itemsize == 1 for shell in narrow):
        raise ValueError(f"{file.name} has no matrices to quantise: it is quantised already, or has no blocks.")
    return shells


def scaled(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix in float8 whose largest value fills the range, and the scale to multiply it with, float32."""
    largest = weight.float().abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    scale = largest / torch.finfo(FLOAT8).max
    return (weight.float() / scale).to(FLOAT8), scale


def _error(quantised: Tensor, scale: Tensor, weight: Tensor) -> float:
    exact = weight.float()
    return float((quantised.float() * scale - exact).norm() / exact.norm().clamp_min(torch.finfo(torch.float32).tiny))
