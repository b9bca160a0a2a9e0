"""What nodes say to people: text on the node while it runs, and refusals of sockets that are not ours."""

from __future__ import annotations

import html
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
        server.send_progress_text(as_html(text), node.hidden.unique_id)


def as_html(text: str) -> str:
    """Text for the editor, which renders it as HTML: without this a prompt's <S> is taken for a tag."""
    return html.escape(text, quote=False)


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


def speaking_config_of(model: Any, node: str) -> UniTalkingConfig:
    """The config of a UniTalking MODEL with a sound stream.

    Raises:
        ValueError: another model, or one without sound.
    """
    config = config_of(model, node)
    if not config.audio_channels:
        raise ValueError(f"{node}: this model has no sound stream: load one that speaks.")
    return config
