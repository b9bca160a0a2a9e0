"""What a ComfyUI server tells its client about a running prompt: events, and what they come to."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from unitalking.client.outcome import PromptError, failure, files_of

FINAL_EVENTS = ("execution_success", "execution_error", "execution_interrupted")

_PREVIEW, _TEXT, _PREVIEW_WITH_METADATA = 1, 3, 4


class PromptInterrupted(PromptError):
    """The prompt was interrupted while running."""


@dataclass(frozen=True)
class Event:
    """One message of the server: its type ("progress", "executing", "preview", ...) and data.

    A "preview" has the encoded `image`, and in `data` its metadata ("node_id", "image_type"); a "text" has "text".
    """

    kind: str
    data: dict[str, Any]
    image: bytes = b""


@dataclass(frozen=True)
class Result:
    """What a finished prompt left: `outputs` by node id as in /history, all events, and how long it took."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]
    duration_s: float
    events: list[Event] = field(repr=False, default_factory=list)

    def files(self) -> list[dict[str, str]]:
        """The files that nodes reported, each with "filename", "subfolder", "type"; in the order of the nodes' ids."""
        return files_of(self.outputs)

    def of_kind(self, kind: str) -> list[Event]:
        """The events of one type, in order."""
        return [event for event in self.events if event.kind == kind]


async def read_events(messages: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Event]:
    """The server's messages as events, until it closes the connection."""
    async for message in messages:
        if message.type == aiohttp.WSMsgType.TEXT:
            content = json.loads(message.data)
            yield Event(content["type"], content.get("data") or {})
        elif message.type == aiohttp.WSMsgType.BINARY:
            yield _binary_event(message.data)


def _binary_event(message: bytes) -> Event:
    (kind,) = struct.unpack_from(">I", message)
    if kind == _PREVIEW:
        (image_type,) = struct.unpack_from(">I", message, 4)
        return Event("preview", {"image_type": {1: "image/jpeg", 2: "image/png"}[image_type]}, message[8:])
    if kind in (_TEXT, _PREVIEW_WITH_METADATA):
        (length,) = struct.unpack_from(">I", message, 4)
        head, rest = message[8 : 8 + length], message[8 + length :]
        if kind == _TEXT:
            return Event("text", {"node": head.decode(), "text": rest.decode()})
        return Event("preview", json.loads(head), rest)
    return Event(f"binary {kind}", {}, message[4:])


def raise_failure(event: Event) -> None:
    """Raise what a final event that is not a success says."""
    if event.kind == "execution_success":
        return
    if event.kind == "execution_interrupted":
        node = {"node_id": event.data.get("node_id", ""), "node_type": event.data.get("node_type", "")}
        raise PromptInterrupted("interrupted", **node, details=event.data)
    raise failure(event.data)
