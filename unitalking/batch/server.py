"""One running ComfyUI, over HTTP.

Three things can go wrong, and each is an exception of its own: the server does not answer (`ServerLostError`), it is
none that can be used (`UnusableServerError`), or it answers that it cannot do what was asked (`PromptError`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from ..client.outcome import PromptError, refusal

# Where files of a batch lie in the server's input folder.
SUBFOLDER = "batch"
TIMEOUT_S, CONNECT_S = 30, 10
# What a proxy answers in place of a server that is not there.
GATEWAY_STATUSES = (502, 503, 504)
READ_BYTES = 1 << 20


class ServerLostError(Exception):
    """The server does not answer (any more)."""


class UnusableServerError(Exception):
    """What answers is no ComfyUI that can run the workflow."""


class Server:
    """A client of one server.

    Args:
        session: of all servers.
        url: the server's address, without a slash at the end.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self.object_info: dict[str, Any] = {}
        self._session = session
        self._uploaded: dict[Path, str] = {}

    async def connect(self) -> None:
        """Learn the server's nodes; nothing that it had before is taken for granted.

        Raises:
            UnusableServerError: it is no ComfyUI, or lets nobody in.
        """
        self._uploaded.clear()
        async with self._answer("GET", "/object_info") as answer:
            if answer.status != 200:
                raise UnusableServerError(f"it answers {answer.status} {answer.reason}")
            try:
                self.object_info = json.loads(await answer.text())
            except ValueError as error:
                raise UnusableServerError("what answers is no ComfyUI") from error

    async def upload(self, path: Path) -> str:
        """Put a file into the input folder, once; its name there, from its content and its own name.

        Raises:
            PromptError: it cannot be read, or the server does not take it.
        """
        if path not in self._uploaded:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise PromptError(f"{path} cannot be read: {error}") from error
            form = aiohttp.FormData({"subfolder": SUBFOLDER, "overwrite": "true"}, quote_fields=False)
            form.add_field("image", content, filename=f"{hashlib.sha256(content).hexdigest()[:12]}_{path.name}")
            stored = await self._json("POST", "/upload/image", data=form)
            self._uploaded[path] = f"{stored['subfolder']}/{stored['name']}"
        return self._uploaded[path]

    async def submit(self, prompt_id: str, prompt: dict[str, Any], workflow: dict[str, Any]) -> None:
        """Queue a prompt under an id of our choice.

        Raises:
            PromptError: it is refused, in full or in part.
        """
        content = {"prompt_id": prompt_id, "prompt": prompt, "extra_data": {"extra_pnginfo": {"workflow": workflow}}}
        async with self._answer("POST", "/prompt", json=content) as response:
            if response.status not in (200, 400):
                raise PromptError(f"/prompt answers {response.status} {response.reason}")
            answer = json.loads(await response.text())
        if answer.get("node_errors") or "prompt_id" not in answer:
            await self.cancel([prompt_id])
            raise refusal(answer)

    async def job(self, prompt_id: str) -> dict[str, Any] | None:
        """What the server knows of a prompt, waiting, running or ended; None if nothing."""
        async with self._answer("GET", f"/api/jobs/{prompt_id}") as answer:
            return None if answer.status == 404 else await _content(answer)

    async def forget(self, prompt_id: str) -> None:
        """Strike an ended prompt from the history, so that its id is free."""
        await self._json("POST", "/history", json={"delete": [prompt_id]})

    async def cancel(self, prompt_ids: Sequence[str]) -> None:
        """Take these prompts out of the queue, and interrupt the one that runs; nobody else's are touched."""
        await self._json("POST", "/api/jobs/cancel", json={"job_ids": list(prompt_ids)})

    async def fetch(self, file: dict[str, str], target: Path) -> None:
        """Get a file that a prompt left; it has the name `target` only once it is whole.

        Raises:
            PromptError: the server does not have it any more.
        """
        half = target.with_name(f"{target.name}.part")
        place = {name: file.get(name, "") for name in ("filename", "subfolder", "type")}
        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=TIMEOUT_S)
        async with self._answer("GET", "/view", params=place, timeout=limits) as answer:
            if answer.status != 200:
                raise PromptError(f"the clip was made, but its file {file['filename']} is not there: {answer.status}")
            with half.open("wb") as out:
                async for part in answer.content.iter_chunked(READ_BYTES):
                    out.write(part)
        os.replace(half, target)

    async def _json(self, method: str, route: str, **content: Any) -> Any:
        async with self._answer(method, route, **content) as answer:
            return await _content(answer)

    @asynccontextmanager
    async def _answer(self, method: str, route: str, **content: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        content.setdefault("timeout", aiohttp.ClientTimeout(total=TIMEOUT_S, connect=CONNECT_S))
        try:
            async with self._session.request(method, self.url + route, **content) as answer:
                if answer.status in GATEWAY_STATUSES:
                    raise ServerLostError(f"{answer.status} {answer.reason}")
                yield answer
        except asyncio.TimeoutError as error:
            raise ServerLostError(f"no answer in {TIMEOUT_S} s") from error
        except json.JSONDecodeError as error:
            raise ServerLostError("what answers is no ComfyUI any more") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise ServerLostError(str(error) or type(error).__name__) from error


async def _content(answer: aiohttp.ClientResponse) -> Any:
    """The JSON of an answer, None if it is empty; a PromptError for a status that says no."""
    text = await answer.text()
    if answer.status >= 400:
        raise PromptError(f"{answer.url.path} answers {answer.status} {answer.reason}: {text[:200]}")
    return json.loads(text) if text else None
