"""Changes to a workflow in the editor's format, as a user would make them: a widget's value, a new node wired in.

The changed workflow is what runs and what is stored in the result, so that dropping the file into the editor shows it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .workflow import WorkflowError, input_specs, node_name, type_of, widget_values


def set_widget(workflow: dict[str, Any], class_type: str, name: str, value: Any, object_info: dict[str, Any]) -> None:
    """Set a widget of every node of one class; a link into it is cut.

    Args:
        workflow: editor's format, changed in place.
        class_type: the nodes' class.
        name: the input that the widget belongs to.
        value: the new value.
        object_info: what the server answers on /object_info.

    Raises:
        WorkflowError: there is no such node, or the node has no such widget.
    """
    for node in _nodes_of(workflow, class_type, name):
        values = list(node.get("widgets_values") or [])
        places = {
            found: place
            for found, _, place in widget_values(type_of(node, object_info)["input"], deque(enumerate(values)), node)
        }
        if places.get(name) is None:
            raise WorkflowError(f"{node_name(node)} has no widget {name!r}; it has {', '.join(places)}.")
        values[places[name]] = value
        node["widgets_values"] = values
    unwire(workflow, class_type, name)


def wire_source(
    workflow: dict[str, Any],
    source_type: str,
    widgets: list[Any],
    class_type: str,
    name: str,
    object_info: dict[str, Any],
) -> None:
    """Add a node and wire its first output into an input of every node of one class, in place of any link there.

    Args:
        workflow: editor's format, changed in place.
        source_type: class of the new node.
        widgets: the new node's widget values.
        class_type: class of the nodes to wire it into.
        name: their input.
        object_info: what the server answers on /object_info.

    Raises:
        WorkflowError: there is no such node, or its class has no such input.
    """
    targets = _nodes_of(workflow, class_type, name)
    if name not in dict(input_specs(type_of(targets[0], object_info)["input"])):
        raise WorkflowError(f"{class_type} has no input {name!r}.")
    number = max(node["id"] for node in workflow["nodes"]) + 1
    x, y = targets[0].get("pos", [0, 0])[:2]
    kind = object_info[source_type]["output"][0]
    output = {"name": object_info[source_type]["output_name"][0], "type": kind, "links": []}
    source = {"id": number, "type": source_type, "pos": [x - 400, y], "size": [320, 320], "flags": {}, "mode": 0}
    source |= {"order": 0, "inputs": [], "outputs": [output], "properties": {}, "widgets_values": widgets}
    for target in targets:
        slot = _socket(target, name, kind)
        _cut(workflow, target["inputs"][slot])
        link = max((link[0] for link in workflow["links"]), default=0) + 1
        workflow["links"].append([link, number, 0, target["id"], slot, kind])
        target["inputs"][slot]["link"] = link
        output["links"].append(link)
        workflow["last_link_id"] = link
    workflow["nodes"].append(source)
    workflow["last_node_id"] = number


def unwire(workflow: dict[str, Any], class_type: str, name: str) -> None:
    """Cut the links into the input `name` of every node of one class.

    Raises:
        WorkflowError: there is no such node.
    """
    for node in _nodes_of(workflow, class_type, name):
        for entry in node.get("inputs", []):
            if entry["name"] == name:
                _cut(workflow, entry)


def _nodes_of(workflow: dict[str, Any], class_type: str, name: str) -> list[dict[str, Any]]:
    nodes = [node for node in workflow["nodes"] if node["type"] == class_type]
    if not nodes:
        raise WorkflowError(f"The workflow has no {class_type} node, so its {name!r} cannot be set.")
    return nodes


def _socket(node: dict[str, Any], name: str, kind: str) -> int:
    """Place of the node's input `name`, added if the editor did not save it."""
    inputs = node.setdefault("inputs", [])
    names = [entry["name"] for entry in inputs]
    if name not in names:
        inputs.append({"name": name, "type": kind, "link": None})
    return names.index(name) if name in names else len(names)


def _cut(workflow: dict[str, Any], entry: dict[str, Any]) -> None:
    number, entry["link"] = entry.get("link"), None
    workflow["links"] = [link for link in workflow["links"] if link[0] != number]
    for node in workflow["nodes"]:
        for output in node.get("outputs", []):
            if number is not None and number in (output.get("links") or []):
                output["links"].remove(number)
