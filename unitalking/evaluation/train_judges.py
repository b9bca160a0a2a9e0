"""Trains the judges on real synthetic clips: `python -m unitalking.evaluation.train_judges OUT`.

Nothing generated or decoded is ever heard or seen here. Each file says how its judge was trained and what it gets right
on held-out voices, sentences and faces. One thread on purpose: `--only` gives judges to several processes.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..synthetic.clips import SyntheticClips, SyntheticConfig
from ..synthetic.draws import draw
from ..synthetic.espeak import MissingEspeakError
from ..synthetic.sentences import sentence
from ..synthetic.vocabulary import words
from .judges import LEXICON, PhonemeJudge, read_lexicon, save_judge
from .lessons import Course, Recording, record
from .measure import spoken_words
from .pronunciations import lexicon
from .train_openness import COURSE as OPENNESS_COURSE
from .train_openness import openness_correlations, train_openness
from .train_phonemes import COURSE as PHONEME_COURSE
from .train_phonemes import phoneme_error, train_phonemes
from .train_sight import (
    ATTRIBUTE_COURSE,
    MOUTH_COURSE,
    Sitting,
    attribute_accuracy,
    mouth_correlations,
    sit,
    train_attributes,
    train_mouth,
)
from .train_speaker import COURSE as SPEAKER_COURSE
from .train_speaker import equal_error_rate, train_speaker, voice_cosines
from .words import Errors

log = logging.getLogger(__name__)

RECORDINGS, PEOPLE, CHECKED = 20000, 10000, 120
LEXICON_SENTENCES, SENTENCE_WORDS = 3000, 8
TUNED_ON = 80
# Differences below half a point are chance.
AS_GOOD = 0.005
PENALTIES = tuple(float(penalty) for penalty in range(-2, 8))
COURSES = {
    "phonemes": PHONEME_COURSE,
    "speaker": SPEAKER_COURSE,
    "openness": OPENNESS_COURSE,
    "mouth": MOUTH_COURSE,
    "attributes": ATTRIBUTE_COURSE,
}


@dataclass
class School:
    """What judges learn from, made when the first of them asks for it.

    Attributes:
        clips, people: how many to listen to and to look at.
        seed: of both.
        checked, tuned_on: held-out clips (or people) for the accuracy, and others for the penalty per word.
        sentences: in which the common words' pronunciations are collected.
    """

    clips: int = RECORDINGS
    people: int = PEOPLE
    seed: int = 0
    checked: int = CHECKED
    tuned_on: int = TUNED_ON
    sentences: int = LEXICON_SENTENCES

    @cached_property
    def recordings(self) -> tuple[list[Recording], list[Recording]]:
        """Sound to learn from, and held-out sound."""
        log.info("recording %d clips", self.clips)
        return recorded("train", self.clips, self.seed), recorded("held_out", self.checked, self.seed)

    @cached_property
    def sittings(self) -> tuple[list[Sitting], list[Sitting]]:
        """People to learn from, and held-out people."""
        log.info("drawing %d people", self.people)
        return sit(range(self.people), "train", self.seed), sit(range(self.checked), "held_out", self.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the judges and write them, each with its recipe and accuracy in its metadata."""
    parser = argparse.ArgumentParser(prog="python -m unitalking.evaluation.train_judges", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the judges")
    parser.add_argument("--only", nargs="+", choices=tuple(COURSES), default=tuple(COURSES), help="train some of them")
    parser.add_argument("--clips", type=int, default=RECORDINGS, help="clips to listen to")
    parser.add_argument("--people", type=int, default=PEOPLE, help="drawn people to look at")
    parser.add_argument("--steps", type=int, help="steps of every judge, instead of its own number")
    parser.add_argument("--seed", type=int, default=0, help="of the clips, weights and distortions")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    school = School(chosen.clips, chosen.people, chosen.seed)
    try:
        for name in chosen.only:
            course = COURSES[name]
            train(name, school, replace(course, seed=chosen.seed, steps=chosen.steps or course.steps), chosen.out)
    except MissingEspeakError as error:
        log.error("%s", error)
        return 1
    return 0


def train(name: str, school: School, course: Course, out: Path) -> None:
    """Trains one judge and writes it."""
    network, seconds, facts = TEACHERS[name](school, course)
    if name == "phonemes":
        write_lexicon(out / LEXICON, school.sentences, school.seed)
        judge = PhonemeJudge(network, read_lexicon(out / LEXICON))
        facts["word_penalty"] = tuned_penalty(judge, school.tuned_on, school.seed)
    facts |= {
        "trained_by": "python -m unitalking.evaluation.train_judges",
        "data_seed": school.seed,
        "clips": school.people if name in ("mouth", "attributes") else school.clips,
        "course": asdict(course),
        "seconds": round(seconds),
    }
    save_judge(out / f"{name}.safetensors", network, facts)
    log.info("%s: %s", name, json.dumps(facts))


def _phonemes(school: School, course: Course) -> tuple[nn.Module, float, dict[str, Any]]:
    network, seconds = train_phonemes(*school.recordings, course)
    return network, seconds, {"held_out_phoneme_error": phoneme_error(network, school.recordings[1]).rate}


def _speaker(school: School, course: Course) -> tuple[nn.Module, float, dict[str, Any]]:
    network, seconds = train_speaker(*school.recordings, course)
    same, other = voice_cosines(network, school.recordings[1])
    facts = {"same": float(same.mean()), "other": float(other.mean()), "equal_error": equal_error_rate(same, other)}
    return network, seconds, {f"held_out_{name}": value for name, value in facts.items()}


def _openness(school: School, course: Course) -> tuple[nn.Module, float, dict[str, Any]]:
    network, seconds = train_openness(*school.recordings, course)
    return (
        network,
        seconds,
        {"held_out_correlation": float(np.mean(openness_correlations(network, school.recordings[1])))},
    )


def _mouth(school: School, course: Course) -> tuple[nn.Module, float, dict[str, Any]]:
    network, seconds = train_mouth(*school.sittings, course)
    return network, seconds, {"held_out_correlation": float(np.mean(mouth_correlations(network, school.sittings[1])))}


def _attributes(school: School, course: Course) -> tuple[nn.Module, float, dict[str, Any]]:
    network, seconds = train_attributes(*school.sittings, course)
    return network, seconds, {"held_out_accuracy": attribute_accuracy(network, school.sittings[1])}


TEACHERS: dict[str, Callable[[School, Course], tuple[nn.Module, float, dict[str, Any]]]] = {
    "phonemes": _phonemes,
    "speaker": _speaker,
    "openness": _openness,
    "mouth": _mouth,
    "attributes": _attributes,
}


def recorded(split: str, count: int, seed: int) -> list[Recording]:
    """Clips of the whole vocabulary and of the common words in turn."""
    halves = []
    for vocabulary in ("open", "common"):
        clips = SyntheticClips(SyntheticConfig(clips=(count + 1) // 2, seed=seed, split=split, vocabulary=vocabulary))
        halves.append(record(clips, range(len(clips))))
    return [clip for pair in zip(*halves, strict=True) for clip in pair]


def write_lexicon(path: Path, sentences: int, seed: int) -> None:
    """The pronunciations of the common words, alone and among others."""
    generator = draw("lexicon", seed)
    spoken = [sentence(generator, "common", "train", SENTENCE_WORDS) for _ in range(sentences)]
    entries = lexicon({word.lower() for word in words("common").all}, spoken)
    lines = ",\n".join(f"{json.dumps(word)}: {json.dumps(said)}" for word, said in entries.items())
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def tuned_penalty(judge: PhonemeJudge, count: int, seed: int) -> float:
    """The middle one of the penalties per word with the fewest errors on real held-out clips of common words.

    They are other clips than the tables', and real ones: no generated clip has a say in it.
    """
    config = SyntheticConfig(clips=count, seed=seed + 1, split="held_out", vocabulary="common")
    clips = SyntheticClips(config)
    heard = [
        (judge.listen(clips.speech(index).samples), spoken_words(clips.spec(index).speech)) for index in range(count)
    ]
    rates = {}
    for penalty in PENALTIES:
        each = replace(judge, word_penalty=penalty)
        errors = [each.word_errors(log_probs, said) or Errors(0, 0) for log_probs, said in heard]
        rates[penalty] = sum(error.wrong for error in errors) / sum(error.total for error in errors)
        log.info("word penalty %.1f: word error %.4f", penalty, rates[penalty])
    good = [penalty for penalty, rate in rates.items() if rate <= min(rates.values()) + AS_GOOD]
    return good[(len(good) - 1) // 2]


if __name__ == "__main__":
    sys.exit(main())
