"""Maps of attention: the numbers of a dense softmax, of the right streams, at the right moments."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unitalking.attention_view import CELL, HEARD, OWN, AttentionMaps, heat, offset_s, over, timing
from unitalking.checkpoint.random_model import TINY

GRID, SOUND, HEADS = (3, 2, 4), 11, 2
PICTURE = 24


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def dense(queries: Tensor, keys: Tensor) -> Tensor:
    """Softmax weights, mean over heads, one head after the other."""
    weights = []
    for q, k in zip(queries.chunk(HEADS, dim=1), keys.chunk(HEADS, dim=1), strict=True):
        scores = (q @ k.T) / q.shape[1] ** 0.5
        weights.append(scores.exp() / scores.exp().sum(1, keepdim=True))
    return torch.stack(weights).mean(0)


def test_joint_attention_is_split_by_who_looks_at_whom() -> None:
    maps, queries, keys = AttentionMaps(GRID, SOUND, "joint"), normal(35, 16), normal(35, 16, seed=1)
    maps.add(queries, keys, HEADS)
    weights = dense(queries, keys)
    torch.testing.assert_close(maps.to_picture.flatten(1), weights[PICTURE:, :PICTURE])
    torch.testing.assert_close(maps.to_sound, weights[:PICTURE, PICTURE:].unflatten(0, (3, 8)).mean(1))
    maps.add(queries, keys, HEADS)
    torch.testing.assert_close(maps.to_picture.flatten(1), 2 * weights[PICTURE:, :PICTURE])
    assert maps.looks == [2, 2]


def test_other_ways_to_meet_are_known() -> None:
    beside, keys = AttentionMaps(GRID, SOUND, "joint"), normal(35, 16, seed=1)
    beside.add(normal(SOUND, 16), keys, HEADS)
    torch.testing.assert_close(beside.to_picture.flatten(1), dense(normal(SOUND, 16), keys)[:, :PICTURE])
    crossed = AttentionMaps(GRID, SOUND, "cross")
    crossed.add(normal(SOUND, 16), normal(PICTURE, 16, seed=1), HEADS)
    crossed.add(normal(PICTURE, 16), normal(SOUND, 16, seed=1), HEADS)
    assert beside.looks == [1, 0]
    assert crossed.looks == [1, 1]
    torch.testing.assert_close(crossed.to_picture.sum((1, 2, 3)), torch.ones(SOUND))
    torch.testing.assert_close(crossed.to_sound.sum(1), torch.ones(3))


def test_attention_to_text_and_of_one_stream_is_left_out() -> None:
    # Texts may be as long as the picture has tokens.
    for fusion, other in (("joint", [(PICTURE, SOUND), (SOUND, PICTURE)]), ("cross", [(35, 35), (SOUND, 35)])):
        maps = AttentionMaps(GRID, SOUND, fusion)
        for queries, keys in ((35, 7), (SOUND, 7), (PICTURE, PICTURE), (SOUND, SOUND), *other):
            maps.add(normal(queries, 16), normal(keys, 16), HEADS)
        assert maps.looks == [0, 0]


def test_a_frame_is_looked_at_by_the_sound_of_its_moment() -> None:
    maps = AttentionMaps(GRID, SOUND, "joint")
    maps.to_picture[:] = 1.0  # equally everywhere, but
    maps.to_picture[:2, 0, 1, 2] = 100.0  # the first sound looks here in the first frame,
    maps.to_picture[8:, 0, 0, 0] = 1e6  # the last one there in the first frame, which is not its moment
    where = maps.frames(TINY)  # a frame lasts 5.2 audio latents
    torch.testing.assert_close(where.sum((1, 2)), torch.ones(3))
    assert where[0].argmax() == 6
    assert where[1].std() < 1e-7


def test_heat_lies_over_the_pictures_of_its_frame() -> None:
    values = torch.zeros(2, 2, 2)
    values[1, 0, 0] = 1.0
    shown = over(torch.full((5, 16, 16, 3), 0.5), values, 4)
    assert shown.shape == (5, 16, 16, 3)
    assert torch.equal(shown[0], torch.full((16, 16, 3), 0.3))
    for picture in shown[1:]:
        torch.testing.assert_close(picture[0, 0], torch.tensor([0.99, 1.0, 0.64]))
        torch.testing.assert_close(picture[15, 15], torch.full((3,), 0.3))
    assert torch.equal(over(torch.full((3, 16, 16, 3), 0.5), values, 4, first=2), shown[2:])
    steps = heat(torch.linspace(0, 1, 9)[None, None], 1, 9)[0, 0].mean(-1)
    assert (steps.diff() > 0).all()


@pytest.mark.parametrize("late", [0, 3])
def test_the_offset_is_told_in_seconds(late: int) -> None:
    to_sound = torch.zeros(3, 20)
    for frame in range(3):
        to_sound[frame, round(frame / TINY.position_scale) + late] = 1.0
    mean, apart = offset_s(to_sound, TINY)
    assert mean == pytest.approx(0.032 * late, abs=0.01)
    assert apart == pytest.approx(0.032 * late, abs=0.02)


def test_the_curve_of_who_listens_when_is_drawn_over_its_heat() -> None:
    heard = [0, 9, 14]
    to_sound = torch.zeros(3, 20)
    for frame, latent in enumerate(heard):
        to_sound[frame, latent] = 1.0
    (drawn,) = timing(to_sound, TINY)
    assert drawn.shape == (3 * CELL[0], 20 * CELL[1], 3)
    curves = [(drawn == torch.tensor(colour)).all(-1) for colour in (OWN, HEARD)]
    assert curves[1].any(1).all()
    places = [curve.float() @ torch.arange(0.5, 80) / curve.sum(1) / CELL[1] - 0.5 for curve in curves]
    for frame, latent in enumerate(heard):
        row = round((frame + 0.5) * CELL[0])
        assert float(places[1][row]) == pytest.approx(latent, abs=1)
        assert float(places[0][row]) == pytest.approx(frame / TINY.position_scale, abs=1)
    for above, below in zip(curves[1][:-1], curves[1][1:], strict=True):
        assert (above & below).any(), "a gap"
