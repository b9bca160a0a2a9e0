"""node_list.json, which ComfyUI-Manager reads because its scanner cannot see the nodes of an entry point."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import make_node_list

if TYPE_CHECKING:
    from comfyui import ComfyUI

FILE = Path(__file__).resolve().parents[2] / "node_list.json"
AGAIN = "run scripts/make_node_list.py"


def test_the_node_list_is_what_the_entry_point_gives(pack: Callable[[str], ModuleType]) -> None:
    async def entry_point() -> dict[str, str]:
        extension = await pack("nodes").comfy_entrypoint()
        await extension.on_load()
        schemas = [node.GET_SCHEMA() for node in await extension.get_node_list()]
        return {schema.node_id: schema.description for schema in schemas}

    assert json.loads(FILE.read_text(encoding="utf-8")) == asyncio.run(entry_point()), AGAIN


def test_the_script_takes_the_packs_own_nodes_of_a_running_comfyui(host: ComfyUI) -> None:
    everything = host.object_info()
    ours = make_node_list.node_list(everything)
    assert len(everything) > len(ours) > 20
    assert list(ours) == sorted(ours)
    assert json.loads(FILE.read_text(encoding="utf-8")) == ours, AGAIN
