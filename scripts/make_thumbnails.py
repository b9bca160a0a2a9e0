"""Makes the thumbnails of the example workflows that the pack's own model runs: frames and sound of what they give.

Usage: python scripts/make_thumbnails.py [NAME ...] (in the environment that scripts/environment.py builds). Every
workflow runs as it ships, in a headless ComfyUI.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from comfyui import temporary_server
from PIL import Image, ImageDraw, ImageFont

from unitalking.client.workflow import to_prompt

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
SIDE, SMALL = 512, 128  # the template browser's cards are square
SOUND_RATE = 16000
JPEG_QUALITY, LABEL_SIZE = 88, 72
# Whose models are not here: shown with the clip that goes into them, and what they do to it.
CHAINED = {"with_upscaler": "x 4", "with_frame_interpolation": "48 / s"}
SHOWN = "talking_portrait_voice"


def own_workflows() -> list[str]:
    """Names of the examples that load what the pack brings."""
    return [path.stem for path in sorted(WORKFLOWS.glob("*.json")) if not _needs_files(_read(path.stem))]


def thumbnail(file: Path, label: str = "") -> Image.Image:
    """One large and some small frames of a clip above the spectrogram of its sound, and a label if there is one; a
    sound file has the spectrogram alone."""
    from unitalking.synthetic.sheet import spectrogram

    pictures, sound = [], []
    mono = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE)
    with av.open(str(file)) as container:
        for frame in container.decode(*container.streams.video, *container.streams.audio):
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.to_image())
            else:
                sound += [part.to_ndarray()[0] for part in mono.resample(frame)]
    height = SMALL if pictures else SIDE
    result = Image.new("RGB", (SIDE, SIDE))
    heard = spectrogram(torch.from_numpy(np.concatenate(sound)), SIDE, height)
    result.paste(Image.fromarray(heard), (0, SIDE - height))
    if pictures:
        large = SIDE - SMALL
        first, *others = np.linspace(0, len(pictures) - 1, 6).round().astype(int)[1:-1]
        result.paste(pictures[first].resize((large, large), Image.Resampling.BICUBIC), (0, 0))
        for number, place in enumerate(others):
            result.paste(pictures[place].resize((SMALL, SMALL), Image.Resampling.BICUBIC), (large, number * SMALL))
    if label:
        draw, place = ImageDraw.Draw(result), (24, 20)
        style = {"font": ImageFont.load_default(LABEL_SIZE), "stroke_width": 4, "stroke_fill": "black"}
        draw.text(place, label, "white", **style)
    return result


def _read(name: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def _needs_files(workflow: dict[str, Any]) -> bool:
    return any(node["properties"].get("models") for node in workflow["nodes"])


def main(names: list[str]) -> int:
    """Writes every thumbnail, or those of the named workflows."""
    device = () if torch.accelerator.is_available() else ("--cpu",)
    with temporary_server(extra_args=device) as server:
        object_info = server.object_info()
        for name in names or [*own_workflows(), *CHAINED]:
            workflow = _read(SHOWN if name in CHAINED else name)
            result = server.queue(to_prompt(workflow, object_info), workflow, timeout_s=600)
            (saved,) = (server.output_path(item) for item in result.files() if item["type"] == "output")
            path = WORKFLOWS / f"{name}.jpg"
            thumbnail(saved, CHAINED.get(name, "")).save(path, quality=JPEG_QUALITY)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
