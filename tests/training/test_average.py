"""The mean of runs of one model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from unitalking.checkpoint.random_model import TINY, write_random
from unitalking.training.average import main
from unitalking.training.result import ABOUT_KEY
from unitalking.training.start import read_tensors


def models(folder: Path) -> list[Path]:
    """Three random models of one config, in folders named like runs."""
    paths = [folder / name / "model.safetensors" for name in ("first", "second", "third")]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        write_random(path, TINY, seed)
    return paths


def test_every_weight_is_the_mean_and_the_file_is_a_model(tmp_path: Path) -> None:
    paths, out = models(tmp_path), tmp_path / "mean.safetensors"
    assert main([str(out), *map(str, paths)]) == 0
    mean, metadata = read_tensors(out)
    files = [read_tensors(path)[0] for path in paths]
    assert mean.keys() == files[0].keys()
    for name, value in mean.items():
        assert value.dtype == files[2][name].dtype
        if value.is_floating_point():
            expected = torch.stack([file[name].double() for file in files]).mean(0)
            torch.testing.assert_close(value.double(), expected, rtol=1e-2, atol=1e-3)
        else:
            assert torch.equal(value, files[2][name])
    assert json.loads(metadata[ABOUT_KEY])["average_of"] == "first, second, third"
    with safe_open(paths[0], "pt") as file:
        assert {key: value for key, value in metadata.items() if key != ABOUT_KEY} == file.metadata()


def test_what_cannot_be_averaged_is_refused_and_leaves_no_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths, out = models(tmp_path), tmp_path / "mean.safetensors"
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    for files, match in (
        (paths[:1], "at least two models, got 1"),
        ([paths[0], tmp_path / "other.safetensors"], "not runs of one model: their tensors differ"),
        ([paths[0], tmp_path / "nowhere.safetensors"], "A model cannot be read"),
    ):
        assert main([str(out), *map(str, files)]) == 1
        assert match in caplog.records[-1].getMessage()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part" or path == out] == []
