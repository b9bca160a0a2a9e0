"""Whisper's word error and WavLM's speaker similarity, from folders as the Hugging Face hub has them. S samples."""

from __future__ import annotations

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
        inputs = self.processor(waveform.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        chosen = {"language": language, "task": "transcribe"} if language else {}
        with torch.no_grad():
            tokens = self.model.generate(
                inputs.input_features, max_new_tokens=LONGEST_TEXT, num_beams=1, do_sample=False, **chosen
            )
        return self.processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()

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
        """(S,) samples at 16 kHz -> (D,), of length 1."""
        inputs = self.extractor(waveform.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.no_grad():
            return functional.normalize(self.model(**inputs).embeddings[0], dim=0)

    def similarity(self, waveform: Tensor, reference: Tensor) -> float:
        """The cosine of two voices, -1 .. 1."""
        return float(self.embed(waveform) @ self.embed(reference))


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
