"""Small random files in place of the published models of the workflows that pass pictures on to stock nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from comfyui import ComfyUI

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
SCALE = 2
LOADERS = {"with_upscaler": "UpscaleModelLoader", "with_frame_interpolation": "FrameInterpolationModelLoader"}


def workflow(name: str) -> dict[str, Any]:
    """An example as it ships."""
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def model_file(name: str) -> dict[str, str]:
    """The published file that an example needs: name, url, directory."""
    (node,) = (node for node in workflow(name)["nodes"] if node["type"] == LOADERS[name])
    (file,) = node["properties"]["models"]
    assert node["widgets_values"] == [file["name"]]
    return file


@contextmanager
def chained_models(host: ComfyUI) -> Iterator[None]:
    """The files are in a server's folders; this process has ComfyUI's modules (`comfy_imports`)."""
    from comfy_extras.frame_interpolation_models.ifnet import IFNet
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    networks = {
        "with_upscaler": RRDBNet(in_nc=3, out_nc=3, num_filters=4, num_blocks=1, scale=SCALE),
        "with_frame_interpolation": IFNet(head_ch=2, channels=[8, 8, 8, 8, 8]),
    }
    torch.manual_seed(0)
    written = []
    for name, network in networks.items():
        file = model_file(name)
        path = host.base_directory / "models" / file["directory"] / file["name"]
        path.parent.mkdir(exist_ok=True)
        # Small numbers: what random ones of the usual size lead to is not finite.
        save_file({key: 0.1 * torch.randn(value.shape) for key, value in network.state_dict().items()}, path)
        written.append(path)
    yield
    for path in written:
        path.unlink()
