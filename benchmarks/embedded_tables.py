"""The tables of embedded_model.py: every case beside real clips, coded ones and chance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from embedded_making import Job

from unitalking.evaluation.anchors import CODED, anchor_table
from unitalking.evaluation.clips import read_clip
from unitalking.evaluation.codec_anchor import Codec
from unitalking.evaluation.judges import Judges
from unitalking.evaluation.measure import evaluate
from unitalking.evaluation.sound import SAMPLE_RATE
from unitalking.evaluation.table import ClipScores, Row, Table
from unitalking.evaluation.vocoders import compare_vocoders

TITLES = {"common": "Common words", "few": "Few words", "unseen": "Words that training never says"}
# Where the clips are cut into groups by length, in seconds.
LENGTHS_S = (1, 2, 3, 5)


def all_tables(
    real: Mapping[str, Sequence[Path]], jobs: Sequence[Job], judges: Judges, codec: Codec
) -> dict[str, Table]:
    """Every table by its title.

    Args:
        real: sidecars of the real clips, by vocabulary.
        jobs: clips that were made of them.
        judges: from `load_judges`.
        codec: the judged model's own.
    """
    tables = {}
    for vocabulary, sidecars in real.items():
        clips = [read_clip(path) for path in sidecars]
        anchors = anchor_table(clips, judges, codec)
        cases = dict.fromkeys(job.case for job in jobs if job.case.vocabulary == vocabulary)
        rows = [case_row([job for job in jobs if job.case == case], judges) for case in cases]
        notes = tuple(f"`{case.name}`: {case.shows}." for case in cases)
        tables[TITLES[vocabulary]] = Table(tuple(rows), notes) + anchors
        compared = [row for row in (*rows, *anchors.rows) if row.name in ("default", CODED)]
        lengths_s = {clip.name: len(clip.sound) / SAMPLE_RATE for clip in clips}
        if len(compared) == 2:
            tables["By length of the real clip"] = Table(by_length(compared, lengths_s))
            tables["The vocoder"] = compare_vocoders(clips, judges, codec)
    return tables


def case_row(jobs: Sequence[Job], judges: Judges) -> Row:
    """The row of a case's clips; one seed is in memory at a time."""
    scores: list[ClipScores] = []
    for seed in sorted({job.seed for job in jobs}):
        clips = [read_clip(job.sidecar) for job in jobs if job.seed == seed]
        scores += evaluate(clips, judges).rows[0].scores
    return Row(jobs[0].case.name, tuple(scores))


def by_length(rows: Sequence[Row], lengths_s: Mapping[str, float]) -> tuple[Row, ...]:
    """Each row cut at `LENGTHS_S`; groups without clips are left out.

    Args:
        rows: of generated clips (NAME-sSEED) or real ones (NAME).
        lengths_s: of the real clips, by name.
    """
    found = []
    for low, high in pairwise(LENGTHS_S):
        for row in rows:
            real_names = [score.name.rpartition("-s")[0] or score.name for score in row.scores]
            group = [score for score, name in zip(row.scores, real_names, strict=True) if low <= lengths_s[name] < high]
            if group:
                found.append(Row(f"{row.name}, {low} to {high} s", tuple(group)))
    return tuple(found)


def write_tables(folder: Path, tables: Mapping[str, Table], head: str) -> None:
    """`table.md` for reading and `table.json` with every clip's scores.

    Args:
        folder: where to.
        tables: by title.
        head: what stands above them.
    """
    sections = [head, *(f"## {title}\n\n{table.markdown()}" for title, table in tables.items())]
    (folder / "table.md").write_text("\n\n".join(sections), encoding="utf-8")
    as_json = {title: table.json() for title, table in tables.items()}
    (folder / "table.json").write_text(json.dumps(as_json, indent=1), encoding="utf-8")
