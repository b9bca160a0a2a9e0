"""A headless ComfyUI and its client, over HTTP as every client speaks to it: for the demo, the tests, the benchmarks.

    with ComfyUI(folder_of_comfyui, base_directory) as server:
        result = server.queue(prompt)
        path = server.output_path(result.files()[0])

Runs in the environment's Python (aiohttp comes with ComfyUI). Calls block; none needs an event loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import environment
from by_place import import_package

PACK = Path(__file__).resolve().parent.parent
import_package("unitalking", PACK / "unitalking")

from comfyui_events import FINAL_EVENTS, Event, Result, raise_failure, read_events  # noqa: E402 (needs the package)

from unitalking.client.outcome import refusal  # noqa: E402

PACK_NAME = "ComfyUI-UniTalking"
MODEL_FOLDERS = ("checkpoints", "diffusion_models", "loras", "text_encoders", "vae")


class ServerError(Exception):
    """The server could not be started, ended, or did not answer; the message carries the end of its log."""


class ComfyUI:
    """A ComfyUI server as a subprocess, with this checkout as its only custom node.

    Args:
        path: the folder of ComfyUI.
        base_directory: made if missing: models, input, output, temp, user and custom_nodes lie in it.
        extra_args: further command line arguments; without "--cpu" a machine without accelerator cannot start.
        start_timeout_s: longest wait for the server to answer.
    """

    def __init__(
        self, path: Path, base_directory: Path, *, extra_args: Sequence[str] = ("--cpu",), start_timeout_s: float = 300
    ) -> None:
        self.path, self.base_directory = Path(path), Path(base_directory).absolute()
        self.extra_args, self.start_timeout_s = tuple(extra_args), start_timeout_s
        self.log = self.base_directory / "comfyui.log"
        self._make_base_directory()
        self.log.touch()
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ComfyUI:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Address of the server, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServerError: it ended, did not answer in time, or could not load the pack.
        """
        self.port = _free_port()
        command = [sys.executable, str(self.path / "main.py"), "--port", str(self.port)]
        command += ["--base-directory", str(self.base_directory), "--database-url", "sqlite:///:memory:"]
        command += ["--disable-auto-launch", "--disable-api-nodes", "--preview-method", "latent2rgb"]
        command += ["--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK_NAME, *self.extra_args]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.path,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server; nothing happens if it is not running."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the server's log, without colours."""
        with self.log.open(encoding="utf-8", errors="replace") as log:
            return re.sub(r"\x1b\[[0-9;]*m", "", "".join(deque(log, lines)))

    def get(self, route: str) -> Any:
        """The JSON that GET `route` ("/system_stats") answers."""
        return self._request(urllib.request.Request(self.url + route))

    def post(self, route: str, data: Any) -> Any:
        """POST `data` as JSON; the JSON answer, None if there is none.

        Raises:
            urllib.error.HTTPError: the server refused.
        """
        body = json.dumps(data).encode()
        return self._request(urllib.request.Request(self.url + route, body, {"Content-Type": "application/json"}))

    def object_info(self) -> dict[str, Any]:
        """Every node type with its inputs, as the editor gets it."""
        return self.get("/object_info")

    def interrupt(self) -> None:
        """Cancel the running prompt."""
        self.post("/interrupt", {})

    def free(self) -> None:
        """Unload all models and drop cached results before the next prompt."""
        self.post("/free", {"unload_models": True, "free_memory": True})

    def upload(self, path: Path, name: str = "") -> str:
        """Put a file into the input folder, as the editor's upload button does; its name there."""
        boundary = uuid.uuid4().hex
        name = (name or Path(path).name).replace('"', "")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        body = head.encode() + Path(path).read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._request(urllib.request.Request(f"{self.url}/upload/image", body, headers))["name"]

    def output_path(self, item: dict[str, str]) -> Path:
        """Where a file of `Result.files()` lies."""
        return self.base_directory / item["type"] / item.get("subfolder", "") / item["filename"]

    def queue(
        self,
        prompt: dict[str, Any],
        workflow: dict[str, Any] | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
        timeout_s: float = 600,
    ) -> Result:
        """Run a prompt to its end.

        Args:
            prompt: in the API format.
            workflow: the same in the editor's format, to be stored in what is saved.
            on_event: called with every event as it comes; may call `interrupt`.
            timeout_s: longest run.

        Raises:
            PromptError: refused, in full or in part, or a node raised.
            PromptInterrupted: it was interrupted while running.
            ServerError: the server ended.
            TimeoutError: it ran longer than `timeout_s`; it is interrupted.
        """
        try:
            return asyncio.run(asyncio.wait_for(self._queue(prompt, workflow, on_event), timeout_s))
        except asyncio.TimeoutError as error:
            self.interrupt()
            raise TimeoutError(f"The prompt ran longer than {timeout_s} s.\n{self.log_tail()}") from error
        except (aiohttp.ClientError, ConnectionError, urllib.error.URLError) as error:
            raise ServerError(f"ComfyUI does not answer any more ({error}).\n{self.log_tail()}") from error

    async def _queue(
        self, prompt: dict[str, Any], workflow: dict[str, Any] | None, on_event: Callable[[Event], None] | None
    ) -> Result:
        client_id, events, start = uuid.uuid4().hex, [], time.monotonic()
        address = f"{self.url}/ws?clientId={client_id}"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as messages:
            await messages.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            async for event in read_events(messages):
                if event.kind == "feature_flags":
                    break
            prompt_id = self._submit(prompt, workflow, client_id)
            async for event in read_events(messages):
                if event.data.get("prompt_id", prompt_id) != prompt_id:
                    continue
                events.append(event)
                if on_event:
                    on_event(event)
                if event.kind in FINAL_EVENTS:
                    raise_failure(event)
                    outputs = await self._outputs(prompt_id)
                    return Result(prompt_id, outputs, time.monotonic() - start, events)
        raise ConnectionError("the connection was closed")

    def _submit(self, prompt: dict[str, Any], workflow: dict[str, Any] | None, client_id: str) -> str:
        request: dict[str, Any] = {"prompt": prompt, "client_id": client_id}
        if workflow is not None:
            request["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        try:
            answer = self.post("/prompt", request)
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read())
        if answer.get("node_errors") and "prompt_id" in answer:
            # The outputs that are valid run all the same.
            self.post("/queue", {"delete": [answer["prompt_id"]]})
            self.post("/interrupt", {"prompt_id": answer["prompt_id"]})
        if answer.get("node_errors") or "prompt_id" not in answer:
            raise refusal(answer)
        return answer["prompt_id"]

    async def _outputs(self, prompt_id: str) -> dict[str, dict[str, Any]]:
        """The prompt's outputs; the server writes its history just after it has said that all is done."""
        while not (history := self.get(f"/history/{prompt_id}")):
            await asyncio.sleep(0.01)
        return history[prompt_id]["outputs"]

    def _request(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=60) as response:
            body = response.read()
        return json.loads(body) if body else None

    def _make_base_directory(self) -> None:
        folders = [f"models/{name}" for name in MODEL_FOLDERS] + ["input", "output", "temp", "user", "custom_nodes"]
        for name in folders:
            (self.base_directory / name).mkdir(parents=True, exist_ok=True)
        link = self.base_directory / "custom_nodes" / PACK_NAME
        if link.exists():
            return
        if os.name == "nt":
            # Making a symbolic link takes rights that an ordinary user lacks; a junction does not.
            subprocess.run(["cmd", "/c", "mklink", "/J", str(link), str(PACK)], check=True, capture_output=True)
        else:
            link.symlink_to(PACK, target_is_directory=True)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        while True:
            if self.process.poll() is not None:
                raise ServerError(f"ComfyUI ended with status {self.process.returncode}.\n{self.log_tail()}")
            try:
                self.get("/system_stats")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise ServerError(f"No answer after {self.start_timeout_s:.0f} s.\n{self.log_tail()}") from None
                time.sleep(0.1)
        if f"(IMPORT FAILED): {self.base_directory / 'custom_nodes' / PACK_NAME}" in self.log_tail(500):
            raise ServerError(f"ComfyUI could not load the pack.\n{self.log_tail()}")


@contextmanager
def temporary_server(**options: Any) -> Iterator[ComfyUI]:
    """A server of the environment's ComfyUI with folders of its own, all gone afterwards.

    Args:
        options: of `ComfyUI`.

    Raises:
        SetupError: there is no ComfyUI and none could be fetched.
        ServerError: it could not be started.
    """
    folder = tempfile.TemporaryDirectory(prefix="unitalking-")
    with folder as base, ComfyUI(environment.comfyui(), Path(base), **options) as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
