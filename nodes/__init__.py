"""The only room that knows ComfyUI: sockets, widgets, files, memory, and messages to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

MINIMUM_HOST = "0.30.0"


async def comfy_entrypoint() -> ComfyExtension:
    """What ComfyUI calls to get our nodes.

    Raises:
        RuntimeError: the host is older than `MINIMUM_HOST`; the host prints the message as one line.
    """
    import comfyui_version

    check_host(comfyui_version.__version__)
    from .extension import UniTalkingExtension

    return UniTalkingExtension()


def check_host(version: str) -> None:
    """Refuses a host that lacks what the nodes need.

    Raises:
        RuntimeError: names both versions.
    """
    if _numbers(version) < _numbers(MINIMUM_HOST):
        raise RuntimeError(
            f"ComfyUI-UniTalking needs ComfyUI {MINIMUM_HOST} or newer and this is {version}: update ComfyUI."
        )


def _numbers(version: str) -> tuple[int, ...]:
    digits = ("".join(filter(str.isdigit, part)) for part in f"{version}.0.0".split(".")[:3])
    return tuple(int(part or 0) for part in digits)
