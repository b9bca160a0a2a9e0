"""Makes `assets/voice_files`: the sample voices as VOICE files of the pack's own model, for Load Voice.

Usage: python scripts/make_voice_files.py (in the environment of scripts/environment.py).
Encode Voice Reference and Save Voice write them, in a headless ComfyUI.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from comfyui import temporary_server

ROOT = Path(__file__).resolve().parent.parent
VOICES, OUT = ROOT / "assets" / "voices", ROOT / "assets" / "voice_files"
MODEL = "unitalking_embedded.safetensors"
ABOUT = "Synthetic voice of espeak-ng; nobody's."


def prompt_of(name: str) -> dict[str, dict]:
    """Loads the model, encodes a sample voice and saves it."""
    whole = "from model file"
    parts = dict.fromkeys(("text_encoder", "video_vae", "audio_codec"), whole)
    loader = {"model": MODEL, **parts, "weight_dtype": "default", "second_file": "none"}
    encoded = {"audio_vae": ["1", 3], "sample_voice": name, "trim": True}
    return {
        "1": {"class_type": "UniTalkingModelLoader", "inputs": loader},
        "2": {"class_type": "UniTalkingEncodeVoiceReference", "inputs": encoded},
        "3": {
            "class_type": "UniTalkingSaveVoice",
            "inputs": {"voice": ["2", 0], "name": name, "about": ABOUT, "overwrite": True},
        },
    }


def main() -> int:
    """Writes all of them anew."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    device = () if torch.accelerator.is_available() else ("--cpu",)
    with temporary_server(extra_args=device) as server:
        for sample in sorted(VOICES.glob("*.flac")):
            server.queue(prompt_of(sample.stem), timeout_s=120)
            saved = server.base_directory / "models" / "voices" / f"{sample.stem}.safetensors"
            print(shutil.copyfile(saved, OUT / saved.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
