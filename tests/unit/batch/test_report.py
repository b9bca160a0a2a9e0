"""The report beside the clips."""

from __future__ import annotations

import csv
from pathlib import Path

from unitalking.batch.report import write_report
from unitalking.batch.schedule import Job
from unitalking.batch.table import Row

ROWS = [Row(name, "Hello.") for name in ("first", "second", "third")]


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_report_says_what_became_of_each_row(tmp_path: Path) -> None:
    done = Job(ROWS[0], "done", "http://a", 2, ["http://b"], "", 1.5, 7)
    failed = Job(ROWS[2], "failed", "http://b", 3, ["http://b"] * 3, 'bad, "really"')
    path = write_report(tmp_path, ROWS, [failed, done, Job(ROWS[1])])
    assert path == tmp_path / "report.csv"
    assert [tuple(line.values()) for line in lines(path)] == [
        ("first", "done", "http://a", "2", "1.5", "7", "first.mp4", ""),
        ("second", "left", "", "0", "", "", "", ""),
        ("third", "failed", "http://b", "3", "", "", "", 'bad, "really"'),
    ]
    assert not list(tmp_path.glob("*.part"))


def test_rows_made_before_keep_what_their_report_said(tmp_path: Path) -> None:
    write_report(tmp_path, ROWS, [Job(ROWS[0], "done", "http://a", 1), Job(ROWS[1], "failed", "http://a", 3)])
    found = lines(write_report(tmp_path, ROWS, [Job(ROWS[2], "done", "http://b", 1)]))
    assert [(line["status"], line["server"], line["file"]) for line in found] == [
        ("done", "http://a", "first.mp4"),
        ("done", "", "second.mp4"),
        ("done", "http://b", "third.mp4"),
    ]


def test_file_that_is_no_report_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_text("name,status\nfirst,done\n")
    assert [line["server"] for line in lines(write_report(tmp_path, ROWS[:1], []))] == [""]
