"""What became of each row, as a CSV file beside the clips."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from .schedule import Job
from .table import Row

REPORT = "report.csv"
COLUMNS = ("name", "status", "server", "tries", "seconds", "seed", "file", "error")


def clip_of(row: Row, out: Path) -> Path:
    """Where the clip of a row lies once it is whole."""
    return out / f"{row.name}.mp4"


def write_report(out: Path, rows: Iterable[Row], jobs: Iterable[Job]) -> Path:
    """Writes the report; rows that an earlier run made keep what its report said.

    Args:
        out: the folder of the clips.
        rows: all, in the table's order.
        jobs: of those that were not there before.
    """
    path = out / REPORT
    earlier, made = _read(path), {job.row.name: job for job in jobs}
    half = path.with_suffix(".part")
    with half.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, COLUMNS, restval="")
        lines.writeheader()
        for row in rows:
            file_name = clip_of(row, out).name
            there = {"name": row.name, "status": "done", "file": file_name}
            line = _line(made[row.name], file_name) if row.name in made else earlier.get(row.name, there)
            lines.writerow(line)
    os.replace(half, path)
    return path


def _line(job: Job, file_name: str) -> dict[str, object]:
    line = {name: getattr(job, name) for name in ("status", "server", "tries", "seconds", "seed", "error")}
    return {"name": job.row.name, **line, "file": file_name if job.status == "done" else ""}


def _read(path: Path) -> dict[str, dict[str, str]]:
    """The lines of an earlier report about clips that were made, by name; none of a file that is no report."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return {line["name"]: line for line in lines if set(line) == set(COLUMNS) and line["status"] == "done"}
