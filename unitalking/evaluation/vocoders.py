"""A codec's vocoder against Griffin-Lim on the same mel frames: by words, voice and mel distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .clips import JudgedClip
from .codec_anchor import Codec, griffin_lim_of, mel_distance, through_codec
from .judges import Judges
from .measure import evaluate
from .table import Row, Table

REAL, VOCODER, GRIFFIN_LIM = "real", "vocoder", "Griffin-Lim"


def compare_vocoders(real: Sequence[JudgedClip], judges: Judges, codec: Codec) -> Table:
    """Three rows: real clips, the codec with its own vocoder, and the codec with Griffin-Lim; sound alone.

    Raises:
        ValueError: the codec has no sound part.
    """
    sounds = [replace(clip, frames=None, portrait=None) for clip in real]
    table = evaluate(sounds, judges, REAL)
    for name, vocoder in ((VOCODER, None), (GRIFFIN_LIM, griffin_lim_of(codec))):
        coded = [through_codec(clip, codec, vocoder) for clip in sounds]
        row = evaluate(coded, judges, name).rows[0]
        distances = [mel_distance(clip.sound, other.sound) for clip, other in zip(sounds, coded, strict=True)]
        scores = [replace(score, mel=distance) for score, distance in zip(row.scores, distances, strict=True)]
        table += Table((Row(name, tuple(scores)),))
    return table
