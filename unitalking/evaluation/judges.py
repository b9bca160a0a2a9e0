"""The trained judges: what they need, what they say, and the folder they are kept in.

    phonemes.safetensors     phoneme scores by CTC, and the penalty per word
    lexicon.json             pronunciations of the 1,000 common words
    speaker.safetensors      an embedding of the voice
    openness.safetensors     how far the mouth should be open, from the sound
    mouth.safetensors        how far the mouth is open, from the pixels
    attributes.safetensors   what a drawn face looks like

Trained by `python -m unitalking.evaluation.train_judges` on real synthetic clips, never on generated ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..mapping import from_mapping, to_mapping
from ..synthetic.phonemes import PHONEMES, phoneme_numbers
from .attributes import AttributeConfig, AttributeJudge, AttributeNetwork
from .mouth import MouthConfig, MouthJudge, MouthNetwork
from .networks import ClipJudge, FrameJudge, ListenerConfig
from .sound import FRAMES_PER_S, features
from .words import Errors, Lexicon, Pronunciation, WordNet, greedy, phoneme_errors, word_errors

METADATA_KEY = "judge"
LEXICON = "lexicon.json"
WORD_PENALTY = 2.0


class JudgeError(ValueError):
    """A judge that is missing or not one, with its file and what to do."""


@dataclass(frozen=True)
class PhonemeJudge:
    """Hears phonemes, and words of a lexicon.

    Attributes:
        network: scores of len(PHONEMES) + 1 symbols per mel frame, the blank first.
        lexicon: the words that it knows without being told.
        word_penalty: subtracted from the logarithm of the probability for every word.
    """

    network: FrameJudge
    lexicon: Lexicon
    word_penalty: float = WORD_PENALTY

    def __post_init__(self) -> None:
        object.__setattr__(self, "_net", WordNet(self.lexicon))

    @torch.no_grad()
    def listen(self, sound: Tensor) -> np.ndarray:
        """(S,) at 16 kHz -> (F, symbols), natural logarithms of probabilities."""
        return self.network(features(sound[None]))[0].float().log_softmax(dim=1).numpy()

    def phonemes(self, log_probs: np.ndarray) -> list[str]:
        """The phonemes heard."""
        return [PHONEMES[number - 1] for number in greedy(log_probs)]

    def phoneme_errors(self, log_probs: np.ndarray, said: Sequence[str]) -> Errors:
        """Phonemes that differ from the mnemonics in `said`."""
        return phoneme_errors(greedy(log_probs), phoneme_numbers(said))

    def words(self, log_probs: np.ndarray, more: Lexicon | None = None) -> list[Pronunciation]:
        """The words heard, of the judge's lexicon and `more`."""
        net = WordNet({**self.lexicon, **more}) if more else self._net
        return net.decode(log_probs, self.word_penalty)

    def word_errors(self, log_probs: np.ndarray, said: Sequence[str], more: Lexicon | None = None) -> Errors | None:
        """Words that differ from `said`; None where one of them is in neither lexicon."""
        known = {**self.lexicon, **(more or {})}
        if any(word not in known for word in said):
            return None
        return word_errors(self.words(log_probs, more), said, known)

    def spell(self, words: Sequence[Pronunciation]) -> str:
        """Words for reading; a pronunciation of several words is shown as the first of them."""
        spelled: dict[Pronunciation, str] = {}
        for word, sayings in self.lexicon.items():
            for said in sayings:
                spelled.setdefault(tuple(said), word)
        return " ".join(spelled.get(said, "-".join(PHONEMES[number - 1] for number in said)) for said in words)


@dataclass(frozen=True)
class SpeakerJudge:
    """Tells voices apart."""

    network: ClipJudge

    @torch.no_grad()
    def embed(self, sound: Tensor) -> Tensor:
        """(S,) at 16 kHz -> (D,), of length 1."""
        return self.network(features(sound[None]))[0]

    def cosine(self, sound: Tensor, reference: Tensor) -> float:
        """How alike two voices are, -1 .. 1."""
        return float(self.embed(sound) @ self.embed(reference))


