"""What nodes say to people: text on the node while it runs, and refusals of sockets that are not ours."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from server import PromptServer

from ..unitalking.config import UniTalkingConfig

logger = logging.getLogger(__name__)


def say(node: type[io.ComfyNode], text: str) -> None:
    """Shows a text on the running node and writes it to the log."""
    logger.info("UniTalking: %s", text)
    server = getattr(PromptServer, "instance", None)
    if server is not None and node.hidden is not None and node.hidden.unique_id is not None:
        server.send_progress_text(text, node.hidden.unique_id)


def config_of(model: Any, node: str) -> UniTalkingConfig:
    """The config of a UniTalking MODEL.

    Raises:
        ValueError: another model is wired, in one sentence.
    """
    config = getattr(getattr(model, "model", None), "unitalking", None)
    if not isinstance(config, UniTalkingConfig):
        kind = type(getattr(model, "model", model)).__name__
        raise ValueError(f"{node}: the MODEL is not a UniTalking model ({kind}): wire one from Load UniTalking Model.")
    return config
