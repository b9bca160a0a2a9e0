"""Rows over servers: each server is given a few rows, watched, and its clips are fetched, until no row is left.

A row is made at least once: a server that stops answering loses its rows to the others, and may have made them all the
same. Its clip is there once, under the row's name. A prompt's id is a digest of its content, so that a clip that an
earlier run had queued, and did not fetch, is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from ..client.given import PORTRAIT, VOICE, give_prefix, give_seed, give_speech, seed_of
from ..client.outcome import PromptError, failure, saved_clip
from ..client.workflow import WorkflowError, to_prompt
from ..client.workflow_edit import set_widget
from .report import clip_of
from .schedule import Job, Schedule
from .server import Server, ServerLostError, UnusableServerError
from .table import Row

# Between two looks at a server's rows; between two attempts to reach one that does not answer; to cancel at the end.
LOOK_S, RETRY_S, STOP_S = 0.5, 5, 10
OURS = uuid.UUID("6f2a3c1e-53a5-4c58-9a0e-1d0f7d2b8c44")

# Class of node, input, value.
Setting = tuple[str, str, Any]


class BatchError(Exception):
    """No server can go on; the message says why."""


class Batch:
    """The clips of one table.

    Args:
        rows: those whose clips are not there.
        urls: addresses of the servers.
        out: an existing folder for the clips.
        workflow: in the editor's format.
        settings: values to set in it.
        retries: how often a row is tried again after it failed.
        wait_s: how long to wait when no server answers any more.
        say: told one line about everything that happens.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        urls: Sequence[str],
        out: Path,
        workflow: dict[str, Any],
        *,
        settings: Sequence[Setting] = (),
        retries: int = 2,
        wait_s: float = 300,
        say: Callable[[str], None],
    ) -> None:
        self.schedule = Schedule(rows, retries)
        self._urls, self._out, self._workflow, self._settings = urls, out, workflow, settings
        self._wait_s, self._say = wait_s, say
        self._servers: list[Server] = []
        self._workers: list[asyncio.Task[None]] = []
        # By server, the ids of the prompts that it was given, until it is known that they are over there.
        self._given: dict[str, dict[Job, str]] = {url: {} for url in urls}
        # How often the file that a server had made was gone from it.
        self._gone: Counter[Job] = Counter()
        self._heard = 0.0

    async def run(self) -> None:
        """Make what is left, and cancel what was queued when interrupted.

        Raises:
            BatchError: no server can be used, or none has answered for a long time.
        """
        async with aiohttp.ClientSession() as session:
            self._servers = [Server(session, url) for url in self._urls]
            usable = await self._first_connections()
            try:
                self._workers = [asyncio.create_task(self._serve(server)) for server in usable]
                await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                await self._stop()
        for worker in self._workers:
            if not worker.cancelled():
                worker.result()
        if self.schedule.is_open:
            raise BatchError("No server is left that can run this.")

    async def _first_connections(self) -> list[Server]:
        """Connect all; those that may be used now or later."""
        found = await asyncio.gather(*(self._connect(server) for server in self._servers), return_exceptions=True)
        problems = {server: error for server, error in zip(self._servers, found, strict=True) if error is not None}
        for error in problems.values():
            if not isinstance(error, (ServerLostError, UnusableServerError)):
                raise error
        if len(problems) == len(self._servers):
            told = [f"{server.url} {_about(error)}" for server, error in problems.items()]
            raise BatchError("\n  ".join(["No server can be used, nothing is queued:", *told]))
        for server, error in problems.items():
            self._say(f"{server.url} {_about(error)}")
        return [server for server in self._servers if not isinstance(problems.get(server), UnusableServerError)]

    async def _serve(self, server: Server) -> None:
        """Give one server rows for as long as there are any."""
        while True:
            try:
                if server.url not in self.schedule.live:
                    await self._connect(server)
                    self._say(f"{server.url} answers.")
                await self._feed(server)
            except UnusableServerError as error:
                self._say(f"{server.url} {_about(error)}")
                return
            except ServerLostError as error:
                self._lose(server, error)
                await asyncio.sleep(RETRY_S)

    async def _connect(self, server: Server) -> None:
        """Check that the server runs what is asked for, and cancel there what others have taken over meanwhile."""
        await server.connect()
        given = self._given[server.url]
        try:
            for job in {_kind(job.row): job for job in self.schedule.jobs}.values():
                self._prompt(job, server, {path: path.name for path in _files(job.row)})
            await server.cancel([prompt_id for job, prompt_id in given.items() if not self.schedule.is_waiting(job)])
        except WorkflowError as error:
            raise UnusableServerError(f"{job.row.name}: {error}") from error
        except PromptError as error:
            raise UnusableServerError(f"{error}; expected ComfyUI 0.30.0 or newer") from error
        given.clear()
        self.schedule.live.add(server.url)

    async def _feed(self, server: Server) -> None:
        while True:
            while (job := self.schedule.take(server.url)) is not None:
                await self._try(job, self._submit(server, job))
            for job in self.schedule.held_by(server.url):
                await self._try(job, self._look(server, job))
            self._heard = time.monotonic()
            await asyncio.sleep(LOOK_S)

    async def _try(self, job: Job, step: Awaitable[None]) -> None:
        try:
            await step
        except PromptError as error:
            self._given[job.server].pop(job, None)
            self.schedule.fail(job, " ".join(str(error).split()))
            self._say_failure(job)

    async def _submit(self, server: Server, job: Job) -> None:
        workflow, prompt = self._prompt(job, server, {path: await server.upload(path) for path in _files(job.row)})
        prompt_id = str(uuid.uuid5(OURS, json.dumps(prompt, sort_keys=True)))
        job.seed, self._given[server.url][job] = seed_of(prompt), prompt_id
        known = await server.job(prompt_id)
        if known is not None and known["status"] in ("failed", "cancelled"):
            await server.forget(prompt_id)
            known = None
        if known is None:
            await server.submit(prompt_id, prompt, workflow)

    async def _look(self, server: Server, job: Job) -> None:
        """Fetch the job's clip if it is made; a PromptError if it will not be."""
        known = await server.job(self._given[server.url][job])
        if known is None:
            raise PromptError("the server does not know it any more: it was restarted, or its history was cleared")
        if known["status"] == "failed":
            raise failure(known["execution_error"])
        if known["status"] == "cancelled":
            raise PromptError("it was cancelled on the server")
        if known["status"] != "completed":
            return
        try:
            await server.fetch(saved_clip(known["outputs"]), clip_of(job.row, self._out))
        except PromptError:
            self._gone[job] += 1
            raise
        del self._given[server.url][job]
        job.seconds = (known["execution_end_time"] - known["execution_start_time"]) / 1000
        self.schedule.finish(job)
        self._say_settled(job, f"{job.server}  {job.seconds:.1f} s")

    def _prompt(self, job: Job, server: Server, names: dict[Path, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The row's workflow and prompt; `names` are those of its files in the input folder."""
        workflow, row, known = copy.deepcopy(self._workflow), job.row, server.object_info
        for class_type, name, value in self._settings:
            set_widget(workflow, class_type, name, value, known)
        give_speech(workflow, row.speech, known)
        if row.seed is not None:
            give_seed(workflow, row.seed, known)
        for place, media in ((PORTRAIT, row.portrait), (VOICE, row.voice)):
            if isinstance(media, Path):
                place.give_file(workflow, names[media], known)
            elif media is not None:
                place.give_sample(workflow, media, known)
        # A file that is gone from the server is not written again for the same prompt, whose result is kept there.
        again = f"_{self._gone[job]}" if self._gone[job] else ""
        give_prefix(workflow, f"video/{row.name}{again}", known)
        return workflow, to_prompt(workflow, known)

    def _lose(self, server: Server, error: ServerLostError) -> None:
        if server.url in self.schedule.live:
            lost = self.schedule.lose(server.url, f"{server.url} {_about(error)}")
            self._say(f"{server.url} {_about(error)}; rows that it loses: {len(lost)}; it is tried again later")
            for job in lost[:1]:
                self._say_failure(job)
        if not self.schedule.live and time.monotonic() - self._heard > self._wait_s:
            raise BatchError(f"No server has answered for {self._wait_s:.0f} s; {server.url} {_about(error)}.")

    def _say_failure(self, job: Job) -> None:
        count = len(job.failed_on)
        if job.status == "failed":
            self._say_settled(job, f"FAILED {count} times: {job.error}")
        else:
            self._say(f"{job.row.name}  failed {count} of {self.schedule.retries + 1} times: {job.error}")

    def _say_settled(self, job: Job, how: str) -> None:
        settled = sum(job.status != "left" for job in self.schedule.jobs)
        self._say(f"[{settled}/{len(self.schedule.jobs)}] {job.row.name}  {how}")
        if not self.schedule.is_open:
            for worker in self._workers:
                worker.cancel()

    async def _stop(self) -> None:
        """End the workers, and cancel whatever servers still have of ours."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        ends = [server.cancel(list(given.values())) for server in self._servers if (given := self._given[server.url])]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*ends, return_exceptions=True), STOP_S)


def _files(row: Row) -> list[Path]:
    return [media for media in (row.portrait, row.voice) if isinstance(media, Path)]


def _kind(row: Row) -> tuple[type, type, type]:
    """Rows of one kind need the same nodes and inputs."""
    return type(row.portrait), type(row.voice), type(row.seed)


def _about(error: Exception) -> str:
    """What an error says of a server."""
    return f"{'cannot be used' if isinstance(error, UnusableServerError) else 'does not answer'} ({error})"
