"""The table of an evaluation: one row of scores per kind of clip, every figure with its number of clips and spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .words import Errors

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class ClipScores:
    """What the judges say of one clip; None where a judge had nothing to judge.

    Attributes:
        name: the clip's.
        seed: the seed that it was sampled with.
        words, phonemes: errors.
        sync: correlation of the seen and the heard mouth at lag 0.
        sync_best: the same at the best lag.
        lag: frames by which the mouth moves after the sound, at the best correlation.
        fps: of the clip, which makes the lag a time.
        speaker: cosine with the reference voice.
        pitch: semitones between the median pitch and the reference's.
        identity: mean absolute difference to the portrait outside of the mouth, in 255ths.
        retrieved: whether the clip's own portrait is the nearest of all portraits.
        attributes: captioned attributes that are not shown, of all that are captioned.
        patches: how much more colours jump across cell borders than within cells, in 255ths.
        blotches: how much colour changes from cell to cell over most of the picture, in 255ths.
        loudness: LUFS.
        mel: mean absolute difference of the log-mel frames to the clip's original, in natural logarithms.
        heard: the words or phonemes that were heard, for reading.
    """

    name: str
    seed: int = 0
    words: Errors | None = None
    phonemes: Errors | None = None
    sync: float | None = None
    sync_best: float | None = None
    lag: int | None = None
    fps: float = 24.0
    speaker: float | None = None
    pitch: float | None = None
    identity: float | None = None
    retrieved: bool | None = None
    attributes: Errors | None = None
    patches: float | None = None
    blotches: float | None = None
    loudness: float | None = None
    mel: float | None = None
    sync_c: float | None = None
    sync_d: float | None = None
    whisper: Errors | None = None
    wavlm: float | None = None
    heard: str = ""


@dataclass(frozen=True)
class Column:
    """One figure of a row.

    Attributes:
        title: the column's head, with the unit.
        field: of `ClipScores`.
        kind: "rate" (wrong of total, over all clips together), "right" (1 - rate), "mean", "median", or "within" (the
            share of clips whose value is at most 1 in size).
        decimals: shown.
    """

    title: str
    field: str
    kind: str
    decimals: int = 1

    @property
    def scale(self) -> float:
        """Shares are shown in per cent."""
        return 100.0 if self.kind in ("rate", "right", "within", "share") else 1.0


COLUMNS = (
    Column("word error %", "words", "rate"),
    Column("phoneme error %", "phonemes", "rate"),
    Column("sync correlation", "sync", "mean", 3),
    Column("best lag, frames", "lag", "median", 0),
    Column("lag within 1 frame %", "lag", "within"),
    Column("speaker cosine", "speaker", "mean", 3),
    Column("pitch error, semitones", "pitch", "median", 2),
    Column("identity MAE /255", "identity", "mean", 2),
    Column("retrieval %", "retrieved", "share"),
    Column("attributes shown %", "attributes", "right"),
    Column("patches /255", "patches", "mean", 2),
    Column("blotches /255", "blotches", "median", 2),
    Column("loudness LUFS", "loudness", "mean"),
    Column("mel distance", "mel", "mean", 3),
    Column("Sync-C", "sync_c", "mean", 2),
    Column("Sync-D", "sync_d", "mean", 2),
    Column("Whisper word error %", "whisper", "rate"),
    Column("WavLM cosine", "wavlm", "mean", 3),
)


@dataclass(frozen=True)
class Figure:
    """A figure with what it rests on.

    Attributes:
        value: over all clips.
        low, high: 95 % interval by resampling the clips.
        clips: that had it.
        by_seed: the same figure for the clips of each seed, where there is more than one.
    """

    value: float
    low: float
    high: float
    clips: int
    by_seed: dict[int, float]

    @property
    def seed_spread(self) -> float | None:
        """Standard deviation over seeds."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Row:
    """One kind of clip: generated, real, and so on."""

    name: str
    scores: tuple[ClipScores, ...]

    def figure(self, column: Column) -> Figure | None:
        """A column's figure, or None where no clip has it."""
        known = [score for score in self.scores if getattr(score, column.field) is not None]
        if not known:
            return None
        pairs = np.array([_pair(getattr(score, column.field), column.kind) for score in known])
        summary = _SUMMARIES[column.kind]
        picks = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
        low, high = np.percentile([summary(pairs[pick]) for pick in picks], INTERVAL)
        seeds = sorted({score.seed for score in known})
        of_seed = {seed: np.array([score.seed == seed for score in known]) for seed in seeds}
        by_seed = {seed: summary(pairs[mask]) for seed, mask in of_seed.items()} if len(seeds) > 1 else {}
        return Figure(summary(pairs), float(low), float(high), len(known), by_seed)


