"""The committed judges on real held-out clips, and on everything that they must not be content with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unitalking.evaluation.clips import JudgedClip
from unitalking.evaluation.identity import face_distance
from unitalking.evaluation.judges import JudgeError, Judges, load_judges
from unitalking.evaluation.measure import evaluate, judge_clip, shuffled, spoken_words
from unitalking.evaluation.sound import SAMPLE_RATE
from unitalking.evaluation.table import Table

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "judges"
LARGEST_MB = 10
FRAME_S = 1 / 24


@pytest.fixture(scope="module")
def table(judges: Judges, real: list[JudgedClip]) -> Table:
    return evaluate(real, judges, "real") + evaluate(shuffled(real), judges, "shuffled")


def value(table: Table, row: str, title: str) -> float:
    return table.figure(row, title).value


def test_all_judges_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < LARGEST_MB * 1e6


@pytest.mark.parametrize("name", ["phonemes", "speaker", "openness", "mouth", "attributes"])
def test_every_judge_says_how_it_was_trained_and_how_good_it_is(name: str) -> None:
    from safetensors import safe_open

    with safe_open(str(FOLDER / f"{name}.safetensors"), framework="pt") as opened:
        facts = json.loads(opened.metadata()["judge"])
    assert facts["trained_by"] == "python -m unitalking.evaluation.train_judges"
    assert facts["data_seed"] == 0
    assert facts["course"]["steps"] > 0
    assert any(key.startswith("held_out_") for key in facts)


# ---- what is real is right


def test_real_words_are_understood(table: Table) -> None:
    assert value(table, "real", "word error") < 0.15
    assert value(table, "real", "phoneme error") < 0.12


def test_real_lips_follow_the_sound_at_once(table: Table) -> None:
    assert value(table, "real", "sync") > 0.85
    assert value(table, "real", "best lag") == 0
    assert value(table, "real", "lag within") > 0.9


def test_real_voices_are_like_their_references(table: Table) -> None:
    assert value(table, "real", "speaker") > 0.5
    assert value(table, "real", "pitch") < 2


def test_real_faces_are_their_portraits(table: Table) -> None:
    assert value(table, "real", "retrieval") == 1
    assert value(table, "real", "identity") < 15


def test_captioned_attributes_are_seen(table: Table) -> None:
    assert value(table, "real", "attributes") > 0.75


# ---- what is wrong is found


def test_shuffled_pairs_fail_every_judge(table: Table) -> None:
    assert value(table, "shuffled", "word error") > 0.8
    assert value(table, "shuffled", "phoneme error") > 0.6
    assert value(table, "shuffled", "sync") < value(table, "real", "sync") - 0.3
    assert value(table, "shuffled", "lag within") < 0.7
    assert value(table, "shuffled", "speaker") < value(table, "real", "speaker") - 0.3
    assert value(table, "shuffled", "identity") > 5 * value(table, "real", "identity")
    assert value(table, "shuffled", "retrieval") < 0.2
    assert value(table, "shuffled", "attributes") < value(table, "real", "attributes") - 0.3


@pytest.mark.parametrize("shift", [-5, 3, 6])
def test_shifted_sound_is_found_with_its_shift(judges: Judges, real: list[JudgedClip], shift: int) -> None:
    """The sound comes `shift` frames earlier, so the mouth moves that much after it."""
    samples = round(abs(shift) * FRAME_S * SAMPLE_RATE)
    silence = torch.zeros(samples)
    lags, lost = [], []
    for clip in real:
        moved = torch.cat((clip.sound[samples:], silence) if shift > 0 else (silence, clip.sound[:-samples]))
        scores = judge_clip(replace(clip, sound=moved, speech="", phonemes=None, reference=None), judges)
        lags.append(scores.lag)
        lost.append(scores.sync_best - scores.sync)
    assert np.median(lags) == shift
    assert np.mean([abs(lag - shift) <= 1 for lag in lags]) >= 0.8
    assert np.mean(lost) > 0.2


def test_a_still_mouth_is_not_in_time(judges: Judges, real: list[JudgedClip]) -> None:
    scores = judge_clip(replace(real[0], frames=real[0].frames[:1].expand_as(real[0].frames)), judges)
    assert abs(scores.sync) < 0.3


WRONG_SOUNDS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "noise": lambda sound: 0.1 * torch.randn(len(sound), generator=torch.Generator().manual_seed(0)),
    "silence": torch.zeros_like,
    "backwards": lambda sound: sound.flip(0),
    "half": lambda sound: sound[: len(sound) // 2],
}


@pytest.mark.parametrize("kind", WRONG_SOUNDS)
def test_wrong_sounds_are_not_understood(judges: Judges, real: list[JudgedClip], kind: str) -> None:
    wrong = [replace(clip, sound=WRONG_SOUNDS[kind](clip.sound), frames=None) for clip in real]
    table = evaluate(wrong, judges, kind)
    assert value(table, kind, "word error") > (0.4 if kind == "half" else 0.75)
    assert value(table, kind, "phoneme error") > (0.3 if kind == "half" else 0.6)


def test_hardly_a_word_is_heard_in_noise_and_none_in_silence(judges: Judges) -> None:
    noise = 0.1 * torch.randn(3 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    assert len(judges.phonemes.words(judges.phonemes.listen(noise))) <= 3
    assert judges.phonemes.words(judges.phonemes.listen(torch.zeros(3 * SAMPLE_RATE))) == []


def test_one_wrong_word_is_counted_as_one(judges: Judges, real: list[JudgedClip]) -> None:
    clip = max(real, key=lambda each: len(each.speech.split()))
    said = spoken_words(clip.speech)
    heard = judges.phonemes.listen(clip.sound)
    wrong = judges.phonemes.word_errors(heard, said).wrong
    swapped = ["umbrella" if said[0] != "umbrella" else "window", *said[1:]]
    assert judges.phonemes.word_errors(heard, swapped).wrong == wrong + 1


def test_words_outside_the_lexicon_need_a_pronunciation(judges: Judges, real: list[JudgedClip]) -> None:
    clip = replace(real[0], frames=None, speech=f"{real[0].speech} zyzzyva", reference=None)
    assert judge_clip(clip, judges).words is None
    told = judge_clip(replace(clip, lexicon={"zyzzyva": ["z I z I v @"]}), judges)
    assert told.words.total == len(spoken_words(clip.speech))
    assert told.words.wrong >= 1


def test_swapped_voices_are_told_apart(judges: Judges, real: list[JudgedClip]) -> None:
    own = [judges.speaker.cosine(clip.sound, clip.reference) for clip in real]
    apart = {clip.name: place for place, clip in enumerate(real)}
    other = [
        judges.speaker.cosine(clip.sound, real[(apart[clip.name] + step) % len(real)].reference)
        for clip in real
        for step in (1, 2, 3)
    ]
    assert np.mean(own) > np.mean(other) + 0.35


def test_a_lower_voice_is_heard_in_its_pitch(judges: Judges, real: list[JudgedClip]) -> None:
    from torchaudio.functional import resample

    lower = [replace(clip, sound=resample(clip.sound, 4, 5), frames=None) for clip in real]  # a fifth slower: 3.9
    pitches = [score.pitch for score in evaluate(lower, judges).rows[0].scores]
    assert 2.9 < np.median(pitches) < 4.9


def test_swapped_faces_are_found(judges: Judges, real: list[JudgedClip]) -> None:
    swapped = [replace(clip, frames=other.frames) for clip, other in zip(real, [*real[1:], real[0]], strict=True)]
    scores = evaluate(swapped, judges, "swapped")
    assert value(scores, "swapped", "retrieval") == 0
    own = [face_distance(clip.frames, clip.portrait) for clip in real]
    other = [score.identity for score in scores.rows[0].scores]
    assert min(other) > max(own)


def test_attributes_of_another_face_are_not_seen(judges: Judges, real: list[JudgedClip]) -> None:
    swapped = [replace(clip, frames=other.frames) for clip, other in zip(real, [*real[1:], real[0]], strict=True)]
    assert value(evaluate(swapped, judges, "swapped"), "swapped", "attributes") < 0.55


def test_judges_keep_their_verdict_after_a_clip_was_saved(judges: Judges, real: list[JudgedClip], table: Table) -> None:
    """H.264 and AAC, as every generated clip has been through."""
    from unitalking.evaluation.anchors import as_files

    saved = evaluate(as_files(real), judges, "saved")
    assert value(saved, "saved", "word error") < value(table, "real", "word error") + 0.06
    assert value(saved, "saved", "sync") > value(table, "real", "sync") - 0.05
    assert value(saved, "saved", "best lag") == 0
    assert value(saved, "saved", "speaker") > value(table, "real", "speaker") - 0.1
    assert value(saved, "saved", "retrieval") == 1


# ---- files


def test_a_missing_judge_is_named_with_where_judges_come_from(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"phonemes\.safetensors: no judge there; they lie in assets/judges"):
        load_judges(tmp_path)


def test_another_file_in_a_judges_place_is_refused(tmp_path: Path) -> None:
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "speaker.safetensors").write_bytes((FOLDER / "mouth.safetensors").read_bytes())
    with pytest.raises(JudgeError, match=r"speaker\.safetensors: not a judge of this version"):
        load_judges(tmp_path)
    (tmp_path / "speaker.safetensors").write_bytes(b"nonsense")
    with pytest.raises(JudgeError, match=r"speaker\.safetensors: not a judge of this version"):
        load_judges(tmp_path)