@dataclass(frozen=True)
class OpennessJudge:
    """Hears how far the mouth is open."""

    network: FrameJudge

    @torch.no_grad()
    def track(self, sound: Tensor, frames: int, fps: float) -> np.ndarray:
        """The opening, nominally 0 .. 1, at the time k / fps of each picture; (S,) at 16 kHz -> (frames,)."""
        return at_picture_times(self.network(features(sound[None]))[0, :, 0].float(), frames, fps).numpy()


@dataclass(frozen=True)
class Judges:
    """All judges together."""

    phonemes: PhonemeJudge
    speaker: SpeakerJudge
    openness: OpennessJudge
    mouth: MouthJudge
    attributes: AttributeJudge


def at_picture_times(track: Tensor, frames: int, fps: float) -> Tensor:
    """A track of mel frames read between them at the times of pictures; (..., F) -> (..., frames)."""
    position = torch.arange(frames) / fps * FRAMES_PER_S - 0.5  # mel frame i is centred half a hop after its start
    position = position.clamp(0, track.shape[-1] - 1)
    below = position.floor().long().clamp_max(max(0, track.shape[-1] - 2))
    above = (below + 1).clamp_max(track.shape[-1] - 1)
    share = position - below
    return track[..., below] * (1 - share) + track[..., above] * share


def load_judges(folder: Path) -> Judges:
    """The judges in a folder.

    Raises:
        JudgeError: one that is missing, or a file that is no judge.
    """
    phonemes, facts = read_judge(folder / "phonemes.safetensors", FrameJudge, ListenerConfig)
    speaker, _ = read_judge(folder / "speaker.safetensors", ClipJudge, ListenerConfig)
    openness, _ = read_judge(folder / "openness.safetensors", FrameJudge, ListenerConfig)
    mouth, _ = read_judge(folder / "mouth.safetensors", MouthNetwork, MouthConfig)
    attributes, _ = read_judge(folder / "attributes.safetensors", AttributeNetwork, AttributeConfig)
    lexicon = read_lexicon(folder / LEXICON)
    return Judges(
        PhonemeJudge(phonemes, lexicon, float(facts.get("word_penalty", WORD_PENALTY))),
        SpeakerJudge(speaker),
        OpennessJudge(openness),
        MouthJudge(mouth),
        AttributeJudge(attributes),
    )


def save_judge(path: Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """A judge in fp16 with its config and what it was trained on in the metadata."""
    from safetensors.torch import save_file

    metadata = {METADATA_KEY: json.dumps({"config": to_mapping(network.config), **facts})}
    tensors = {
        name: value.detach().to(torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(tensors, str(path), metadata)


def read_judge(path: Path, kind: type[nn.Module], config: type) -> tuple[Any, dict[str, Any]]:
    """A judge in fp32, and the facts beside it.

    Raises:
        JudgeError: not there, or not a judge of this kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as opened:
            facts = json.loads((opened.metadata() or {})[METADATA_KEY])
            network = kind(from_mapping(config, facts.pop("config")))
            network.load_state_dict({name: opened.get_tensor(name).float() for name in opened.keys()})
    except FileNotFoundError as error:
        raise JudgeError(
            f"{path}: no judge there; they lie in assets/judges of the pack, or are made by "
            "`python -m unitalking.evaluation.train_judges FOLDER`."
        ) from error
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise JudgeError(f"{path}: not a judge of this version ({error}); train it again.") from error
    return network.eval().requires_grad_(False), facts


def read_lexicon(path: Path) -> dict[str, list[Pronunciation]]:
    """{word: pronunciations} from a JSON file of {word: ["p1 p2 ...", ...]} in espeak's mnemonics.

    Raises:
        JudgeError: not there, or not a lexicon.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {word: lexicon_entry(said) for word, said in entries.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise JudgeError(f"{path}: no lexicon ({error}).") from error


def lexicon_entry(sayings: Sequence[str | Sequence[str]]) -> list[Pronunciation]:
    """Pronunciations given as "p1 p2 ..." or as lists of mnemonics."""
    split = [said.split() if isinstance(said, str) else said for said in sayings]
    return [tuple(phoneme_numbers(said)) for said in split]
