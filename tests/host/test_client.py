"""The client of scripts/comfyui.py against a real ComfyUI, with stock nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from comfyui_events import Event, PromptInterrupted

from unitalking.client.outcome import PromptError

if TYPE_CHECKING:
    from comfyui import ComfyUI


def picture(color: int = 0, size: int = 32) -> dict[str, Any]:
    """A prompt that saves one plain picture."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": size, "height": size, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}},
    }


def test_input_folder_is_empty(host: ComfyUI) -> None:
    assert host.get("/object_info/LoadImage")["LoadImage"]["input"]["required"]["image"][0] == []


def test_prompt_leaves_its_file_and_stores_the_workflow(host: ComfyUI) -> None:
    from PIL import Image

    result = host.queue(picture(), {"nodes": [], "marker": "kept"})
    (item,) = result.files()
    with Image.open(host.output_path(item)) as image:
        assert image.size == (32, 32)
        assert '"marker": "kept"' in image.info["workflow"]
    assert [event.data["node"] for event in result.of_kind("executed")] == ["2"]


def test_refused_prompt_names_node_and_input(host: ComfyUI) -> None:
    prompt = picture()
    prompt["1"]["inputs"]["width"] = 0
    with pytest.raises(PromptError, match=r"smaller than min.*width") as caught:
        host.queue(prompt)
    assert (caught.value.node_id, caught.value.node_type) == ("1", "EmptyImage")


def test_partly_refused_prompt_is_refused(host: ComfyUI) -> None:
    prompt = picture()
    prompt["3"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}
    with pytest.raises(PromptError, match="Required input is missing: images"):
        host.queue(prompt)


def test_unknown_node_type_is_named(host: ComfyUI) -> None:
    prompt = picture() | {"3": {"class_type": "NoSuchNode", "inputs": {}}}
    with pytest.raises(PromptError, match="NoSuchNode"):
        host.queue(prompt)


def test_prompt_without_output_is_refused(host: ComfyUI) -> None:
    with pytest.raises(PromptError, match="no outputs"):
        host.queue({"1": picture()["1"]})


def test_exception_in_a_node_carries_its_type_and_message(host: ComfyUI) -> None:
    prompt = picture()
    prompt["3"] = {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "area"}}
    prompt["3"]["inputs"]["scale_by"] = 0.01
    prompt["2"]["inputs"]["images"] = ["3", 0]
    with pytest.raises(PromptError) as caught:
        host.queue(prompt)
    assert (caught.value.node_id, caught.value.node_type) == ("2", "SaveImage")
    assert (caught.value.exception_type, caught.value.message) == ("ValueError", "cannot write empty image")


def test_upload_can_be_loaded(host: ComfyUI, tmp_path: Path) -> None:
    (item,) = host.queue(picture(color=255)).files()
    name = host.upload(host.output_path(item), "a portrait.png")
    prompt = picture()
    prompt["1"] = {"class_type": "LoadImage", "inputs": {"image": name}}
    try:
        assert host.queue(prompt).files()
    finally:
        (host.base_directory / "input" / name).unlink()


def test_interrupt_from_the_event_callback_cancels(host: ComfyUI) -> None:
    prompt = picture(color=7, size=512)
    for number in range(3, 40):
        source = str(number - 1) if number > 3 else "1"
        inputs = {"image": [source, 0], "blur_radius": 31, "sigma": 10.0}
        prompt[str(number)] = {"class_type": "ImageBlur", "inputs": inputs}
    prompt["2"]["inputs"]["images"] = ["39", 0]

    def cancel(event: Event) -> None:
        if event.kind == "executing" and event.data.get("node") == "3":
            host.interrupt()

    with pytest.raises(PromptInterrupted):
        host.queue(prompt, on_event=cancel)
    assert host.queue(picture()).outputs


def test_prompt_that_takes_too_long_is_interrupted(host: ComfyUI) -> None:
    prompt = picture(color=8, size=1024)
    for number in range(3, 30):
        source = str(number - 1) if number > 3 else "1"
        inputs = {"image": [source, 0], "blur_radius": 31, "sigma": 10.0}
        prompt[str(number)] = {"class_type": "ImageBlur", "inputs": inputs}
    prompt["2"]["inputs"]["images"] = ["29", 0]
    with pytest.raises(TimeoutError, match=r"longer than 0\.5 s"):
        host.queue(prompt, timeout_s=0.5)
    assert host.queue(picture()).outputs


def test_object_info_has_the_stock_nodes(host: ComfyUI) -> None:
    assert {"KSampler", "SaveVideo", "LoadAudio"} <= set(host.object_info())
