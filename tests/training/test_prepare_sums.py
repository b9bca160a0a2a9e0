"""Latent statistics and preview factors, added up in parts, are those of the whole."""

from __future__ import annotations

import json

import pytest
import torch

from unitalking.training.prepare.sums import ChannelSums, ColourSums, DataSums, mean_colours


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Seeded normal numbers, float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_statistics_are_mean_and_deviation_of_every_channel() -> None:
    parts = [draw(3, 5 + n, 4, seed=n) * torch.tensor([1.0, 10.0, 0.1])[:, None, None] + 7 for n in range(6)]
    sums = ChannelSums.zero(3)
    for part in parts:
        sums.add(part)
    every = torch.cat([part.flatten(1) for part in parts], dim=1)
    found = sums.statistics()
    torch.testing.assert_close(torch.tensor(found.mean, dtype=torch.float64), every.mean(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.tensor(found.std, dtype=torch.float64), every.std(1, correction=0), rtol=1e-9, atol=0
    )


def test_half_precision_latents_are_added_up_in_double_precision() -> None:
    sums = ChannelSums.zero(1)
    for _ in range(300):
        sums.add(torch.full((1, 100), 0.1, dtype=torch.float16))
    assert sums.statistics().mean[0] == pytest.approx(float(torch.tensor(0.1).half()), rel=1e-12)


def test_a_channel_that_never_changes_is_not_divided_by_nothing() -> None:
    sums = ChannelSums.zero(2)
    sums.add(torch.tensor([[0.1] * 1000, [0.0] * 1000]).half())
    assert sums.statistics().std == (1.0, 1.0)
    assert ChannelSums.zero(2).statistics() is None


def test_parts_merged_and_stored_are_the_whole() -> None:
    whole, merged = DataSums.zero(3, 2), DataSums.zero(3, 2)
    frames = torch.randint(0, 255, (5, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for n in range(4):
        part = DataSums.zero(3, 2)
        for sums in (whole, part):
            sums.video.add(draw(3, 2, 2, 2, seed=n))
            sums.colours.add(draw(3, 2, 2, 2, seed=n), frames, 4)
            sums.audio.add(draw(2, 9, seed=n))
        merged.merge(DataSums.from_mapping(json.loads(json.dumps(part.to_mapping()))))
    assert whole.to_mapping() == merged.to_mapping()


def test_mean_colours_are_those_of_the_pictures_and_pixels_of_a_cell() -> None:
    frames = torch.randint(0, 255, (9, 4, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = mean_colours(frames, (3, 2, 3), 4)
    values = frames.double() / 127.5 - 1
    for cell in [(0, 0, 0), (0, 1, 2), (1, 0, 1), (2, 1, 1)]:
        k, row, column = cell
        pictures = values[:1] if k == 0 else values[4 * k - 3 : 4 * k + 1]
        block = pictures[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        torch.testing.assert_close(found[cell], block.mean((0, 1, 2)), rtol=0, atol=1e-12)


def test_factors_bring_normalised_latents_to_the_colours() -> None:
    """Colours that are a linear function of raw latents are found exactly, through the statistics."""
    raw, bias = draw(3, 3, seed=1) * 0.1, draw(3, seed=2) * 0.1
    sums, statistics = ColourSums.zero(3), ChannelSums.zero(3)
    cells = torch.tensor([2.0, 0.5, 1.0])[:, None, None, None] * draw(3, 3, 2, 2, seed=3) + 1
    colours = torch.einsum("cfhw,cr->fhwr", cells, raw) + bias
    pixels = ((colours + 1) * 127.5).repeat_interleave(2, 1).repeat_interleave(2, 2)  # two pixels to a cell
    frames = torch.cat((pixels[:1], pixels[1:].repeat_interleave(4, 0)))
    sums.add(cells, frames, 4)
    statistics.add(cells)
    found = statistics.statistics()
    factors = torch.tensor(sums.factors(found), dtype=torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None, None] for v in (found.mean, found.std))
    shown = torch.einsum("cfhw,cr->fhwr", (cells - mean) / std, factors[:-1]) + factors[-1]
    torch.testing.assert_close(shown, colours, rtol=0, atol=1e-6)


def test_two_channels_that_always_agree_still_have_factors() -> None:
    sums, statistics = ColourSums.zero(2), ChannelSums.zero(2)
    one = draw(1, 1, 4, 4)
    cells = torch.cat((one, one))
    sums.add(cells, torch.full((1, 8, 8, 3), 100, dtype=torch.uint8), 4)
    statistics.add(cells)
    assert torch.tensor(sums.factors(statistics.statistics())).isfinite().all()
