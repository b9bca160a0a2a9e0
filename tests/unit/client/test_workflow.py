"""Workflows of the editor become the prompts that the editor would queue."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from unitalking.client.workflow import WorkflowError, set_input, to_prompt

CODECS = [
    {"key": "auto", "inputs": {"required": {}}},
    {"key": "h264", "inputs": {"required": {"crf": ["FLOAT", {"default": 23.0}]}, "optional": {"tune": [["film"]]}}},
]
OBJECT_INFO = {
    "Source": {"input": {"required": {"width": ["INT", {"default": 8}], "name": ["STRING", {"default": "a"}]}}},
    "Sampler": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"default": 0, "control_after_generate": True}],
                "steps": ["INT", {"default": 20}],
                "scheduler": [["simple", "wan"]],
            },
            "optional": {"strength": ["FLOAT", {"default": 1.0}], "extra": ["FLOAT", {"forceInput": True}]},
        }
    },
    "Save": {"input": {"required": {"model": ["MODEL"], "codec": ["COMFY_DYNAMICCOMBO_V3", {"options": CODECS}]}}},
    "Load": {"input": {"required": {"image": ["COMBO", {"options": [], "image_upload": True}]}}},
}


def node(number: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "mode": 0, "inputs": [], "outputs": [], "widgets_values": [], **fields}


def socket(name: str, link: int | None, kind: str = "MODEL", **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "link": link, **fields}


def source(number: int = 1, **fields: Any) -> dict[str, Any]:
    outputs = [{"name": "model", "type": "MODEL"}]
    return node(number, "Source", widgets_values=[16, "b"], outputs=outputs, **fields)


def sampler(link: int, **fields: Any) -> dict[str, Any]:
    values = [5, "randomize", 30, "wan", 0.5]
    return node(9, "Sampler", **{"inputs": [socket("model", link)], "widgets_values": values, **fields})


def through(middle: dict[str, Any]) -> dict[str, Any]:
    """Source -> `middle` (node 2, links 1 and 2) -> Sampler."""
    return {"nodes": [source(), middle, sampler(2)], "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 9, 0, "MODEL"]]}


def test_values_and_links_come_by_name() -> None:
    workflow = {"nodes": [source(), sampler(1)], "links": [[1, 1, 0, 9, 0, "MODEL"]]}
    assert to_prompt(workflow, OBJECT_INFO) == {
        "1": {"class_type": "Source", "inputs": {"width": 16, "name": "b"}},
        "9": {
            "class_type": "Sampler",
            "inputs": {"model": ["1", 0], "seed": 5, "steps": 30, "scheduler": "wan", "strength": 0.5},
        },
    }


def test_links_may_be_objects() -> None:
    link = {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 9, "target_slot": 0, "type": "MODEL"}
    prompt = to_prompt({"nodes": [source(), sampler(1)], "links": [link]}, OBJECT_INFO)
    assert prompt["9"]["inputs"]["model"] == ["1", 0]


def test_seed_without_the_editors_extra_value_is_read_too() -> None:
    workflow = {
        "nodes": [source(), sampler(1, widgets_values=[5, 30, "wan", 0.5])],
        "links": [[1, 1, 0, 9, 0, "MODEL"]],
    }
    inputs = to_prompt(workflow, OBJECT_INFO)["9"]["inputs"]
    assert (inputs["seed"], inputs["steps"], inputs["scheduler"]) == (5, 30, "wan")


def test_missing_values_at_the_end_are_the_defaults() -> None:
    workflow = {"nodes": [sampler(None, widgets_values=[5, "fixed", 30, "wan"])], "links": []}
    assert to_prompt(workflow, OBJECT_INFO)["9"]["inputs"]["strength"] == 1.0


def test_linked_widget_takes_the_link_and_still_holds_its_place() -> None:
    inputs = [socket("model", None), socket("steps", 1, "INT", widget={"name": "steps"})]
    workflow = {"nodes": [source(), sampler(None, inputs=inputs)], "links": [[1, 1, 0, 9, 1, "INT"]]}
    result = to_prompt(workflow, OBJECT_INFO)["9"]["inputs"]
    assert (result["steps"], result["scheduler"]) == (["1", 0], "wan")


def test_primitive_gives_its_value() -> None:
    primitive = node(2, "PrimitiveNode", widgets_values=[77, "fixed"], outputs=[{"name": "INT", "type": "INT"}])
    inputs = [socket("steps", 1, "INT", widget={"name": "steps"})]
    workflow = {"nodes": [primitive, sampler(None, inputs=inputs)], "links": [[1, 2, 0, 9, 1, "INT"]]}
    prompt = to_prompt(workflow, OBJECT_INFO)
    assert prompt["9"]["inputs"]["steps"] == 77
    assert list(prompt) == ["9"]


def test_reroute_and_bypassed_node_lead_to_the_source() -> None:
    reroute = node(2, "Reroute", inputs=[socket("", 1, "*")], outputs=[{"name": "", "type": "*"}])
    bypassed = node(
        2,
        "Source",
        mode=4,
        inputs=[socket("x", None, "INT"), socket("model", 1)],
        outputs=[{"name": "model", "type": "MODEL"}],
    )
    for middle in (reroute, bypassed):
        prompt = to_prompt(through(middle), OBJECT_INFO)
        assert prompt["9"]["inputs"]["model"] == ["1", 0]
        assert "2" not in prompt


def test_muted_node_and_links_from_it_are_left_out() -> None:
    prompt = to_prompt(through(source(2, mode=2)), OBJECT_INFO)
    assert list(prompt) == ["1", "9"]
    assert "model" not in prompt["9"]["inputs"]


def test_notes_are_ignored() -> None:
    workflow = {"nodes": [node(3, "Note"), node(4, "MarkdownNote", widgets_values=["# Hi"])], "links": []}
    assert to_prompt(workflow, OBJECT_INFO) == {}


def test_dynamic_combo_takes_the_inputs_of_its_choice() -> None:
    save = node(1, "Save", widgets_values=["h264", 18.0, "film"])
    assert to_prompt({"nodes": [save], "links": []}, OBJECT_INFO)["1"]["inputs"] == {
        "codec": "h264",
        "codec.crf": 18.0,
        "codec.tune": "film",
    }
    with pytest.raises(WorkflowError, match=r"'av1' is not a choice of 'codec'"):
        to_prompt({"nodes": [node(1, "Save", widgets_values=["av1"])], "links": []}, OBJECT_INFO)


def test_upload_button_behind_the_values_is_ignored() -> None:
    workflow = {"nodes": [node(1, "Load", widgets_values=["a.png", "image"])], "links": []}
    assert to_prompt(workflow, OBJECT_INFO)["1"]["inputs"] == {"image": "a.png"}


def test_list_value_is_told_from_a_link() -> None:
    workflow = {"nodes": [node(1, "Load", widgets_values=[["a.png", 0]])], "links": []}
    assert to_prompt(workflow, OBJECT_INFO)["1"]["inputs"] == {"image": {"__value__": ["a.png", 0]}}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (node(1, "Gone", title="My node"), r"Gone \(node 1, 'My node'\): this ComfyUI has no such node type"),
        (node(1, "Source", inputs=[socket("old", 1)]), r"Source \(node 1\) has no input 'old'; it has width, name"),
        (node(1, "Source", widgets_values=[1, "a", 7]), r"has 3 widget values, and its inputs take 2: \[7\] left over"),
        (node(1, "Source", inputs=[socket("width", 8)]), r"Link 8 .* not in the workflow's list"),
        (node(1, "Source", inputs=[socket("width", 2)]), r"Link 2 comes from node 55, which is not"),
        (node(1, "a-b-c"), "is a subgraph: unpack it"),
    ],
)
def test_what_the_server_does_not_have_is_named(broken: dict[str, Any], message: str) -> None:
    links = [[1, 5, 0, 1, 0, "MODEL"], [2, 55, 0, 1, 0, "MODEL"]]
    definitions = {"subgraphs": [{"id": "a-b-c"}]}
    with pytest.raises(WorkflowError, match=message):
        to_prompt({"nodes": [broken, source(5)], "links": links, "definitions": definitions}, OBJECT_INFO)


def test_api_format_is_refused() -> None:
    with pytest.raises(WorkflowError, match="Not a workflow in the editor's format"):
        to_prompt({"1": {"class_type": "Source", "inputs": {}}}, OBJECT_INFO)


def test_workflow_is_not_changed() -> None:
    workflow = through(source(2, mode=4))
    before = copy.deepcopy(workflow)
    to_prompt(workflow, OBJECT_INFO)
    assert workflow == before


def test_set_input_reaches_every_node_of_the_class() -> None:
    prompt = {name: {"class_type": "Source", "inputs": {"width": 1}} for name in ("1", "2")}
    set_input(prompt, "Source", "width", 5, OBJECT_INFO)
    assert [node["inputs"]["width"] for node in prompt.values()] == [5, 5]


def test_set_input_refuses_what_is_not_there() -> None:
    prompt = {"1": {"class_type": "Source", "inputs": {"width": 1}}}
    with pytest.raises(WorkflowError, match="no Sampler node, so its 'seed' cannot be set"):
        set_input(prompt, "Sampler", "seed", 5)
    with pytest.raises(WorkflowError, match="Source has no input 'height'"):
        set_input(prompt, "Source", "height", 5, OBJECT_INFO)
