"""What a model knows: first pictures of its kind are near, others far; texts in its characters are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unitalking.domain import Domain, unlearned

CHANNELS, HEIGHT, WIDTH = 5, 4, 6


def pictures(count: int, seed: int) -> Tensor:
    """Latents whose channels go together in each cell in a way of its own, (count, C, h, w)."""
    mixing = torch.randn(HEIGHT, WIDTH, CHANNELS, CHANNELS, generator=torch.Generator().manual_seed(0))
    mean = torch.randn(CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    drawn = torch.randn(count, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    return mean + torch.einsum("hwcd,ndhw->nchw", mixing, drawn)


@pytest.fixture(scope="module")
def domain() -> Domain:
    return Domain.measured(pictures(1000, seed=2))


def test_pictures_of_the_same_kind_are_near_and_within_the_limit(domain: Domain) -> None:
    distances = domain.distance(pictures(1000, seed=3))
    assert 0.8 < float(distances.mean()) < 1.05
    assert float((distances > domain.limit).float().mean()) < 0.01


def test_the_limit_is_not_much_wider_than_the_kind(domain: Domain) -> None:
    assert domain.limit < 1.3 * float(domain.distance(pictures(1000, seed=3)).quantile(0.99))


@pytest.mark.parametrize("change", ["channels mixed up", "cells mixed up", "brighter"])
def test_pictures_of_another_kind_are_beyond_the_limit(domain: Domain, change: str) -> None:
    known = pictures(200, seed=4)
    others = {
        "channels mixed up": known.roll(1, 1),
        "cells mixed up": known.flip(-1),
        "brighter": known + 2.0,
    }
    assert float((domain.distance(others[change]) > domain.limit).float().mean()) > 0.9


def test_the_distance_is_that_of_its_formula(domain: Domain) -> None:
    (picture,) = pictures(1, seed=5)
    total = 0.0
    for row in (0, 1):
        for column in (0, 1, 2):
            away = (picture[:, 1 + row, 1 + column] - domain.mean[:, row, column]).double()
            total += float(away @ domain.precision[row, column].double() @ away) / CHANNELS
    assert float(domain.distance(picture[None])) == pytest.approx(math.sqrt(total / 6), rel=1e-4)


def test_what_is_behind_the_face_does_not_count(domain: Domain) -> None:
    (picture,) = pictures(1, seed=5)
    before = float(domain.distance(picture[None]))
    picture[:, 0], picture[:, :, -1] = 9.0, -9.0
    assert float(domain.distance(picture[None])) == before
    picture[:, 2, 2] = 9.0
    assert float(domain.distance(picture[None])) > 2 * before


def test_a_cell_that_never_changed_does_not_cry_out_at_rounding() -> None:
    latents = pictures(400, seed=2)
    latents[:, :, 1, 1] = 0.3
    domain, again = Domain.measured(latents), pictures(50, seed=3)
    again[:, :, 1, 1] = 0.301
    assert float((domain.distance(again) > domain.limit).float().mean()) < 0.05


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="got 63 pictures to measure, expected at least 64"):
        Domain.measured(pictures(63, seed=2))


def test_pictures_without_a_middle_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got pictures of \(4, 5\) latent cells, expected even numbers"):
        Domain.measured(pictures(64, seed=2)[..., :5])


def test_latents_of_another_codec_are_refused(domain: Domain) -> None:
    with pytest.raises(ValueError, match=r"got \(1, 4, 4, 6\), expected \(N, 5, 4, 6\)"):
        domain.distance(torch.zeros(1, 4, 4, 6))


def test_a_file_keeps_it(domain: Domain) -> None:
    again = Domain.from_tensors(domain.tensors(), CHANNELS)
    assert torch.equal(again.mean, domain.mean)
    assert torch.equal(again.precision, domain.precision)
    assert again.limit == pytest.approx(domain.limit, rel=1e-6)
    assert Domain.from_tensors({"latents.video.mean": torch.zeros(5)}, CHANNELS) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain.limit": None}, r"domain\.limit: missing"),
        ({"domain.mean": torch.zeros(4, 2, 3)}, r"got shapes \(4, 2, 3\)"),
        ({"domain.precision": torch.zeros(2, 3, 5)}, "got shapes"),
        ({"domain.limit": torch.ones(2)}, "got shapes"),
        ({"domain.mean": torch.full((5, 2, 3), float("nan"))}, r"domain\.mean: holds NaN or Inf; the file is damaged"),
    ],
)
def test_damaged_tensors_are_named(domain: Domain, changes: dict[str, Tensor | None], message: str) -> None:
    tensors = {name: value for name, value in {**domain.tensors(), **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        Domain.from_tensors(tensors, CHANNELS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, it's me.\n", ""),
        ("ABBA, 3 cafés and 13 more", "3é1"),
        ("Привет", "Привет"),
        ("", ""),
    ],
)
def test_characters_that_were_not_learned(text: str, found: str) -> None:
    assert unlearned(text, "abcdefghijklmnopqrstuvwxyz',.") == found
    assert unlearned(text, "") == ""
