"""Workflows as the editor saves them, turned into prompts as the server runs them.

The editor's format has nodes with positions, links by number and widget values by place; the API format has, by node
id, a class and its inputs by name, a link being [node id, output slot]. Which value belongs to which input is only
known with the server's `/object_info`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

COMMENTS = ("Note", "MarkdownNote")
_MUTED, _BYPASSED = 2, 4
_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR")
_DYNAMIC_COMBO, _AUTOGROW = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3"
_AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize")

Link = tuple[str, int]


class WorkflowError(ValueError):
    """A workflow that this server cannot run; the message names the node."""


def to_prompt(workflow: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """The prompt (API format) that the editor would queue for `workflow` (editor's format).

    Muted nodes are left out, bypassed ones passed by, reroutes and primitives resolved, comments ignored.

    Args:
        workflow: the content of a saved workflow file.
        object_info: what the server answers on /object_info.

    Raises:
        WorkflowError: a node type or an input that the server does not have, widget values that do not fit the
            node's widgets, or a subgraph (unpack it in the editor).
    """
    if "nodes" not in workflow:
        raise WorkflowError("Not a workflow in the editor's format: it has no list of nodes.")
    graph = _Graph(workflow)
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in (*COMMENTS, "Reroute", "PrimitiveNode") or node.get("mode") in (_MUTED, _BYPASSED):
            continue
        if node["type"] in graph.subgraphs:
            raise WorkflowError(
                f"{node_name(node)} is a subgraph: unpack it in the editor, subgraphs cannot be run here."
            )
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": _inputs(node, graph, object_info)}
    return prompt


def set_input(
    prompt: dict[str, Any], class_type: str, name: str, value: Any, object_info: dict[str, Any] | None = None
) -> None:
    """Set an input of every node of one class.

    Args:
        prompt: API format, changed in place.
        class_type: the nodes' class.
        name: the input; with `object_info`, one that the class must have. The server ignores unknown ones silently.
        value: a value, or a link [node id, output slot].
        object_info: what the server answers on /object_info.

    Raises:
        WorkflowError: there is no such node, or the class has no such input.
    """
    nodes = [node for node in prompt.values() if node["class_type"] == class_type]
    if not nodes:
        raise WorkflowError(f"The workflow has no {class_type} node, so its {name!r} cannot be set.")
    if object_info is not None and name not in dict(input_specs(object_info[class_type]["input"])):
        raise WorkflowError(f"{class_type} has no input {name!r}.")
    for node in nodes:
        node["inputs"][name] = value


class _Graph:
    """The links of a workflow, followed through nodes that exist in the editor only."""

    def __init__(self, workflow: dict[str, Any]) -> None:
        self.nodes = {node["id"]: node for node in workflow["nodes"]}
        self.subgraphs = {graph["id"] for graph in workflow.get("definitions", {}).get("subgraphs", [])}
        self.origins = {}
        for link in workflow.get("links", []):
            keys = ("id", "origin_id", "origin_slot") if isinstance(link, dict) else range(3)
            number, origin, slot = (link[key] for key in keys)
            self.origins[number] = (origin, slot)

    def source(self, number: int | None) -> tuple[Link | None, Any]:
        """Where link `number` comes from: (link, None), or (None, value) of a primitive, or (None, None) if nowhere."""
        if number is None:
            return None, None
        if number not in self.origins:
            raise WorkflowError(f"Link {number} is used by a node but is not in the workflow's list of links.")
        origin, slot = self.origins[number]
        node = self.nodes.get(origin)
        if node is None:
            raise WorkflowError(f"Link {number} comes from node {origin}, which is not in the workflow.")
        if node.get("mode") == _MUTED:
            return None, None
        if node["type"] == "PrimitiveNode":
            return None, node["widgets_values"][0]
        if node["type"] == "Reroute":
            return self.source(node["inputs"][0].get("link"))
        if node.get("mode") == _BYPASSED:
            return self.source(_bypass(node, slot))
        return (str(origin), slot), None


def _bypass(node: dict[str, Any], slot: int) -> int | None:
    """The link into a bypassed node that takes the place of its output `slot`: of its type, at best at its place."""
    wanted, inputs = node["outputs"][slot]["type"], node.get("inputs", [])
    at_its_place = inputs[slot : slot + 1]
    return next((entry.get("link") for entry in [*at_its_place, *inputs] if entry["type"] == wanted), None)


def _inputs(node: dict[str, Any], graph: _Graph, object_info: dict[str, Any]) -> dict[str, Any]:
    spec = type_of(node, object_info)["input"]
    inputs = _widget_inputs(node, spec)
    known = dict(input_specs(spec))
    for entry in node.get("inputs", []):
        link, value = graph.source(entry.get("link"))
        if link is None and value is None:
            continue
        name = entry["name"]
        parent = known.get(name.split(".")[0], ("",))[0]
        if name not in known and parent not in (_DYNAMIC_COMBO, _AUTOGROW):
            raise WorkflowError(f"{node_name(node)} has no input {name!r}; it has {', '.join(known)}.")
        inputs[name] = list(link) if link else value
    return inputs


def _widget_inputs(node: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """The node's inputs that have widgets, with the widgets' values."""
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        return {name: _wrapped(value) for name, value in values.items() if name in dict(input_specs(spec))}
    left = deque(enumerate(values))
    inputs = {name: _wrapped(value) for name, value, _ in widget_values(spec, left, node)}
    # Upload buttons and texts that a node shows are saved behind the values; they are never numbers.
    if any(isinstance(value, int | float) and value for _, value in left):
        raise WorkflowError(
            f"{node_name(node)} has {len(values)} widget values, and its inputs take {len(values) - len(left)}: "
            f"{[value for _, value in left]} left over. Was it saved with another version of the node?"
        )
    return inputs


def widget_values(
    spec: dict[str, Any], values: deque[tuple[int, Any]], node: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, int | None]]:
    """Name, value and place of each widget in the order of the inputs; the default, without a place, when none is left.

    Takes from the left of `values`, pairs of place and value.
    """
    for name, (kind, options) in input_specs(spec):
        if not _has_widget(kind, options):
            continue
        if not values and "default" not in options:
            continue
        place, value = values.popleft() if values else (None, options["default"])
        yield prefix + name, value, place
        if kind == _DYNAMIC_COMBO:
            chosen = [option for option in options["options"] if option["key"] == value]
            if not chosen:
                raise WorkflowError(f"{node_name(node)}: {value!r} is not a choice of {prefix + name!r}.")
            yield from widget_values(chosen[0]["inputs"], values, node, f"{prefix}{name}.")
        # The editor keeps what it does with a seed after each run as one more value, that the server never sees.
        seed = options.get("control_after_generate") or name in ("seed", "noise_seed")
        if seed and values and values[0][1] in _AFTER_GENERATE:
            values.popleft()


def type_of(node: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """What the server says of the node's class; a WorkflowError if it does not know it."""
    if node["type"] not in object_info:
        raise WorkflowError(f"{node_name(node)}: this ComfyUI has no such node type. Is its pack installed?")
    return object_info[node["type"]]


def input_specs(spec: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, dict[str, Any]]]]:
    """Name, type and options of every input, in the editor's order."""
    for category in ("required", "optional"):
        for name, entry in spec.get(category, {}).items():
            kind, *options = entry
            yield name, ("COMBO" if isinstance(kind, list) else kind, options[0] if options else {})


def _has_widget(kind: str, options: dict[str, Any]) -> bool:
    if options.get("forceInput"):
        return False
    return kind in _WIDGETS or kind == _DYNAMIC_COMBO or bool(options.get("widgetType") or options.get("socketless"))


def _wrapped(value: Any) -> Any:
    """A list in the API format is a link, so a list that is a value is wrapped."""
    return {"__value__": value} if isinstance(value, list) else value


def node_name(node: dict[str, Any]) -> str:
    title = node.get("title")
    return f"{node['type']} (node {node['id']}{f', {title!r}' if title and title != node['type'] else ''})"
