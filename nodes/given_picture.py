"""The given picture of TV2A in the host: it runs once, and what the sound sees of it is kept where there is room."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io

from ..unitalking.config import UniTalkingConfig
from ..unitalking.types import SeenKeys

AUTO, DEVICE, HOST, RECOMPUTE = "auto", "device", "host memory", "recompute"
PLACES = (AUTO, DEVICE, HOST, RECOMPUTE)
# Left to the system and to other programs.
SPARE_HOST_BYTES = 2 << 30

logger = logging.getLogger(__name__)


class KeptPicture(Mapping):
    """Keys and values of every block, kept in one place and handed out on another.

    Args:
        seen: from `UniTalking.see_picture`.
        place: device that keeps them.
        device: where the network runs.
    """

    def __init__(self, seen: Mapping[int, SeenKeys], place: torch.device, device: torch.device) -> None:
        self.device = device
        self.seen = {index: SeenKeys(each.keys.to(place), each.values.to(place)) for index, each in seen.items()}

    def __getitem__(self, index: int) -> SeenKeys:
        each = self.seen[index]
        return SeenKeys(each.keys.to(self.device), each.values.to(self.device))

    def __iter__(self) -> Iterator[int]:
        return iter(self.seen)

    def __len__(self) -> int:
        return len(self.seen)


def seen_bytes(config: UniTalkingConfig, batch: int, tokens: int, element_size: int) -> int:
    """Size of what is kept of a picture of so many tokens."""
    joint = sum(config.is_joint(index) for index in range(config.num_layers))
    return 2 * joint * batch * tokens * config.dim * element_size


def place_for(num_bytes: int, device: torch.device, reserve_bytes: float, wanted: str) -> torch.device | None:
    """Where to keep a given picture; None: nowhere, it runs again at every step.

    Args:
        num_bytes: of it, from `seen_bytes`.
        device: where the network runs.
        reserve_bytes: what a step needs besides.
        wanted: of `PLACES`.
    """
    host = torch.device("cpu")
    places = {DEVICE: device, HOST: host, RECOMPUTE: None}
    if wanted != AUTO:
        return places[wanted]
    free = comfy.model_management.get_free_memory
    if num_bytes < free(device) - reserve_bytes:
        return device
    if device != host and num_bytes < free(host) - SPARE_HOST_BYTES:
        return host
    logger.info(
        "UniTalking: the given picture is %.2f GB, for which there is no room: it runs again at every step.",
        num_bytes / 1e9,
    )
    return None


def keep_picture_input() -> io.Input:
    """The widget of where a given picture is kept, the same in every node that has it."""
    return io.Combo.Input(
        "keep_picture",
        options=list(PLACES),
        default=AUTO,
        tooltip="For Driving Video: the picture is given, so it is computed once, and what the sound needs of it is "
        "kept: on the device where there is room, else in host memory. recompute needs no memory and takes as long as "
        "generating the picture.",
        optional=True,  # graphs saved before it was there have no value
        advanced=True,
    )


def patches_blocks(transformer_options: dict[str, Any]) -> bool:
    """Whether a node patches blocks, and expects to see both streams in them."""
    replaced = transformer_options.get("patches_replace", {}).get("dit")
    return bool(replaced or transformer_options.get("patches", {}).get("double_block"))
