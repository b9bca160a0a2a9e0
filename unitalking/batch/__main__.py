"""`python -m unitalking.batch`: make many clips from a table on running ComfyUI servers.

    python -m unitalking.batch table.csv --server http://127.0.0.1:8188 [--server http://other:8188] --out clips

Each clip lies in the folder as NAME.mp4 once it is whole; the same command again makes only what is missing.
`report.csv`, beside the clips, says what became of each row. docs/batch.md describes the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .report import clip_of, write_report
from .run import Batch, BatchError, Setting
from .table import Row, TableError, read_table

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
WORKFLOW = "talking_portrait_voice"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; exits with a message for a wrong one."""
    parser = argparse.ArgumentParser("python -m unitalking.batch", description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="CSV: speech and, if wanted, portrait, voice, seed, name")
    parser.add_argument(
        "--server", type=_url, action="append", required=True, metavar="URL", help="a running ComfyUI; may be repeated"
    )
    parser.add_argument("--out", type=Path, default=Path("output"), metavar="DIR", help="for clips (default: ./output)")
    parser.add_argument(
        "--workflow", type=_workflow, default=WORKFLOW, metavar="FILE|NAME", help=f"default: {WORKFLOW}"
    )
    parser.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help="a value for all clips, such as UniTalkingJointSampler.steps=8; may be repeated",
    )
    parser.add_argument(
        "--retries", type=_count, default=2, metavar="N", help="a row that fails is tried N more times (default: 2)"
    )
    parser.add_argument(
        "--wait", type=_count, default=300, metavar="S", help="end when no server answers for S seconds (default: 300)"
    )
    return parser.parse_args(arguments)


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as http://127.0.0.1:8188")
    return text.rstrip("/")


def _workflow(text: str) -> dict[str, Any]:
    file = WORKFLOWS / f"{text}.json" if re.fullmatch(r"\w+", text) else Path(text)
    try:
        workflow = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(path.stem for path in WORKFLOWS.glob("*.json")))
        raise argparse.ArgumentTypeError(f"{text!r} is neither a file nor one of {names}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(workflow, dict) or "nodes" not in workflow:
        raise argparse.ArgumentTypeError(f"{text!r} has no nodes: expected a workflow as the editor saves it, not API")
    return workflow


def _setting(text: str) -> Setting:
    found = re.fullmatch(r"(\w+)\.([\w.]+)=(.*)", text, re.DOTALL)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NODE.INPUT=VALUE")
    class_type, name, value = found.groups()
    try:
        return class_type, name, json.loads(value)
    except ValueError:
        return class_type, name, value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def say(line: str) -> None:
    """A line about what happens; stdout is for the report's path."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes what is missing; 0 if every clip is there, 1 if not, 2 for a wrong table or option, 130 if interrupted."""
    given = parse(arguments)
    # A shell starts what it runs in the background with interrupts ignored, and asyncio leaves them so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return _make_missing(given, read_table(given.table))
    except TableError as error:
        say(f"Error: {error}")
        return 2
    except OSError as error:
        say(f"Error: {error}")
        return 1


def _make_missing(given: argparse.Namespace, rows: list[Row]) -> int:
    given.out.mkdir(parents=True, exist_ok=True)
    missing = [row for row in rows if not clip_of(row, given.out).exists()]
    say(f"{len(rows)} rows, {len(rows) - len(missing)} of them made before.")
    batch = Batch(
        missing,
        list(dict.fromkeys(given.server)),
        given.out,
        given.workflow,
        settings=given.set,
        retries=given.retries,
        wait_s=given.wait,
        say=say,
    )
    status = _run(batch) if missing else 0
    counts = Counter(job.status for job in batch.schedule.jobs)
    if counts["failed"] or counts["left"]:
        say(f"{counts['done']} made, {counts['failed']} failed, {counts['left']} left. The same command goes on.")
    print(write_report(given.out, rows, batch.schedule.jobs))
    return status or int(counts["failed"] > 0)


def _run(batch: Batch) -> int:
    """Runs the batch to its end, or to where it has to stop; the exit status."""
    try:
        asyncio.run(batch.run())
    except (BatchError, OSError) as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        say("Interrupted; what was queued is cancelled.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
