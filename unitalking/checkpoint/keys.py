"""Names of tensors: as files have them, and as the modules have them.

They differ in the modulation offsets alone: `blocks.N.modulation` in Wan2.2's files (`blocks.N.modulation.modulation`
in Ovi's), `blocks.N.modulation.weight` inside, where they are leaf modules so that a host can move and patch them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

_INSIDE = ".modulation.weight"
_IN_FILE = ".modulation"


def to_module_keys(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """File names -> module names; keys that already are module names stay, as does everything else (LoRA included)."""
    return {key + ".weight" if key.endswith(_IN_FILE) else key: value for key, value in tensors.items()}


def to_file_keys(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Module names -> file names; the inverse of `to_module_keys`."""
    return {key.removesuffix(".weight") if key.endswith(_INSIDE) else key: value for key, value in tensors.items()}
