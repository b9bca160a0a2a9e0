"""The golden files: vectors made by running the original Wan2.2, Ovi, MMAudio and BigVGAN code.

`$UNITALKING_GOLDEN` names their folder; without it the golden tests are skipped. Everything a test needs (sizes, rates,
cases) is read from the files, so that other files of the same names and format go through the same tests.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from unitalking.config import UniTalkingConfig


def rel_l2(actual: Tensor, expected: Tensor) -> float:
    """|actual - expected| / |expected| over all elements, in float64; NaN anywhere gives NaN."""
    actual, expected = actual.detach().cpu().double(), expected.detach().cpu().double()
    return float((actual - expected).norm() / expected.norm().clamp_min(torch.finfo(torch.float64).tiny))


@dataclass(frozen=True)
class GoldenFile:
    """One golden safetensors file: `metadata` as stored (strings), tensors read when asked for."""

    path: Path
    metadata: dict[str, str]
    names: tuple[str, ...]

    def json(self, key: str) -> Any:
        """The metadata entry `key`, parsed as JSON."""
        if key not in self.metadata:
            raise KeyError(f"{self.path.name} has no metadata {key!r}; it has {', '.join(sorted(self.metadata))}.")
        return json.loads(self.metadata[key])

    def config(self) -> UniTalkingConfig:
        """The config of the network that the file was made with."""
        known = {field.name for field in fields(UniTalkingConfig)}
        stored = self.json("config")
        sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
        more = {"audio_channels": stored["C_a"]} if "C_a" in stored else {}
        return UniTalkingConfig(**{key: value for key, value in sizes.items() if key in known}, **more)

    def keys(self, prefix: str = "") -> list[str]:
        """Full names of the tensors that start with `prefix`, sorted."""
        return sorted(name for name in self.names if name.startswith(prefix))

    def tensor(self, key: str, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor `key`, in its stored dtype or in `dtype`."""
        if key not in self.names:
            raise KeyError(f"{self.path.name} has no tensor {key!r}.")
        with safe_open(self.path, framework="pt") as file:
            value = file.get_tensor(key)
        return value if dtype is None else value.to(dtype)

    def weights(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """All tensors `w.*` without that prefix, in `dtype` (bf16 and float8 storage is lossless)."""
        keys = self.keys("w.")
        if not keys:
            raise KeyError(f"{self.path.name} has no weights (w.*).")
        with safe_open(self.path, framework="pt") as file:
            return {key.removeprefix("w."): file.get_tensor(key).to(dtype) for key in keys}

    def assert_close(self, key: str, actual: Tensor, limit: float) -> None:
        """Fail unless `actual` has the shape of tensor `key` and its rel_l2 from it is at most `limit`."""
        expected = self.tensor(key)
        assert tuple(actual.shape) == tuple(expected.shape), f"{self.path.name} {key}: shape"
        error = rel_l2(actual, expected)
        assert error <= limit, f"{self.path.name} {key}: rel_l2 {error:.3g}, at most {limit:g} expected"


@dataclass(frozen=True)
class GoldenFolder:
    """The folder of golden files."""

    path: Path

    def open(self, name: str) -> GoldenFile:
        """`<name>.safetensors`; a missing or unreadable file raises, and so fails the test."""
        path = self.path / f"{name}.safetensors"
        with safe_open(path, framework="pt") as file:
            return GoldenFile(path, dict(file.metadata() or {}), tuple(file.keys()))

    def load_json(self, name: str) -> Any:
        """The content of `<name>.json`."""
        return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def golden() -> GoldenFolder:
    """The golden folder; skips where there is none."""
    folder = os.environ.get("UNITALKING_GOLDEN", "")
    if not folder:
        pytest.skip("UNITALKING_GOLDEN is not set: no folder with golden files")
    if not Path(folder).is_dir():
        pytest.skip(f"UNITALKING_GOLDEN={folder} is not a folder")
    return GoldenFolder(Path(folder))
