"""Makes the thumbnails of the example workflows that the pack's own model runs: frames and sound of what they give.

Usage: python scripts/make_thumbnails.py [NAME ...] (in the environment that scripts/environment.py builds, with
COMFYUI_PATH set). Every workflow runs as it ships, in a headless ComfyUI.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from comfyui import ComfyUI
from PIL import Image

from unitalking.client.workflow import to_prompt

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
COLUMNS, SIDE, SOUND_HEIGHT = 4, 192, 96
SOUND_RATE = 16000
JPEG_QUALITY = 88
LOADER = "UniTalkingModelLoader"


def own_workflows() -> list[str]:
    """Names of the examples that load what the pack brings."""
    return [path.stem for path in sorted(WORKFLOWS.glob("*.json")) if not _public_files(_read(path.stem))]


def thumbnail(file: Path) -> Image.Image:
    """Some frames of a clip above the spectrogram of its sound; a sound file has the spectrogram alone."""
    from unitalking.synthetic.sheet import spectrogram

    pictures, sound = [], []
    mono = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE)
    with av.open(str(file)) as container:
        for frame in container.decode(*container.streams.video, *container.streams.audio):
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.reformat(SIDE, SIDE, "rgb24", interpolation="BICUBIC").to_ndarray())
            else:
                sound += [part.to_ndarray()[0] for part in mono.resample(frame)]
    height = SOUND_HEIGHT if pictures else SIDE + SOUND_HEIGHT
    bands = [spectrogram(torch.from_numpy(np.concatenate(sound)), COLUMNS * SIDE, height)]
    if pictures:
        places = np.linspace(0, len(pictures) - 1, COLUMNS + 2).round().astype(int)[1:-1]
        bands.insert(0, np.concatenate([pictures[place] for place in places], axis=1))
    return Image.fromarray(np.concatenate(bands))


def _read(name: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def _public_files(workflow: dict[str, Any]) -> list[Any]:
    return [node for node in workflow["nodes"] if node["type"] == LOADER and node["properties"].get("models")]


def main(names: list[str]) -> int:
    """Writes every thumbnail, or those of the named workflows."""
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        print("COMFYUI_PATH is not set: run this through the environment of scripts/environment.py.", file=sys.stderr)
        return 1
    device = () if torch.accelerator.is_available() else ("--cpu",)
    with tempfile.TemporaryDirectory() as folder, ComfyUI(Path(comfyui), Path(folder), extra_args=device) as server:
        object_info = server.object_info()
        for name in names or own_workflows():
            workflow = _read(name)
            result = server.queue(to_prompt(workflow, object_info), workflow, timeout_s=600)
            (saved,) = (server.output_path(item) for item in result.files() if item["type"] == "output")
            path = WORKFLOWS / f"{name}.jpg"
            thumbnail(saved).save(path, quality=JPEG_QUALITY)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
