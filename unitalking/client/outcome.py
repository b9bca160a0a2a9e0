"""How a prompt ended on a ComfyUI server: the files it left, or the error that says what went wrong where."""

from __future__ import annotations

from typing import Any


class PromptError(Exception):
    """A prompt was refused, or a node raised.

    Attributes:
        node_id, node_type: of the first node that failed; empty if the prompt as a whole was refused.
        message: what that node said.
        exception_type: of an exception raised while running, for example "ValueError"; "" for a refused prompt.
        details: the server's answer as it came.
    """

    def __init__(
        self, message: str, *, node_id: str = "", node_type: str = "", exception_type: str = "", details: Any = None
    ) -> None:
        self.node_id, self.node_type, self.message = node_id, node_type, message
        self.exception_type, self.details = exception_type, details
        super().__init__(f"{node_type} (node {node_id}): {message}" if node_id else message)


def refusal(answer: dict[str, Any]) -> PromptError:
    """The error for what /prompt answered to a prompt that it refused, in full or in part: every node and input."""
    found = [
        (node_id, node["class_type"], f"{error['message']}: {error['details']}")
        for node_id, node in (answer.get("node_errors") or {}).items()
        for error in node["errors"]
    ]
    if not found:
        error = answer.get("error", {})
        return PromptError(f"{error.get('message')}: {error.get('details')}", details=answer)
    (node_id, node_type, message), *others = found
    message = "; ".join([message, *(f"{kind} (node {number}): {text}" for number, kind, text in others)])
    return PromptError(message, node_id=node_id, node_type=node_type, details=answer["node_errors"])


def failure(data: dict[str, Any]) -> PromptError:
    """The error for the data of an "execution_error": a node raised."""
    return PromptError(
        data["exception_message"].strip(),
        node_id=data.get("node_id", ""),
        node_type=data.get("node_type", ""),
        exception_type=data["exception_type"],
        details=data,
    )


def files_of(outputs: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """The files that nodes reported, each with "filename", "subfolder", "type".

    Args:
        outputs: by node id, as in /history.
    """
    lists = (value for node in outputs.values() for value in node.values() if isinstance(value, list))
    return [item for items in lists for item in items if isinstance(item, dict) and "filename" in item]


def saved_clip(outputs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The last MP4 of the output folder that nodes reported.

    Raises:
        PromptError: there is none.
    """
    clips = [item for item in files_of(outputs) if item["type"] == "output" and item["filename"].endswith(".mp4")]
    if not clips:
        raise PromptError("the workflow ran, but saved no MP4")
    return clips[-1]
