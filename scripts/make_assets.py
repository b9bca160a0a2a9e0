"""Remakes the sample portraits, voices and clips of `assets/`.

    python -m scripts.make_assets [--out DIR] [--only portraits|voices|clips]

All are of the synthetic family that the pack's own model is trained on, but of people and voices that training never
meets. Run from the pack's folder, with what `requirements-train.txt` names; the same versions give the same files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from unitalking.synthetic import MissingEspeakError, SyntheticClips, SyntheticConfig
from unitalking.synthetic.espeak import SAMPLE_RATE
from unitalking.synthetic.face import Face, Pose
from unitalking.synthetic.look import look_of
from unitalking.synthetic.speech import speak
from unitalking.synthetic.voices import Voice, voices

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PORTRAIT_SIZE = 512
# Visually the same as the drawing, at a fifth of a PNG's size.
JPEG_QUALITY = 91
# Silence before the sentence.
LEAD_S = 0.08
FLAC_FRAME_SAMPLES = 4096

# Held-out identities; the first name in the alphabet is what the examples show.
PORTRAITS: dict[str, int] = {
    "amara": 1_002_165,
    "finn": 1_019_454,
    "joseph": 1_010_578,
    "kenji": 1_007_782,
    "leila": 1_002_869,
    "lena": 1_006_433,
    "omar": 1_008_834,
    "priya": 1_017_191,
    "ruth": 1_000_261,
}

# Held-out voices by id, and what each says.
VOICES: dict[str, tuple[str, str]] = {
    "alice_clear": ("en-us+f3-42", "Good morning. The garden is quiet, and the light is very clear."),
    "clara_calm": ("en-us+f5-26", "We walked along the river, until the evening rain began to fall."),
    "david_warm": ("en-us+robert-44", "Please take a seat. I would like to tell you a story about the sea."),
    "martin_deep": ("en-us+max-20", "The old train leaves at seven, and it never waits for anyone."),
    "nora_bright": ("en-us+belinda-42", "Look at that! Nine small birds are sitting on the yellow wall."),
}


# Held-out clips by number: someone speaks a sentence, to be dubbed anew or given another face; and someone with a
# manner of their own, for Style Reference.
SPOKEN = SyntheticConfig(clips=60, seed=77, split="held_out")
MOVING = SyntheticConfig(clips=60, seed=78, split="held_out", vocabulary="common", longest_s=2.1, manners=1.0)
CLIPS: dict[str, tuple[SyntheticConfig, int]] = {
    "question": (SPOKEN, 59),
    "weather": (SPOKEN, 20),
    "manner": (MOVING, 11),
}
CLIP_CRF = "16"


def portrait(identity: int, size: int) -> Image.Image:
    """A person, silent and looking ahead."""
    return Image.fromarray(Face(look_of(identity), size).frames([Pose()])[0])


def voice_of(name: str) -> Voice:
    """The held-out voice with an id.

    Raises:
        KeyError: there is none.
    """
    return {voice.name: voice for group in voices("held_out").values() for voice in group}[name]


def make_portraits(folder: Path) -> None:
    """Draws every portrait of PORTRAITS as `folder/<name>.jpg`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, identity in PORTRAITS.items():
        path = folder / f"{name}.jpg"
        portrait(identity, PORTRAIT_SIZE).save(path, quality=JPEG_QUALITY, subsampling=0, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def make_voices(folder: Path) -> None:
    """Speaks every sample of VOICES into `folder/<name>.flac`.

    Raises:
        MissingEspeakError: espeak-ng is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (voice, sentence) in VOICES.items():
        path = folder / f"{name}.flac"
        write_flac(path, speak(sentence, voice_of(voice), SAMPLE_RATE, LEAD_S).samples, SAMPLE_RATE)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def make_clips(folder: Path) -> None:
    """Draws and speaks every clip of CLIPS as `folder/<name>.mp4`.

    Raises:
        MissingEspeakError: espeak-ng is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (config, number) in CLIPS.items():
        source = SyntheticClips(config)
        path, clip = folder / f"{name}.mp4", source.clip(number)
        write_clip(path, clip.frames.numpy(), clip.samples, config)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB, {source.spec(number).speech!r}")


def write_clip(path: Path, frames: np.ndarray, samples: torch.Tensor, config: SyntheticConfig) -> None:
    """Pictures (F, H, W, 3) and samples (S,) as H.264 and FLAC."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        picture = container.add_stream("libx264", rate=config.fps, options={"crf": CLIP_CRF, "preset": "veryslow"})
        picture.height, picture.width = frames.shape[1:3]
        picture.pix_fmt, picture.codec_context.thread_count = "yuv420p", 1
        sound = container.add_stream("flac", rate=config.sample_rate, layout="mono")
        for each in frames:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(each, format="rgb24")))
        container.mux(picture.encode(None))
        mux_samples(container, sound, samples)


def write_flac(path: Path, samples: torch.Tensor, sample_rate: int) -> None:
    """One mono 16-bit FLAC file of samples (S,) in [-1, 1)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=sample_rate, layout="mono", options={"compression_level": "12"})
        mux_samples(container, stream, samples)


def mux_samples(container: av.container.OutputContainer, stream: av.AudioStream, samples: torch.Tensor) -> None:
    """Samples (S,) in [-1, 1) as 16 bit."""
    data = (samples * 32768).round().numpy().astype(np.int16)[None]
    for start in range(0, data.shape[1], FLAC_FRAME_SAMPLES):
        part = np.ascontiguousarray(data[:, start : start + FLAC_FRAME_SAMPLES])
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts = stream.rate, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


MAKERS = {"portraits": make_portraits, "voices": make_voices, "clips": make_clips}


def main() -> int:
    """Parses the command line and makes what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder that gets portraits/, voices/ and clips/")
    parser.add_argument("--only", choices=MAKERS, help="make only these")
    arguments = parser.parse_args()
    try:
        for name in (arguments.only,) if arguments.only else MAKERS:
            MAKERS[name](arguments.out / name)
    except MissingEspeakError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
