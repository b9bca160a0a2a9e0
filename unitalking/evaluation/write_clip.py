"""A clip as files that `read_clip` takes: MP4, sidecar, reference and portrait."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .clips import JudgedClip
from .sound import SAMPLE_RATE

CRF = 16
AUDIO_BIT_RATE = 128_000


def write_clip(folder: Path, clip: JudgedClip, **more: Any) -> Path:
    """Writes `clip.name`.mp4 with its sidecar, voice reference and portrait.

    Args:
        folder: created if needed.
        clip: what to write; without frames, the sound alone.
        more: further keys of the sidecar.

    Returns:
        The sidecar.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    write_media(folder / f"{clip.name}.mp4", clip.sound, clip.frames, clip.fps)
    sidecar: dict[str, Any] = {"speech": clip.speech, "scene": clip.scene, "seed": clip.seed}
    if clip.reference is not None:
        sidecar["reference"] = f"{clip.name}.reference.wav"
        write_wav(folder / sidecar["reference"], clip.reference)
    if clip.portrait is not None:
        sidecar["portrait"] = f"{clip.name}.portrait.png"
        Image.fromarray(clip.portrait.numpy()).save(folder / sidecar["portrait"])
    for key in ("phonemes", "attributes", "face"):
        if getattr(clip, key) is not None:
            sidecar[key] = getattr(clip, key)
    if clip.lexicon:
        sidecar["lexicon"] = dict(clip.lexicon)
    path = folder / f"{clip.name}.json"
    path.write_text(json.dumps({**sidecar, **more}, indent=1), encoding="utf-8")
    return path


def write_media(path: Path, sound: Tensor, frames: Tensor | None, fps: float) -> None:
    """An MP4 as players take it (H.264 in 4:2:0, AAC); (S,) at 16 kHz, (F, H, W, 3) uint8."""
    import av

    with av.open(str(path), "w") as container:
        picture = None
        if frames is not None:
            picture = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            picture.height, picture.width = frames.shape[1:3]
            picture.pix_fmt = "yuv420p"
            picture.options = {"crf": str(CRF)}
        voice = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", bit_rate=AUDIO_BIT_RATE)
        if frames is not None:
            for pixels in frames.numpy():
                container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(picture.encode(None))
        samples = sound.clamp(-1, 1).float().numpy()[None]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        container.mux(voice.encode(frame))
        container.mux(voice.encode(None))


def write_wav(path: Path, sound: Tensor) -> None:
    """(S,) at 16 kHz as 16-bit WAV."""
    from scipy.io import wavfile

    wavfile.write(path, SAMPLE_RATE, (sound.clamp(-1, 1) * 32767).round().to(torch.int16).numpy())
