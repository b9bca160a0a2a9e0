"""The table: figures over clips, their intervals, and the spread over seeds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unitalking.evaluation.table import COLUMNS, ClipScores, Row, Table
from unitalking.evaluation.words import Errors


def column(title: str) -> object:
    return next(each for each in COLUMNS if each.title.startswith(title))


def test_errors_are_summed_over_clips_not_averaged() -> None:
    row = Row("a", (ClipScores("x", words=Errors(1, 1)), ClipScores("y", words=Errors(0, 9))))
    assert row.figure(column("word error")).value == pytest.approx(0.1)


def test_clips_without_a_score_do_not_count() -> None:
    row = Row("a", (ClipScores("x", sync=0.5), ClipScores("y")))
    figure = row.figure(column("sync"))
    assert (figure.value, figure.clips) == (0.5, 1)
    assert Row("a", (ClipScores("y"),)).figure(column("sync")) is None


def test_lag_has_a_median_and_a_share_within_one_frame() -> None:
    row = Row("a", tuple(ClipScores(str(lag), lag=lag) for lag in (-1, 0, 1, 2, -5)))
    assert row.figure(column("best lag")).value == 0
    assert row.figure(column("lag within")).value == pytest.approx(0.6)


def test_attributes_shown_are_those_that_are_not_wrong() -> None:
    row = Row("a", (ClipScores("x", attributes=Errors(1, 8)), ClipScores("y", attributes=Errors(1, 2))))
    assert row.figure(column("attributes")).value == pytest.approx(0.8)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        scores = tuple(ClipScores(str(place), sync=value) for place, value in enumerate(random.normal(0.7, 0.2, 40)))
        figure = Row("a", scores).figure(column("sync"))
        covered += figure.low <= 0.7 <= figure.high
    assert 85 <= covered <= 99


def test_spread_over_seeds_is_that_of_each_seeds_own_figure() -> None:
    clips = [ClipScores("x", seed, sync=value) for seed, value in ((1, 0.6), (1, 0.8), (2, 0.9), (3, 0.5))]
    figure = Row("a", tuple(clips)).figure(column("sync"))
    assert figure.by_seed == {1: pytest.approx(0.7), 2: 0.9, 3: 0.5}
    assert figure.seed_spread == pytest.approx(np.std([0.7, 0.9, 0.5], ddof=1))


def test_markdown_shows_only_what_was_judged_with_rows_side_by_side() -> None:
    table = Table((Row("generated", (ClipScores("x", sync=0.8123),)),)) + Table((Row("real", (ClipScores("y"),)),))
    lines = table.markdown().splitlines()
    assert lines[0] == "| figure | generated (n = 1) | real (n = 1) |"
    assert lines[2] == "| sync correlation | 0.812 [0.812, 0.812] | - |"
    assert not any("word error" in line for line in lines)


def test_json_holds_every_clip_and_survives_a_file() -> None:
    table = Table((Row("generated", (ClipScores("x", words=Errors(1, 4)),)),), ("a note",))
    data = json.loads(json.dumps(table.json()))
    assert data["rows"]["generated"]["figures"]["word error %"]["value"] == 0.25
    assert data["rows"]["generated"]["clips"][0]["words"] == {"wrong": 1, "total": 4}
    assert data["notes"] == ["a note"]


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(KeyError, match="'fake'"):
        Table(()).figure("fake", "sync")
