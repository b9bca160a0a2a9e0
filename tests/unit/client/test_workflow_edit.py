"""Changes to a workflow in the editor's format: what runs, and what the editor shows."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from unitalking.client.workflow import WorkflowError, to_prompt
from unitalking.client.workflow_edit import set_widget, wire_source

OBJECT_INFO: dict[str, Any] = {
    "LoadImage": {
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
        "output": ["IMAGE", "MASK"],
        "output_name": ["IMAGE", "MASK"],
    },
    "Portrait": {"input": {"required": {"fit": [["crop", "pad"]]}, "optional": {"image": ["IMAGE"]}}},
    "Sampler": {
        "input": {
            "required": {"seed": ["INT", {"default": 0, "control_after_generate": True}], "steps": ["INT", {}]},
            "optional": {"late": ["INT", {"default": 1}]},
        }
    },
}
WORKFLOW: dict[str, Any] = {
    "last_node_id": 3,
    "last_link_id": 7,
    "nodes": [
        {
            "id": 1,
            "type": "LoadImage",
            "widgets_values": ["old.png", "image"],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [7]}],
        },
        {
            "id": 2,
            "type": "Portrait",
            "pos": [500, 100],
            "inputs": [{"name": "image", "type": "IMAGE", "link": 7}],
            "widgets_values": ["crop"],
        },
        {"id": 3, "type": "Sampler", "widgets_values": [5, "fixed", 20]},
    ],
    "links": [[7, 1, 0, 2, 0, "IMAGE"]],
}


@pytest.fixture
def workflow() -> dict[str, Any]:
    return copy.deepcopy(WORKFLOW)


def test_set_widget_finds_the_place_behind_a_seed(workflow: dict[str, Any]) -> None:
    set_widget(workflow, "Sampler", "steps", 4, OBJECT_INFO)
    assert workflow["nodes"][2]["widgets_values"] == [5, "fixed", 4]
    assert to_prompt(workflow, OBJECT_INFO)["3"]["inputs"]["steps"] == 4


def test_set_widget_reaches_every_node_of_the_class(workflow: dict[str, Any]) -> None:
    workflow["nodes"].append({"id": 9, "type": "Sampler", "widgets_values": [6, "fixed", 30]})
    set_widget(workflow, "Sampler", "seed", 1, OBJECT_INFO)
    prompt = to_prompt(workflow, OBJECT_INFO)
    assert [prompt[number]["inputs"]["seed"] for number in ("3", "9")] == [1, 1]


def test_set_widget_cuts_a_link_into_it(workflow: dict[str, Any]) -> None:
    workflow["nodes"].append(
        {"id": 4, "type": "PrimitiveNode", "widgets_values": [50], "outputs": [{"type": "INT", "links": [8]}]}
    )
    workflow["links"].append([8, 4, 0, 3, 0, "INT"])
    workflow["nodes"][2]["inputs"] = [{"name": "steps", "type": "INT", "widget": {"name": "steps"}, "link": 8}]
    assert to_prompt(workflow, OBJECT_INFO)["3"]["inputs"]["steps"] == 50
    set_widget(workflow, "Sampler", "steps", 4, OBJECT_INFO)
    assert to_prompt(workflow, OBJECT_INFO)["3"]["inputs"]["steps"] == 4
    assert workflow["nodes"][3]["outputs"][0]["links"] == []


def test_class_that_the_server_lacks_is_named(workflow: dict[str, Any]) -> None:
    with pytest.raises(WorkflowError, match=r"Sampler \(node 3\): this ComfyUI has no such node type"):
        set_widget(workflow, "Sampler", "steps", 4, {})
    with pytest.raises(WorkflowError, match=r"Portrait \(node 2\): this ComfyUI has no such node type"):
        wire_source(workflow, "LoadImage", ["new.png"], "Portrait", "image", {})


def test_set_widget_names_what_is_missing(workflow: dict[str, Any]) -> None:
    with pytest.raises(WorkflowError, match="no Gone node, so its 'x' cannot be set"):
        set_widget(workflow, "Gone", "x", 4, OBJECT_INFO)
    with pytest.raises(WorkflowError, match=r"Sampler \(node 3\) has no widget 'x'; it has seed, steps"):
        set_widget(workflow, "Sampler", "x", 4, OBJECT_INFO)


def test_wired_source_runs_in_place_of_the_old_one(workflow: dict[str, Any]) -> None:
    wire_source(workflow, "LoadImage", ["new.png", "image"], "Portrait", "image", OBJECT_INFO)
    prompt = to_prompt(workflow, OBJECT_INFO)
    source, slot = prompt["2"]["inputs"]["image"]
    assert (prompt[source], slot) == ({"class_type": "LoadImage", "inputs": {"image": "new.png"}}, 0)
    assert source not in ("1", "2", "3")


def test_wired_source_leaves_a_workflow_without_loose_ends(workflow: dict[str, Any]) -> None:
    wire_source(workflow, "LoadImage", ["new.png", "image"], "Portrait", "image", OBJECT_INFO)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    ((number, origin, slot, target, target_slot, kind),) = workflow["links"]
    assert nodes[origin]["outputs"][slot]["links"] == [number]
    assert nodes[target]["inputs"][target_slot]["link"] == number
    assert (kind, nodes[1]["outputs"][0]["links"]) == ("IMAGE", [])
    assert (workflow["last_node_id"], workflow["last_link_id"]) == (origin, number)


def test_wired_source_adds_a_socket_that_was_not_saved(workflow: dict[str, Any]) -> None:
    workflow["nodes"][1]["inputs"] = []
    workflow["links"] = []
    wire_source(workflow, "LoadImage", ["new.png", "image"], "Portrait", "image", OBJECT_INFO)
    assert to_prompt(workflow, OBJECT_INFO)["2"]["inputs"]["image"] == ["4", 0]


def test_wired_source_names_an_input_that_is_missing(workflow: dict[str, Any]) -> None:
    with pytest.raises(WorkflowError, match="Portrait has no input 'picture'"):
        wire_source(workflow, "LoadImage", ["new.png"], "Portrait", "picture", OBJECT_INFO)
