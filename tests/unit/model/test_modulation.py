"""Modulation by run of equal noise level is modulation of every token."""

from __future__ import annotations

import math

import pytest
import torch
from builders import normal

from unitalking.model.modulation import ModulationTable, add_gated, modulate, timestep_sinusoid

RUNS = [(12,), (4, 4, 4), (1,) * 12, (2, 10), (1, 5, 3, 3), (3, 9)]


@pytest.mark.parametrize("lengths", RUNS, ids=str)
def test_modulating_runs_is_modulating_every_token(lengths: tuple[int, ...]) -> None:
    tokens = normal(2, 12, 5, seed=0)
    shift, scale = normal(2, len(lengths), 5, seed=1), normal(2, len(lengths), 5, seed=2)
    result = modulate(tokens, shift, scale, lengths)
    run_of = [run for run, length in enumerate(lengths) for _ in range(length)]
    for token, run in enumerate(run_of):
        torch.testing.assert_close(result[:, token], tokens[:, token] * (1 + scale[:, run]) + shift[:, run])


@pytest.mark.parametrize("lengths", RUNS, ids=str)
def test_gating_runs_is_gating_every_token(lengths: tuple[int, ...]) -> None:
    tokens, branch = normal(2, 12, 5, seed=0), normal(2, 12, 5, seed=1)
    gate = normal(2, len(lengths), 5, seed=2)
    result = add_gated(tokens, branch, gate, lengths)
    run_of = [run for run, length in enumerate(lengths) for _ in range(length)]
    for token, run in enumerate(run_of):
        torch.testing.assert_close(result[:, token], tokens[:, token] + gate[:, run] * branch[:, token])


@pytest.mark.parametrize("lengths", [(6, 6), (2, 10)], ids=str)
def test_the_streams_dtype_stays_under_wider_levels(lengths: tuple[int, ...]) -> None:
    tokens = normal(2, 12, 5, seed=0).bfloat16()
    level = normal(2, 2, 5, seed=1).float()
    assert modulate(tokens, level, level, lengths).dtype == torch.bfloat16
    assert add_gated(tokens, tokens, level, lengths).dtype == torch.bfloat16


def test_sinusoid_is_cosines_then_sines_of_falling_frequencies() -> None:
    times = [0.0, 1.0, 713.25, 1000.0]
    wave = timestep_sinusoid(torch.tensor(times, dtype=torch.float64), 8)
    for row, time in zip(wave, times, strict=True):
        angles = [time * 10000 ** (-i / 4) for i in range(4)]
        expected = [math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles]
        torch.testing.assert_close(row, torch.tensor(expected, dtype=torch.float64))


def test_sinusoid_of_a_float32_timestep_is_made_in_float64() -> None:
    wave = timestep_sinusoid(torch.tensor([[999.0]]), 256)
    assert wave.dtype == torch.float64
    assert wave.shape == (1, 1, 256)


@pytest.mark.parametrize(
    ("weight", "level", "result"),
    [
        (torch.float32, torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.float64, torch.float64, torch.float64),
    ],
    ids=str,
)
def test_offset_and_level_are_added_in_at_least_float32(
    weight: torch.dtype, level: torch.dtype, result: torch.dtype
) -> None:
    table = ModulationTable(6, 4, device=None, dtype=weight)
    torch.nn.init.constant_(table.weight, 256.0)
    added = table(torch.full((2, 3, 6, 4), 0.5, dtype=level))
    assert added.dtype == result
    assert (added == 256.5).all(), "bfloat16 would have lost the half"


def test_each_row_has_its_own_offset() -> None:
    table = ModulationTable(6, 4, device=None, dtype=torch.float64)
    torch.nn.init.normal_(table.weight, generator=torch.Generator().manual_seed(0))
    level = normal(2, 3, 6, 4, seed=1)
    for row in range(6):
        torch.testing.assert_close(table(level)[:, :, row], level[:, :, row] + table.weight[0, row])
