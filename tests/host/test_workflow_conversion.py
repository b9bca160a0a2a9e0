"""Workflows in the editor's format run on a real ComfyUI, with stock nodes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from unitalking.client.workflow import to_prompt

if TYPE_CHECKING:
    from comfyui import ComfyUI

# EmptyImage -> Reroute -> ImageScale (width from a primitive) -> a bypassed ImageInvert -> Create Video -> Save Video.
WORKFLOW: dict[str, Any] = {
    "nodes": [
        {"id": 1, "type": "EmptyImage", "widgets_values": [64, 64, 5, 255]},
        {"id": 2, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 1}]},
        {"id": 3, "type": "PrimitiveNode", "widgets_values": [96, "fixed"], "outputs": [{"type": "INT"}]},
        {
            "id": 4,
            "type": "ImageScale",
            "inputs": [
                {"name": "image", "type": "IMAGE", "link": 2},
                {"name": "width", "type": "INT", "widget": {"name": "width"}, "link": 3},
            ],
            "widgets_values": ["bilinear", 8, 32, "disabled"],
        },
        {
            "id": 5,
            "type": "ImageInvert",
            "mode": 4,
            "inputs": [{"name": "image", "type": "IMAGE", "link": 4}],
            "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
        },
        {
            "id": 6,
            "type": "CreateVideo",
            "inputs": [
                {"name": "images", "type": "IMAGE", "link": 5},
                {"name": "audio", "type": "AUDIO", "link": None},
            ],
            "widgets_values": [25],
        },
        {
            "id": 7,
            "type": "SaveVideo",
            "inputs": [{"name": "video", "type": "VIDEO", "link": 6}],
            "widgets_values": ["video/plain", "mp4", "h264", "re-encode", 30],
        },
        {"id": 8, "type": "Note", "widgets_values": ["for a reader"]},
    ],
    "links": [
        [1, 1, 0, 2, 0, "IMAGE"],
        [2, 2, 0, 4, 0, "IMAGE"],
        [3, 3, 0, 4, 1, "INT"],
        [4, 4, 0, 5, 0, "IMAGE"],
        [5, 5, 0, 6, 0, "IMAGE"],
        [6, 6, 0, 7, 0, "VIDEO"],
    ],
}


def test_converted_workflow_runs_with_its_values(host: ComfyUI) -> None:
    import av

    prompt = to_prompt(WORKFLOW, host.object_info())
    assert prompt["7"]["inputs"]["codec.encoding.crf"] == 30
    (item,) = host.queue(prompt, WORKFLOW).files()
    with av.open(str(host.output_path(item))) as file:
        video = file.streams.video[0]
        assert (video.width, video.height, video.average_rate) == (96, 32, Fraction(25))
        assert "workflow" in file.metadata
