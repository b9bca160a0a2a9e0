"""Whisper's word error and WavLM's speaker similarity, from folders as the Hugging Face hub has them. S samples."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..words import Errors, edit_distance

SAMPLE_RATE = 16000
WHISPER, WAVLM = "whisper", "wavlm"
FILES = {
    WHISPER: "a Whisper model, for example openai/whisper-large-v3",
    WAVLM: "a WavLM model with its x-vector head, for example microsoft/wavlm-base-plus-sv",
}
LONGEST_TEXT = 224
# Whisper hears 30 s at once; a longer recording is cut where the last seconds of each part are quietest. WavLM's memory
# grows with the square of the length.
LONGEST, CUT_WITHIN, QUIET = 30 * SAMPLE_RATE, 5 * SAMPLE_RATE, SAMPLE_RATE // 10
# Below it WavLM's layers have nothing to work on.
SHORTEST_VOICE = SAMPLE_RATE // 2
_WORD = re.compile(r"[\w']+")


class WhisperWords:
    """Transcribes English or any other language that the model knows."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: holds config.json, model.safetensors, the tokenizer and preprocessor_config.json.

        Raises:
            FileNotFoundError: no model there.
        """
        transformers = _transformers()
        _require(folder, WHISPER)
        self.processor = transformers.WhisperProcessor.from_pretrained(folder, local_files_only=True)
        self.model = _from_folder(transformers.WhisperForConditionalGeneration, folder)

    def transcribe(self, waveform: Tensor, language: str | None = None) -> str:
        """What is said in (S,) samples at 16 kHz; the language is recognised where none is given."""
        chosen = {"language": language, "task": "transcribe"} if language else {}
        texts = []
        for part in cut_at_pauses(waveform):
            inputs = self.processor(part.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
            with torch.no_grad():
                tokens = self.model.generate(
                    inputs.input_features, max_new_tokens=LONGEST_TEXT, num_beams=1, do_sample=False, **chosen
                )
            texts.append(self.processor.batch_decode(tokens, skip_special_tokens=True)[0].strip())
        return " ".join(texts)

    def errors(self, waveform: Tensor, said: str, language: str | None = None) -> Errors:
        """Words that differ from what should be said, case and punctuation aside."""
        return text_errors(self.transcribe(waveform, language), said)


class WavLMVoices:
    """Embeds a voice; similar voices have a high cosine."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: holds config.json, model.safetensors and preprocessor_config.json.

        Raises:
            FileNotFoundError: no model there.
        """
        transformers = _transformers()
        _require(folder, WAVLM)
        self.extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self.model = _from_folder(transformers.WavLMForXVector, folder)

    def embed(self, waveform: Tensor) -> Tensor:
        """(S,) samples at 16 kHz -> (D,), of length 1; of a long recording the mean over equal parts."""
        found = []
        for part in waveform.chunk(math.ceil(len(waveform) / LONGEST)):
            inputs = self.extractor(part.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
            with torch.no_grad():
                found.append(functional.normalize(self.model(**inputs).embeddings[0], dim=0))
        return functional.normalize(torch.stack(found).mean(dim=0), dim=0)

    def similarity(self, waveform: Tensor, reference: Tensor) -> float:
        """The cosine of two voices, -1 .. 1."""
        return float(self.embed(waveform) @ self.embed(reference))


def cut_at_pauses(waveform: Tensor) -> list[Tensor]:
    """(S,) samples at 16 kHz in parts of at most 30 s, cut in the quietest tenth of each part's last 5 s."""
    parts = []
    while len(waveform) > LONGEST:
        last = waveform[LONGEST - CUT_WITHIN : LONGEST].unflatten(0, (-1, QUIET))
        cut = LONGEST - CUT_WITHIN + int(last.square().mean(1).argmin()) * QUIET + QUIET // 2
        parts.append(waveform[:cut])
        waveform = waveform[cut:]
    return [*parts, waveform]


def text_errors(heard: str, said: str) -> Errors:
    """Word errors between two texts, case and punctuation aside."""
    heard_words, said_words = (_WORD.findall(text.lower().replace("’", "'")) for text in (heard, said))
    return Errors(edit_distance(heard_words, said_words, lambda one, other: one == other), len(said_words))


def _from_folder(model: Any, folder: Path) -> Any:
    return model.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()


def _require(folder: Path, kind: str) -> None:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder}: expected {FILES[kind]}, saved as a folder with config.json and its weights."
        )


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError("full-size metrics need transformers: pip install -r requirements-train.txt") from error
    return transformers
