"""A model's matrices in GGUF's Q8_0, blocks of 32 numbers with a scale each, as ComfyUI-GGUF's operations read them.

The file holds the network and its latent statistics; text encoder and codecs come from files of their own. It says that
its architecture is "wan", the nearest that ComfyUI-GGUF lets pass. Packing and reading need the `gguf` package.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from torch import Tensor

from .files import METADATA_KEY, CheckpointError
from .quantize import MATRICES, network_to_quantise
from .tensor_files import TensorFile

GGUF_ENDING = ".gguf"
ARCHITECTURE = "wan"
CONFIG_FIELD = "unitalking.config"
# GGUF knows four axes, ComfyUI-GGUF a field for what had more.
SHAPE_FIELD, MOST_AXES = "comfy.gguf.orig_shape.", 4
BLOCK = 32
KEPT = ("video.", "audio.", "latents.")


def library() -> ModuleType:
    """The `gguf` package.

    Raises:
        CheckpointError: it is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise CheckpointError("GGUF files need the package gguf: `pip install gguf` (ComfyUI-GGUF has it).") from error
    return gguf


def write_gguf(source: Path, out: Path, tell: Callable[[str], None]) -> float:
    """Writes a model of ours with its blocks' matrices in Q8_0 and everything else in float32, tensor by tensor.

    Arguments, result and errors are those of `quantize`, and

    Raises:
        CheckpointError: the `gguf` package is not installed.
    """
    gguf = library()
    kinds = gguf.GGMLQuantizationType
    file = TensorFile(source)
    shells = {name: shell for name, shell in network_to_quantise(file).items() if name.startswith(KEPT)}
    narrow = {name for name, shell in shells.items() if MATRICES.fullmatch(name) and shell.shape[-1] % BLOCK == 0}
    temporary = out.with_name(out.name + ".part")
    writer = gguf.GGUFWriter(temporary, ARCHITECTURE)
    writer.add_string(CONFIG_FIELD, file.metadata[METADATA_KEY])
    for name, shell in shells.items():
        if shell.ndim > MOST_AXES:
            writer.add_array(SHAPE_FIELD + name, list(shell.shape))
        shape, count = _few_axes(shell), shell.numel()
        if name in narrow:
            size = count // BLOCK * gguf.GGML_QUANT_SIZES[kinds.Q8_0][1]
            writer.add_tensor_info(name, shape, np.dtype(np.float32), size, kinds.Q8_0)
        else:
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * count)
    errors = [0.0]
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, shell in shells.items():
            values = file.read(name).float().reshape(_few_axes(shell)).numpy()
            if name in narrow:
                packed = gguf.quants.quantize(values, kinds.Q8_0)
                errors.append(_error(gguf.quants.dequantize(packed, kinds.Q8_0), values))
                tell(f"{name}: {errors[-1]:.4f}")
                values = packed
            writer.write_tensor_data(values)
        writer.close()
        temporary.replace(out)
    finally:
        writer.close()
        temporary.unlink(missing_ok=True)
    return max(errors)


def read_metadata(path: Path) -> dict[str, str]:
    """The config in a GGUF file under its name in other files; {} where there is none.

    Raises:
        CheckpointError: no GGUF file, or the `gguf` package is not installed.
    """
    gguf = library()
    try:
        field = gguf.GGUFReader(path).get_field(CONFIG_FIELD)
    except (ValueError, OSError, IndexError) as error:
        raise CheckpointError(f"{path.name} is damaged or no GGUF file: fetch it again. ({error})") from error
    return {} if field is None else {METADATA_KEY: field.contents()}


def _few_axes(shell: Tensor) -> tuple[int, ...]:
    shape = tuple(shell.shape) or (1,)
    return shape if len(shape) <= MOST_AXES else (shape[0], shell.numel() // shape[0])


def _error(again: np.ndarray, values: np.ndarray) -> float:
    return float(np.linalg.norm(again - values) / max(np.linalg.norm(values), np.finfo(np.float32).tiny))
