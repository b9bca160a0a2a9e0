"""Remakes the sample portraits and voices of `assets/`.

    python scripts/make_assets.py [--out DIR] [--only portraits|voices]

Portraits are drawn by `portrait_art.py`; voices are spoken by espeak-ng, which must be on PATH. The same versions of
Pillow, espeak-ng and PyAV give the same files.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from portrait_art import draw_portrait
from portrait_look import Look

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PORTRAIT_SIZE = 512
# Visually the same as the drawing, at a fifth of a PNG's size.
JPEG_QUALITY = 91
# The level of clear speech in usual recordings; leaves 15 dB and more for its peaks.
SPEECH_LEVEL_DBFS = -20.0
# What espeak-ng leaves before and after the sentence is cut down to this.
PAUSE_S = 0.08

PORTRAITS: dict[str, Look] = {
    "amara": Look(
        skin=(126, 80, 56), hair="afro", hair_color=(44, 28, 24), eye_color=(70, 44, 28), lip_color=(140, 62, 66),
        shirt=(226, 160, 48), background=(64, 136, 140), earrings=True, lashes=0.9, nose_width=1.2, lip_fullness=1.3,
        smile=0.6, jaw=0.3,
    ),
    "lena": Look(
        skin=(244, 206, 184), hair="wavy", hair_color=(206, 160, 92), eye_color=(84, 128, 168),
        lip_color=(206, 104, 104), shirt=(44, 62, 104), collar="v", background=(168, 190, 206), lashes=0.8, jaw=0.2,
        smile=0.5, face_width=0.96,
    ),
    "kenji": Look(
        skin=(232, 190, 152), hair="side_part", hair_color=(30, 26, 28), eye_color=(52, 34, 24),
        lip_color=(186, 104, 92), shirt=(110, 118, 122), collar="turtleneck", background=(190, 178, 160),
        glasses="round", eye_slant=1.0, eye_size=0.92, smile=0.3, jaw=0.5,
    ),
    "ruth": Look(
        skin=(238, 200, 178), hair="bob", hair_color=(196, 194, 196), eye_color=(96, 120, 110),
        lip_color=(184, 92, 96), shirt=(126, 72, 98), background=(196, 186, 200), glasses="square",
        glasses_color=(120, 44, 52), age=0.9, smile=0.5, lashes=0.3, jaw=0.4, lip_fullness=0.8,
    ),
    "omar": Look(
        skin=(206, 154, 116), hair="short", hair_color=(36, 26, 22), eye_color=(74, 50, 30), lip_color=(168, 92, 82),
        shirt=(226, 230, 234), collar="shirt", background=(96, 116, 150), beard="full", brow_weight=1.4, jaw=0.8,
        nose_width=1.1, lashes=0.1, smile=0.3,
    ),
    "priya": Look(
        skin=(178, 120, 82), hair="long", hair_color=(34, 22, 22), eye_color=(60, 36, 22), lip_color=(168, 70, 76),
        shirt=(150, 50, 74), background=(206, 164, 120), earrings=True, lashes=1.0, jaw=0.2, smile=0.4,
    ),
    "joseph": Look(
        skin=(96, 62, 48), hair="bald", hair_color=(190, 186, 182), beard="full", eye_color=(52, 32, 24),
        lip_color=(122, 66, 64), shirt=(58, 92, 76), background=(170, 176, 150), age=0.7, jaw=0.7, nose_width=1.25,
        lip_fullness=1.15, lashes=0.05, smile=0.4,
    ),
    "finn": Look(
        skin=(246, 208, 182), hair="curly", hair_color=(178, 84, 40), eye_color=(78, 120, 84),
        lip_color=(204, 110, 100), shirt=(72, 120, 92), background=(142, 178, 196), freckles=True, eye_size=1.1,
        jaw=0.35, smile=0.6, face_width=1.02, lashes=0.2,
    ),
    "leila": Look(
        skin=(222, 172, 136), hair="scarf", hair_color=(48, 110, 120), eye_color=(86, 60, 36),
        lip_color=(188, 88, 90), shirt=(40, 70, 84), background=(226, 204, 178), lashes=0.9, jaw=0.25, smile=0.4,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """How espeak-ng speaks one sample: language and variant, pitch 0..99, words per minute, and the sentence."""

    voice: str
    pitch: int
    rate: int
    sentence: str


VOICES: dict[str, Speaker] = {
    "alice_clear": Speaker("en-us+Annie", 58, 160, "Good morning. The garden is quiet, and the light is very clear."),
    "clara_calm": Speaker("en-us+linda", 38, 150, "We walked along the river, until the evening rain began to fall."),
    "david_warm": Speaker("en-us+rob", 45, 155, "Please take a seat. I would like to tell you a story about the sea."),
    "martin_deep": Speaker("en-us+m5", 25, 150, "The old train leaves at seven, and it never waits for anyone."),
    "nora_bright": Speaker("en-us+Andrea", 52, 142, "Look at that! Nine small birds are sitting on the yellow wall."),
}


def make_portraits(folder: Path) -> None:
    """Draws every portrait of PORTRAITS as `folder/<name>.jpg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, look in PORTRAITS.items():
        path = folder / f"{name}.jpg"
        draw_portrait(look, PORTRAIT_SIZE).save(path, quality=JPEG_QUALITY, subsampling=0, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def make_voices(folder: Path) -> None:
    """Speaks every sample of VOICES into `folder/<name>.flac`.

    Raises:
        RuntimeError: espeak-ng is not on PATH.
    """
    if shutil.which("espeak-ng") is None:
        raise RuntimeError("espeak-ng is not on PATH; install it (Debian and Ubuntu: apt-get install espeak-ng).")
    folder.mkdir(parents=True, exist_ok=True)
    for name, speaker in VOICES.items():
        samples, sample_rate = speak(speaker)
        path = folder / f"{name}.flac"
        write_flac(path, level(trim(samples, sample_rate)), sample_rate)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def speak(speaker: Speaker) -> tuple[np.ndarray, int]:
    """What espeak-ng says: samples (S,) in [-1, 1], and their rate."""
    command = ["espeak-ng", "--stdout", "-v", speaker.voice, "-p", str(speaker.pitch), "-s", str(speaker.rate)]
    done = subprocess.run([*command, speaker.sentence], capture_output=True, check=True)
    # espeak-ng writes a stream, so the header's length is not the true one.
    with wave.open(io.BytesIO(done.stdout)) as stream:
        sample_rate = stream.getframerate()
        data = stream.readframes(len(done.stdout))
    return np.frombuffer(data, dtype="<i2").astype(np.float64) / 32768, sample_rate


def trim(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The sentence with PAUSE_S before and after it, faded."""
    pause = round(PAUSE_S * sample_rate)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    padded = np.pad(samples, pause)[loud[0] : loud[-1] + 2 * pause]
    fade = np.linspace(0, 1, pause // 2)
    padded[: fade.size] *= fade
    padded[-fade.size :] *= fade[::-1]
    return padded


def level(samples: np.ndarray) -> np.ndarray:
    """The samples at SPEECH_LEVEL_DBFS, pauses not counted."""
    speech = samples[np.abs(samples) > 0.01 * np.abs(samples).max()]
    return samples * 10 ** (SPEECH_LEVEL_DBFS / 20) / np.sqrt(np.mean(speech**2))


def write_flac(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """One mono 16-bit FLAC file."""
    frame_samples = 4096
    data = np.round(np.clip(samples, -1, 32767 / 32768) * 32768).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=sample_rate, layout="mono", options={"compression_level": "12"})
        for start in range(0, data.size, frame_samples):
            frame = av.AudioFrame.from_ndarray(data[None, start : start + frame_samples], format="s16", layout="mono")
            frame.sample_rate, frame.pts = sample_rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> int:
    """Parses the command line and makes what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder that gets portraits/ and voices/")
    parser.add_argument("--only", choices=("portraits", "voices"), help="make only these")
    arguments = parser.parse_args()
    try:
        if arguments.only != "voices":
            make_portraits(arguments.out / "portraits")
        if arguments.only != "portraits":
            make_voices(arguments.out / "voices")
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
