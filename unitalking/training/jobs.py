"""Commands that need one another, several at a time, each with a log of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .settings import TrainingError

POLL_S = 0.2
REPORT_S = 60.0
TAIL_LINES = 15


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: also of its log.
        command: program and arguments.
        needs: names of jobs that have to be done before.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    started: float


def run_jobs(
    jobs: Sequence[Job],
    logs: Path,
    at_once: int,
    say: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs every job once what it needs is done; in the given order where there is a choice.

    Args:
        jobs: each after those that it needs.
        logs: folder, one NAME.log for each.
        at_once: how many may run beside each other.
        say: told what begins, ends and how far it is.
        environment: variables for all of them.

    Raises:
        TrainingError: a job failed, with the end of its log; the others are stopped.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running, done = list(jobs), [], set[str]()
    reported = time.monotonic()
    try:
        while waiting or running:
            ready = [job for job in waiting if done.issuperset(job.needs)]
            for job in ready[: at_once - len(running)]:
                waiting.remove(job)
                running.append(_start(job, logs, environment))
                say(f"{job.name}: started")
            time.sleep(POLL_S)
            for each in [each for each in running if each.process.poll() is not None]:
                running.remove(each)
                _finish(each)
                done.add(each.job.name)
                say(f"{each.job.name}: done after {_minutes(each.started)}")
            if time.monotonic() - reported > REPORT_S:
                reported = time.monotonic()
                for each in running:
                    say(f"{each.job.name}, {_minutes(each.started)}: {_tail(each.log.name, 1)}")
    finally:
        for each in running:
            each.process.terminate()
        for each in running:
            each.process.wait()
            each.log.close()


def _start(job: Job, logs: Path, environment: Mapping[str, str] | None) -> _Running:
    log = (logs / f"{job.name}.log").open("wb")
    process = subprocess.Popen(
        job.command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
    )
    return _Running(job, process, log, time.monotonic())


def _finish(each: _Running) -> None:
    each.log.close()
    if each.process.returncode:
        raise TrainingError(
            f"{each.job.name} failed with status {each.process.returncode}. The end of {each.log.name}:\n"
            f"{_tail(each.log.name, TAIL_LINES)}\nThe same command goes on from here."
        )


def _tail(path: str, lines: int) -> str:
    return "\n".join(Path(path).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _minutes(started: float) -> str:
    return f"{(time.monotonic() - started) / 60:.1f} min"
