"""Public float8 files -> ComfyUI's scaled form, which its quantised layers compute with.

Ovi is passed around in float8 with scales under two names, and without any, everything cast but norms and biases. Only
what a Linear multiplies stays float8; a file without scales gets scales of 1, and all else (modulation, stems) becomes
bfloat16 again.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .public_layouts import FLOAT8_MARKER

FLOAT8 = torch.float8_e4m3fn  # the one format that the host has such layers for
SCALE, OTHER_SCALE = ".scale_weight", ".weight_scale"
KNOWN_FORMS = (".comfy_quant", FLOAT8_MARKER)


def as_scaled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors with `scaled_fp8` and `X.scale_weight` beside every float8 `X.weight`.

    Files without float8, and those that are in one of the host's forms already, come back as they are.

    Args:
        tensors: all tensors of a network, any prefix.
    """
    narrow = [name for name, value in tensors.items() if value.dtype == FLOAT8]
    if not narrow or any(name.endswith(KNOWN_FORMS) for name in tensors):
        return dict(tensors)
    result = {
        name.removesuffix(OTHER_SCALE) + SCALE if name.endswith(OTHER_SCALE) else name: value
        for name, value in tensors.items()
    }
    for name in narrow:
        if name.endswith(".weight") and result[name].ndim == 2 and not _is_table(name):
            result.setdefault(name.removesuffix(".weight") + SCALE, torch.ones(()))
        else:
            result[name] = result[name].to(torch.bfloat16)
    return {**result, FLOAT8_MARKER: torch.zeros(2, dtype=FLOAT8)}


def _is_table(name: str) -> bool:
    """Whether a matrix is looked up or added, not multiplied."""
    return "modulation" in name or ".space." in name