@dataclass(frozen=True)
class Table:
    """Rows to compare. `notes` say what a reader must know, such as which judge is missing."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __add__(self, other: Table) -> Table:
        return Table(self.rows + other.rows, tuple(dict.fromkeys(self.notes + other.notes)))

    def figure(self, row: str, title: str) -> Figure | None:
        """The figure of a row in the column whose head begins with `title`.

        Raises:
            KeyError: no such row or column.
        """
        column = next((column for column in COLUMNS if column.title.startswith(title)), None)
        found = next((each for each in self.rows if each.name == row), None)
        if column is None or found is None:
            raise KeyError(f"{row!r}, {title!r}: rows are {[each.name for each in self.rows]}.")
        return found.figure(column)

    def markdown(self) -> str:
        """The table for reading: rows are figures, columns kinds of clips; `value [95 % interval]`."""
        lines = [["figure", *(f"{row.name} (n = {len(row.scores)})" for row in self.rows)]]
        for column in COLUMNS:
            figures = [row.figure(column) for row in self.rows]
            if any(figures):
                lines.append([column.title, *(_cell(figure, column) for figure in figures)])
        lines.insert(1, ["---"] * len(lines[0]))
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        legend = (
            "Brackets: 95 % interval by resampling clips"
            + ("; sd: standard deviation over seeds" if self._has_seeds() else "")
            + ". The lag is positive where the mouth moves after the sound."
        )
        return "\n\n".join([text, legend, *self.notes]) + "\n"

    def json(self) -> dict[str, Any]:
        """Everything, every clip's scores included, as JSON data."""
        rows = {}
        for row in self.rows:
            figures = {column.title: row.figure(column) for column in COLUMNS}
            rows[row.name] = {
                "figures": {
                    title: {**asdict(figure), "seed_spread": figure.seed_spread}
                    for title, figure in figures.items()
                    if figure
                },
                "clips": [asdict(score) for score in row.scores],
            }
        return {"rows": rows, "notes": list(self.notes)}

    def _has_seeds(self) -> bool:
        return any(len({score.seed for score in row.scores}) > 1 for row in self.rows)


def _pair(value: Any, kind: str) -> tuple[float, float]:
    """A value and its weight: errors count by their length."""
    if isinstance(value, Errors):
        return (float(value.wrong), float(value.total))
    if kind == "within":
        return (float(abs(value) <= 1), 1.0)
    return (float(value), 1.0)


def _ratio(pairs: np.ndarray) -> float:
    return float(pairs[:, 0].sum() / max(pairs[:, 1].sum(), 1.0))


_SUMMARIES: dict[str, Callable[[np.ndarray], float]] = {
    "rate": _ratio,
    "right": lambda pairs: 1 - _ratio(pairs),
    "within": _ratio,
    "share": _ratio,
    "mean": _ratio,
    "median": lambda pairs: float(np.median(pairs[:, 0])),
}


def _cell(figure: Figure | None, column: Column) -> str:
    if figure is None:
        return "-"
    value, low, high = (
        f"{number * column.scale:.{column.decimals}f}" for number in (figure.value, figure.low, figure.high)
    )
    spread = figure.seed_spread
    seeds = "" if spread is None else f", sd {spread * column.scale:.{column.decimals + 1}f}"
    return f"{value} [{low}, {high}]{seeds}"
