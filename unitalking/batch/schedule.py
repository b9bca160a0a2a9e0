"""Which server makes which row: pure bookkeeping, without a clock and without a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .table import Row

# Rows that a server has at once: one that runs, and one so that it never waits.
AHEAD = 2


@dataclass(eq=False)
class Job:
    """What becomes of a row.

    Attributes:
        row: what is asked for.
        status: "left" (not made yet), "done" or "failed".
        server: the address of the server that has it, made it, or failed last.
        tries: how often it was given to a server.
        failed_on: the servers on which it failed, once for each time.
        error: what was said the last time.
        seconds: how long the server worked on it.
        seed: of the noise.
    """

    row: Row
    status: str = "left"
    server: str = ""
    tries: int = 0
    failed_on: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float | None = None
    seed: int | None = None


class Schedule:
    """Rows waiting, held by servers, and settled.

    Args:
        rows: to be made.
        retries: how often a row is tried again after it failed.
    """

    def __init__(self, rows: Iterable[Row], retries: int) -> None:
        self.jobs = [Job(row) for row in rows]
        self.retries = retries
        self.live: set[str] = set()
        self._waiting = deque(self.jobs)
        self._held: dict[str, list[Job]] = {}

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do."""
        return any(job.status == "left" for job in self.jobs)

    def is_waiting(self, job: Job) -> bool:
        """Whether no server has it, and one will."""
        return job in self._waiting

    def held_by(self, server: str) -> list[Job]:
        """The jobs of a server, the oldest first."""
        return list(self._held.get(server, ()))

    def take(self, server: str) -> Job | None:
        """The next job for a live server; None if it has enough, or nothing is there for it.

        A job goes back to a server on which it failed only if it has failed on all that are live.
        """
        if len(self.held_by(server)) >= AHEAD:
            return None
        for job in self._waiting:
            if server not in job.failed_on or self.live <= set(job.failed_on):
                self._waiting.remove(job)
                self._held.setdefault(server, []).append(job)
                job.server, job.tries = server, job.tries + 1
                return job
        return None

    def finish(self, job: Job) -> None:
        """The job's file is there."""
        self._held[job.server].remove(job)
        job.status, job.error = "done", ""

    def fail(self, job: Job, message: str) -> None:
        """The job failed on its server: it waits for another try, or has had all of them."""
        self._held[job.server].remove(job)
        job.failed_on.append(job.server)
        job.error = message
        if len(job.failed_on) > self.retries:
            job.status = "failed"
        else:
            self._waiting.append(job)

    def lose(self, server: str, message: str) -> list[Job]:
        """A server does not answer any more: its jobs, which wait again, before all others.

        The oldest of them, which ran, may be what ended the server: it counts as failed.
        """
        self.live.discard(server)
        lost = self.held_by(server)
        if lost:
            self.fail(lost[0], message)
        self._held[server] = []
        self._waiting.extendleft(reversed(lost[1:]))
        return lost
