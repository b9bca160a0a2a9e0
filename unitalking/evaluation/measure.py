"""What the judges say of clips: `evaluate` gives one row of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torchaudio.functional import loudness

from .clips import JudgedClip
from .full_size.report import FullSizeJudges
from .identity import face_distance, nearest
from .judges import Judges, lexicon_entry
from .patches import blotchiness, patchiness
from .pitch import median_pitch, semitones
from .sound import SAMPLE_RATE
from .sync import sync
from .table import ClipScores, Row, Table

GATE_S = 0.4
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def evaluate(
    clips: Sequence[JudgedClip], judges: Judges, name: str = "generated", full_size: FullSizeJudges | None = None
) -> Table:
    """Judges clips.

    Args:
        clips: what to judge; a clip is judged by whatever it brings (see `ClipScores`).
        judges: from `load_judges`.
        name: of the row.
        full_size: the paper's judges, where there are any.

    Returns:
        A table of one row; add several to compare.
    """
    scores = [judge_clip(clip, judges, full_size) for clip in clips]
    return Table(
        (Row(name, tuple(_with_retrieval(scores, clips))),), tuple(full_size.missing.values()) if full_size else ()
    )


def judge_clip(clip: JudgedClip, judges: Judges, full_size: FullSizeJudges | None = None) -> ClipScores:
    """Everything that can be said of one clip by itself."""
    scores = _judge_words(ClipScores(clip.name, clip.seed, fps=clip.fps), clip, judges)
    scores = replace(scores, loudness=loudness_lufs(clip.sound))
    if clip.frames is not None:
        scores = _judge_picture(scores, clip, judges)
    if clip.reference is not None:
        scores = _judge_voice(scores, clip, judges)
    return scores if full_size is None else _judge_full_size(scores, clip, full_size)


def spoken_words(speech: str) -> list[str]:
    """The words of a speech as lexica spell them: small letters, no punctuation."""
    return _WORD.findall(speech.lower().replace("’", "'"))


def loudness_lufs(sound: Tensor) -> float | None:
    """Integrated loudness (ITU-R BS.1770) of (S,) samples; None where the clip is shorter than 0.4 s or silent."""
    if len(sound) < GATE_S * SAMPLE_RATE:
        return None
    value = float(loudness(sound[None], SAMPLE_RATE))
    return value if math.isfinite(value) else None


def shuffled(clips: Sequence[JudgedClip]) -> list[JudgedClip]:
    """Every clip's sound and face asked for, with the next one's picture, text and voice: what chance alone scores."""
    return [
        replace(
            other,
            name=f"{clip.name}+{other.name}",
            sound=clip.sound,
            frames=_fitted(other.frames, clip.frames),
            portrait=clip.portrait,
            attributes=clip.attributes,
        )
        for clip, other in zip(clips, [*clips[1:], *clips[:1]], strict=True)
    ]


def _fitted(frames: Tensor | None, like: Tensor | None) -> Tensor | None:
    """Cut to the length of the clip whose sound it gets."""
    return frames if frames is None or like is None else frames[: len(like)]


def _judge_words(scores: ClipScores, clip: JudgedClip, judges: Judges) -> ClipScores:
    if not clip.speech and clip.phonemes is None:
        return scores
    heard = judges.phonemes.listen(clip.sound)
    phonemes = None if clip.phonemes is None else judges.phonemes.phoneme_errors(heard, clip.phonemes)
    said = spoken_words(clip.speech)
    more = {word: lexicon_entry(sayings) for word, sayings in clip.lexicon.items()}
    words = judges.phonemes.word_errors(heard, said, more) if said else None
    text = " ".join(judges.phonemes.phonemes(heard))
    if words is not None:
        text = judges.phonemes.spell(judges.phonemes.words(heard, more))
    return replace(scores, words=words, phonemes=phonemes, heard=text)


def _judge_picture(scores: ClipScores, clip: JudgedClip, judges: Judges) -> ClipScores:
    scores = replace(scores, patches=patchiness(clip.frames), blotches=blotchiness(clip.frames))
    seen = judges.mouth.track(clip.frames)
    found = sync(seen, judges.openness.track(clip.sound, len(seen), clip.fps), clip.fps)
    if found is not None:
        scores = replace(scores, sync=found.correlation, sync_best=found.best, lag=found.lag)
    if clip.portrait is not None and clip.portrait.shape == clip.frames.shape[1:]:
        scores = replace(scores, identity=face_distance(clip.frames, clip.portrait))
    if clip.attributes:
        scores = replace(scores, attributes=judges.attributes.errors(clip.frames, clip.attributes))
    return scores


def _judge_voice(scores: ClipScores, clip: JudgedClip, judges: Judges) -> ClipScores:
    pitch, wanted = median_pitch(clip.sound), median_pitch(clip.reference)
    apart = semitones(pitch, wanted) if pitch and wanted else None
    return replace(scores, speaker=judges.speaker.cosine(clip.sound, clip.reference), pitch=apart)


def _judge_full_size(scores: ClipScores, clip: JudgedClip, judges: FullSizeJudges) -> ClipScores:
    frames = clip.frames
    if frames is not None and clip.face is not None:
        left, top, right, bottom = clip.face
        frames = frames[:, top:bottom, left:right]
    verdict = judges.judge(clip.sound, clip.speech, frames, clip.fps, clip.reference)
    sync_c, sync_d = (verdict.sync.confidence, verdict.sync.distance) if verdict.sync else (None, None)
    return replace(scores, sync_c=sync_c, sync_d=sync_d, whisper=verdict.words, wavlm=verdict.speaker)


def _with_retrieval(scores: Iterable[ClipScores], clips: Sequence[JudgedClip]) -> list[ClipScores]:
    """Whether each clip's own portrait is the nearest of all portraits of its size."""
    result = []
    portraits = [clip.portrait for clip in clips]
    for place, (score, clip) in enumerate(zip(scores, clips, strict=True)):
        rivals = [
            each is not None
            and clip.portrait is not None
            and each.shape == clip.portrait.shape
            and (other == place or not torch.equal(each, clip.portrait))
            for other, each in enumerate(portraits)
        ]
        if score.identity is None or sum(rivals) < 2:
            result.append(score)
            continue
        places = [other for other, is_rival in enumerate(rivals) if is_rival]
        best = places[nearest(clip.frames, torch.stack([portraits[other] for other in places]))]
        result.append(replace(score, retrieved=best == place))
    return result
