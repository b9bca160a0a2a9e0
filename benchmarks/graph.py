"""An API prompt that is built node by node. Import it once the pack is importable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unitalking.client.workflow import input_specs


class Graph:
    """An API prompt that grows; inputs that are not given take their defaults.

    Args:
        object_info: what the server answers on /object_info.
    """

    def __init__(self, object_info: dict[str, Any]) -> None:
        self.object_info, self.prompt = object_info, {}

    def add(self, class_type: str, **given: Any) -> list[list[Any]]:
        """Links to the outputs of a new node."""
        specs = dict(input_specs(self.object_info[class_type]["input"]))
        inputs = {name: default for name, spec in specs.items() if (default := _default(spec)) is not None}
        number = str(len(self.prompt) + 1)
        self.prompt[number] = {"class_type": class_type, "inputs": {**inputs, **given}}
        return [[number, slot] for slot in range(len(self.object_info[class_type]["output"]))]


def _default(spec: Sequence[Any]) -> Any:
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    choices = kind if isinstance(kind, list) else options.get("options")
    return options.get("default", choices[0] if choices else None)
