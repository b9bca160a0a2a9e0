"""Real held-out clips, whose figures stand beside the generated ones': as they are, through the codec, and shuffled."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..synthetic.clips import SyntheticClips, SyntheticConfig
from .clips import JudgedClip, read_clip
from .codec_anchor import Codec, through_codec
from .full_size.report import FullSizeJudges
from .judges import Judges
from .measure import evaluate, shuffled
from .table import Table
from .write_clip import write_clip

REAL, CODED, SHUFFLED = "real", "real through the codec", "shuffled pairs"


def held_out(count: int, vocabulary: str = "common", seed: int = 0) -> list[JudgedClip]:
    """Real clips of sentences, voices and faces that neither model nor judges have learnt from.

    Raises:
        MissingEspeakError: espeak-ng is not installed.
    """
    config = SyntheticConfig(clips=count, seed=seed, split="held_out", vocabulary=vocabulary)
    return real_clips(SyntheticClips(config), range(count))


def real_clips(clips: SyntheticClips, chosen: Iterable[int]) -> list[JudgedClip]:
    """Synthetic clips with all that can be asked of them."""
    return [real_clip(clips, index) for index in chosen]


def real_clip(clips: SyntheticClips, index: int, frames: bool = True) -> JudgedClip:
    """One synthetic clip; its portrait is the same face at rest, its reference another utterance of the voice."""
    spec, speech = clips.spec(index), clips.speech(index)
    clip = clips.clip(index) if frames else None
    return JudgedClip(
        name=f"{clips.config.vocabulary}-{index}",
        sound=speech.samples,
        frames=None if clip is None else clip.frames,
        fps=float(clips.config.fps),
        speech=spec.speech,
        scene="" if clip is None else clip.scene,
        phonemes=tuple(symbol for _, symbol in speech.phonemes),
        reference=clips.reference(index),
        portrait=None if clip is None else clips.portrait(index),
        attributes=None if clip is None else {name: str(value) for name, value in clip.attributes.items()},
    )


def as_files(clips: Sequence[JudgedClip]) -> list[JudgedClip]:
    """The clips after being saved as MP4 (H.264, AAC) and read again, as generated ones are."""
    with tempfile.TemporaryDirectory(prefix="unitalking-clips-") as folder:
        return [read_clip(write_clip(Path(folder), clip)) for clip in clips]


def anchor_table(
    real: Sequence[JudgedClip], judges: Judges, codec: Codec | None = None, full_size: FullSizeJudges | None = None
) -> Table:
    """The rows that a generated row is read against."""
    table = evaluate(real, judges, REAL, full_size)
    if codec is not None:
        table += evaluate([through_codec(clip, codec) for clip in real], judges, CODED, full_size)
    return table + evaluate(shuffled(real), judges, SHUFFLED, full_size)
