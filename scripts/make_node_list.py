"""Writes node_list.json, by which ComfyUI-Manager knows whose node a workflow lacks: {node id: what it does}.

Its scanner reads source code and looks for V1 mappings, which this pack has none of. Usage: python
scripts/make_node_list.py (in the environment that scripts/environment.py builds).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from comfyui import PACK_NAME, temporary_server

FILE = Path(__file__).resolve().parent.parent / "node_list.json"


def node_list(object_info: dict[str, Any]) -> dict[str, str]:
    """The pack's nodes and their descriptions, in the order of their ids."""
    module = f"custom_nodes.{PACK_NAME}"
    ours = {name: info["description"] for name, info in object_info.items() if info["python_module"] == module}
    return dict(sorted(ours.items()))


def main() -> int:
    """Write the file from what a running ComfyUI answers."""
    with temporary_server() as server:
        nodes = node_list(server.object_info())
    FILE.write_text(json.dumps(nodes, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{FILE}: {len(nodes)} nodes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
