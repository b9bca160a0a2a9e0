"""Run-length coded noise levels give every token back its own level."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unitalking.types import NoiseLevels, run_starts, wide


def expanded(noise: NoiseLevels) -> Tensor:
    """The level of every token, (B, T)."""
    return noise.timestep.repeat_interleave(torch.tensor(noise.lengths), dim=1)


TABLES = {
    "uniform": [[500.0] * 5],
    "clean first": [[0.0, 713.0, 713.0, 713.0]],
    "clean prefix and suffix": [[0.0, 0.0, 300.0, 300.0, 0.0]],
    "all different": [[1.0, 2.0, 3.0, 2.0]],
    "one entry": [[42.0]],
    "samples change at different entries": [[0.0, 0.0, 5.0, 5.0], [0.0, 7.0, 7.0, 7.0]],
    "only the second sample changes": [[9.0, 9.0, 9.0], [0.0, 9.0, 9.0]],
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("tokens_per_entry", [1, 6])
def test_runs_expand_to_the_table_they_were_made_from(name: str, tokens_per_entry: int) -> None:
    table = torch.tensor(TABLES[name])
    noise = NoiseLevels.from_tokens(table, tokens_per_entry)
    assert torch.equal(expanded(noise), table.repeat_interleave(tokens_per_entry, dim=1))
    assert noise.timestep.shape == (len(table), len(noise.lengths))


@pytest.mark.parametrize("name", TABLES)
def test_neighbouring_runs_differ_in_some_sample(name: str) -> None:
    noise = NoiseLevels.from_tokens(torch.tensor(TABLES[name]))
    assert (noise.timestep[:, 1:] != noise.timestep[:, :-1]).any(0).all()


def test_runs_are_plain_numbers() -> None:
    noise = NoiseLevels.from_tokens(torch.tensor(TABLES["clean first"]), 4)
    assert noise.lengths == (4, 12)
    assert all(type(length) is int for length in noise.lengths)


def test_levels_keep_their_dtype() -> None:
    assert NoiseLevels.from_tokens(torch.tensor([[0.0, 1.0]], dtype=torch.float64)).timestep.dtype == torch.float64


def test_uniform_is_one_run_of_each_samples_level() -> None:
    noise = NoiseLevels.uniform(torch.tensor([3.0, 4.0]), 9)
    assert torch.equal(expanded(noise), torch.tensor([[3.0] * 9, [4.0] * 9]))
    assert noise.lengths == (9,)


def test_run_starts_name_every_change() -> None:
    assert run_starts(torch.tensor([[1, 1, 2, 2, 1]])) == [0, 2, 4]
    assert run_starts(torch.tensor([[1, 1, 1], [1, 2, 2]])) == [0, 1]


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.float64), ("cuda", torch.float64), ("mps", torch.float32)])
def test_widest_float_is_one_that_the_device_has(device: str, dtype: torch.dtype) -> None:
    assert wide(torch.device(device)) == dtype
