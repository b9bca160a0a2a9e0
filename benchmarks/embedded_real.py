"""Real held-out clips as files: what embedded_model.py asks for, and what its figures are read against."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch.nn import functional

from unitalking.evaluation.anchors import real_clip
from unitalking.evaluation.measure import spoken_words
from unitalking.evaluation.write_clip import write_clip, write_wav
from unitalking.synthetic.clips import SyntheticClips, SyntheticConfig

# The sound's last audio latent is only encoded where it is filled up: one sample less than a latent.
SILENCE = 511
# The recipe with few words learns clips of at most 2.1 s.
LONGEST_S = {"few": 2.1, "common": 4.1, "unseen": 4.1}
# How many clips are looked through for one with a sentence of its own.
SEARCHED = 20


class NotHeldOutError(Exception):
    """A sentence or word that is to be judged was in the training data."""


def write_real_clips(folder: Path, vocabulary: str, count: int, seed: int, longest_s: float = 0.0) -> list[Path]:
    """Held-out clips as MP4 with sidecar, portrait, voice reference and lossless sound; those that exist are kept.

    Args:
        folder: made if needed.
        vocabulary: of the sentences, one of `LONGEST_S`.
        count: clips, each with a sentence of its own.
        seed: of the clips.
        longest_s: no clip lasts longer; 0: the vocabulary's own length.

    Returns:
        Their sidecars.

    Raises:
        MissingEspeakError: espeak-ng is not installed.
    """
    wanted = {
        "seed": seed,
        "split": "held_out",
        "vocabulary": vocabulary,
        "longest_s": longest_s or LONGEST_S[vocabulary],
    }
    clips = SyntheticClips(SyntheticConfig(clips=SEARCHED * count, **wanted))
    sidecars = []
    for index in _of_own_sentence(clips, count):
        path = folder / f"{vocabulary}-{index}.json"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            clip = real_clip(clips, index)
            write_wav(path.with_suffix(".wav"), functional.pad(clip.sound, (0, SILENCE)))
            write_clip(folder, clip)
        sidecars.append(path)
    return sidecars


def check_held_out(sidecars: Iterable[Path], data: Path) -> None:
    """Refuses sentences, and unseen words, that a data set of cached latents says.

    Args:
        sidecars: of real clips.
        data: the data set's folder.

    Raises:
        NotHeldOutError: names what was found, and where.
    """
    trained = {_spoken(speech) for speech in _trained_speeches(data)}
    words = {word for speech in trained for word in speech.split()}
    for path in sidecars:
        speech = _spoken(json.loads(path.read_text(encoding="utf-8"))["speech"])
        if speech in trained:
            raise NotHeldOutError(f"{path}: {speech!r} is a sentence of {data}; expected one that training never says.")
        known = words.intersection(speech.split()) if path.name.startswith("unseen-") else ()
        if known:
            raise NotHeldOutError(f"{path}: {data} says {', '.join(sorted(known))}; expected words that it never says.")


def _of_own_sentence(clips: SyntheticClips, count: int) -> list[int]:
    """The first `count` clips whose sentences are all different."""
    found: dict[str, int] = {}
    for index in range(len(clips)):
        found.setdefault(_spoken(clips.spec(index).speech), index)
        if len(found) == count:
            break
    return list(found.values())


def _spoken(speech: str) -> str:
    return " ".join(spoken_words(speech))


def _trained_speeches(data: Path) -> Iterator[str]:
    shards = sorted(data.glob("*.tar"))
    if not shards:
        raise NotHeldOutError(f"{data}: no shards (*.tar) there, so nothing can be held against them.")
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    yield json.load(tar.extractfile(member))["speech"]
