"""Clips to judge: read from MP4 files with a JSON sidecar each. S samples, F frames, H W pixels.

clip.mp4   picture and sound
clip.json  what was asked for; every key may be left out:
    speech, scene    the prompt's fields
    phonemes         the phonemes that should be heard, in espeak's mnemonics
    lexicon          {word: [pronunciation in mnemonics, ...]} for words that the judges do not know
    reference        file of the voice that was asked for, beside the sidecar
    portrait         file of the picture that was asked for
    attributes       {name: value} that the scene's caption names
    seed             that the clip was sampled with
    face             [left, top, right, bottom] in pixels, for SyncNet; the whole picture where missing
    clip             file of the clip, where its name differs from the sidecar's
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..mapping import from_mapping
from .sound import SAMPLE_RATE

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


class ClipError(ValueError):
    """A clip or sidecar that cannot be used, with its name and what is wrong."""


class Frames(Protocol):
    """Pictures that judges take a few at a time, (F, H, W, 3) uint8: a tensor, or what makes them as they are taken."""

    shape: Sequence[int]

    def __len__(self) -> int: ...

    def __getitem__(self, part: int | slice | Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class JudgedClip:
    """A clip and what it should be.

    Attributes:
        name: for tables.
        sound: (S,) at 16 kHz, mono.
        frames: (F, H, W, 3) uint8, or None for sound alone.
        fps: frames per second.
        speech, scene: the prompt's fields.
        phonemes: what should be heard, in espeak's mnemonics; None: unknown.
        lexicon: pronunciations of words that the judges' own lexicon lacks.
        reference: (S,) at 16 kHz, the voice that was asked for.
        portrait: (H, W, 3) uint8, the face that was asked for.
        attributes: what the caption says of the face.
        seed: that the clip was sampled with.
        face: (left, top, right, bottom) in pixels.
    """

    name: str
    sound: Tensor
    frames: Frames | None = None
    fps: float = 24.0
    speech: str = ""
    scene: str = ""
    phonemes: tuple[str, ...] | None = None
    lexicon: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    reference: Tensor | None = None
    portrait: Tensor | None = None
    attributes: Mapping[str, str] | None = None
    seed: int = 0
    face: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Sidecar:
    """The JSON beside a clip; see the module."""

    speech: str = ""
    scene: str = ""
    sound: str = ""
    phonemes: tuple[str, ...] | None = None
    lexicon: Mapping[str, Any] | None = None
    reference: str | None = None
    portrait: str | None = None
    attributes: Mapping[str, Any] | None = None
    seed: int = 0
    face: tuple[int, int, int, int] | None = None
    clip: str | None = None


def find_clips(source: Path) -> list[Path]:
    """The clips' sidecars in a folder, or those that a manifest (one JSON path per line) lists.

    A clip without sidecar stands for itself.

    Raises:
        ClipError: nothing to judge there.
    """
    if source.is_dir():
        found = {path.with_suffix(""): path for path in sorted(source.iterdir()) if path.suffix in VIDEO_SUFFIXES}
        found.update({path.with_suffix(""): path for path in sorted(source.glob("*.json"))})
        clips = [found[name] for name in sorted(found)]
    elif source.is_file():
        lines = source.read_text(encoding="utf-8").splitlines()
        clips = [source.parent / line.strip() for line in lines if line.strip()]
    else:
        raise ClipError(f"{source}: expected a folder of clips, or a manifest with one sidecar's path per line.")
    if not clips:
        raise ClipError(f"{source}: no clips; expected {', '.join(VIDEO_SUFFIXES)} files with a .json beside each.")
    return clips


def read_clip(path: Path) -> JudgedClip:
    """One clip, by its sidecar or by itself.

    Raises:
        ClipError: a file that is missing or cannot be read, or an unknown key.
    """
    sidecar = _read_sidecar(path) if path.suffix == ".json" else Sidecar()
    folder = path.parent
    media = folder / sidecar.clip if sidecar.clip else _media_of(path)
    sound, frames, fps = read_media(media)
    if sound is None:
        raise ClipError(f"{media}: no sound; expected a clip with a sound track.")
    reference = None if sidecar.reference is None else read_media(folder / sidecar.reference)[0]
    portrait = None if sidecar.portrait is None else read_picture(folder / sidecar.portrait)
    attributes = sidecar.attributes
    return JudgedClip(
        name=media.stem,
        sound=sound,
        frames=frames,
        fps=fps,
        speech=sidecar.speech,
        scene=sidecar.scene,
        phonemes=sidecar.phonemes,
        lexicon=sidecar.lexicon or {},
        reference=reference,
        portrait=portrait,
        attributes=None if attributes is None else {name: str(value) for name, value in attributes.items()},
        seed=sidecar.seed,
        face=sidecar.face,
    )


def read_media(path: Path) -> tuple[Tensor | None, Tensor | None, float]:
    """Sound (S,) at 16 kHz, frames (F, H, W, 3) uint8 and fps of any file that PyAV reads; None for what it lacks.

    Several channels are averaged: FFmpeg's own mix of two alike is 3 dB louder than either.

    Raises:
        ClipError: not there, or not readable.
    """
    import av

    try:
        with av.open(str(path)) as container:
            has_sound, has_picture = bool(container.streams.audio), bool(container.streams.video)
            fps = float(container.streams.video[0].average_rate or 0) if has_picture else 0.0
            resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
            sound: list[np.ndarray] = []
            frames: list[np.ndarray] = []
            for frame in container.decode(*container.streams.audio[:1], *container.streams.video[:1]):
                if isinstance(frame, av.AudioFrame):
                    sound += [part.to_ndarray().mean(axis=0) for part in resampler.resample(frame)]
                else:
                    frames.append(frame.to_ndarray(format="rgb24"))
            if has_sound:
                sound += [part.to_ndarray().mean(axis=0) for part in resampler.resample(None)]
    except (OSError, av.FFmpegError) as error:
        raise ClipError(f"{path}: cannot be read ({error}).") from error
    waveform = torch.from_numpy(np.concatenate(sound)) if sound else None
    return waveform, torch.from_numpy(np.stack(frames)) if frames else None, fps


def read_picture(path: Path) -> Tensor:
    """(H, W, 3) uint8.

    Raises:
        ClipError: not there, or no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB")))
    except OSError as error:
        raise ClipError(f"{path}: cannot be read ({error}).") from error


def _read_sidecar(path: Path) -> Sidecar:
    try:
        return from_mapping(Sidecar, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, TypeError) as error:
        raise ClipError(f"{path}: {error}") from error


def _media_of(path: Path) -> Path:
    if path.suffix != ".json":
        return path
    found = [path.with_suffix(suffix) for suffix in VIDEO_SUFFIXES if path.with_suffix(suffix).is_file()]
    if not found:
        raise ClipError(f"{path}: no clip beside it; expected {path.stem}.mp4, or its name under `clip`.")
    return found[0]
