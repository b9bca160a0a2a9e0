"""Latent statistics: inverse of each other, per channel, and checked when read from a file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unitalking.latents import WAN22_MEAN, WAN22_STD, LatentStatistics

STATISTICS = LatentStatistics(torch.tensor([0.5, -1.0, 2.0]), torch.tensor([2.0, 0.5, 1.5]))


def latent(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (2, 3, 7)], ids=["video", "audio"])
def test_restore_is_the_inverse_of_normalise(shape: tuple[int, ...]) -> None:
    x = latent(*shape)
    torch.testing.assert_close(STATISTICS.restore(STATISTICS.normalise(x)), x)
    torch.testing.assert_close(STATISTICS.normalise(STATISTICS.restore(x)), x)


@pytest.mark.parametrize("shape", [(2, 3, 3, 3, 3), (3, 3, 3)], ids=["video", "audio"])
def test_each_channel_has_its_own_mean_and_deviation(shape: tuple[int, ...]) -> None:
    x = latent(*shape)
    normalised = STATISTICS.normalise(x)
    for channel, (mean, std) in enumerate([(0.5, 2.0), (-1.0, 0.5), (2.0, 1.5)]):
        torch.testing.assert_close(normalised[:, channel], (x[:, channel] - mean) / std)


def test_the_latents_dtype_stays() -> None:
    assert STATISTICS.normalise(latent(1, 3, 2).to(torch.bfloat16)).dtype == torch.bfloat16
    assert STATISTICS.restore(latent(1, 3, 2)).dtype == torch.float64


def test_statistics_are_read_by_stream_as_float32() -> None:
    tensors = {
        "latents.video.mean": torch.tensor([1.0, 2.0], dtype=torch.float16),
        "latents.video.std": torch.tensor([3.0, 4.0]),
        "latents.audio.mean": torch.tensor([9.0, 9.0]),
    }
    read = LatentStatistics.from_tensors(tensors, "video", 2)
    assert read.mean.tolist() == [1.0, 2.0]
    assert read.std.tolist() == [3.0, 4.0]
    assert read.mean.dtype == read.std.dtype == torch.float32


def test_a_file_without_statistics_normalises_nothing() -> None:
    x = latent(2, 5, 3)
    read = LatentStatistics.from_tensors({}, "audio", 5)
    assert torch.equal(read.normalise(x), x)
    assert torch.equal(read.restore(x), x)


@pytest.mark.parametrize(
    ("kind", "value", "complaint"),
    [
        ("mean", [0.0], r"expected \(2,\)"),
        ("std", [[1.0, 1.0]], r"expected \(2,\)"),
        ("mean", [0.0, float("nan")], "NaN"),
        ("std", [1.0, float("inf")], "Inf"),
        ("std", [1.0, 0.0], "above 0"),
        ("std", [1.0, -1.0], "above 0"),
    ],
)
def test_damaged_statistics_are_refused_by_name(kind: str, value: list, complaint: str) -> None:
    tensors = {f"latents.audio.{kind}": torch.tensor(value)}
    with pytest.raises(ValueError, match=rf"latents\.audio\.{kind}.*{complaint}"):
        LatentStatistics.from_tensors(tensors, "audio", 2)


def test_public_statistics_have_wans_48_channels() -> None:
    assert len(WAN22_MEAN) == len(WAN22_STD) == 48
    assert min(WAN22_STD) > 0
