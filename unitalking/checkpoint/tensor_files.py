"""Safetensors files tensor by tensor: headers without tensors, and files that never are in memory as a whole."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

DTYPE_NAMES = {
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.uint8: "U8",
    torch.int64: "I64",
}
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its name says where it belongs."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Size in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


class TensorFile:
    """A safetensors file whose tensors are read one at a time.

    Attributes:
        name: the file's.
        metadata: its own.
        shells: its tensors without values, by name: dtype and shape on the device "meta".

    Raises:
        ValueError: not a safetensors file, or a truncated one.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        header = read_header(path)
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        dtypes = {name: dtype for dtype, name in DTYPE_NAMES.items()}
        self.shells = {
            name: torch.empty(entry["shape"], dtype=dtypes.get(entry["dtype"], torch.uint8), device="meta")
            for name, entry in header.items()
        }

    def read(self, name: str) -> Tensor:
        """One tensor, with its values."""
        try:
            with safe_open(self.path, framework="pt") as file:
                return file.get_tensor(name)
        except SafetensorError as error:
            raise ValueError(f"{self.name}: {name} cannot be read: {error}") from error


def read_header(path: Path) -> dict:
    """The parsed header of a safetensors file.

    Raises:
        ValueError: not a safetensors file, or a truncated one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, LONGEST_HEADER):
            raise ValueError(f"{path.name}: not a safetensors file (expected a header length, got {start[:8]!r}).")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ValueError(f"{path.name}: not a safetensors file (its header is not JSON).") from error
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise ValueError(
            f"{path.name}: the file ends after {size} of {expected} bytes: its download was cut off, fetch it again."
        )
    return header


def write_tensors(
    path: Path, listed: Sequence[Entry], metadata: Mapping[str, str], values: Callable[[Entry], Tensor]
) -> int:
    """Writes a safetensors file, one tensor in memory at a time, under a temporary name first.

    Args:
        path: of the file.
        listed: every tensor, in the file's order.
        metadata: of the file.
        values: gives a tensor's values, in its entry's dtype and shape.

    Returns:
        Bytes written.

    Raises:
        OSError: the folder is missing or the disk is full.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(header_bytes(listed, metadata))
            for entry in listed:
                file.write(values(entry).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            size = file.tell()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return size


def header_bytes(listed: Sequence[Entry], metadata: Mapping[str, str] | None) -> bytes:
    """The safetensors header: length, then JSON with dtype, shape and place of every tensor, padded to 8 bytes."""
    described: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    offset = 0
    for entry in listed:
        described[entry.name] = {
            "dtype": DTYPE_NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [offset, offset + entry.num_bytes],
        }
        offset += entry.num_bytes
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
