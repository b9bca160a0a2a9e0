"""The byte-level text encoder of a bundle as the host's CLIP, so that stock text nodes take it."""

from __future__ import annotations

import logging
from typing import Any

import comfy.sd
import comfy.supported_models_base
import torch
from torch import Tensor, nn

from ..unitalking.checkpoint.files import ModelFile, load_strict
from ..unitalking.checkpoint.parts import build_part, part_config
from ..unitalking.codec.text_encoder import END_ID, expected_times, tokenize
from ..unitalking.prompt import compose_prompt
from ..unitalking.speech_timing import LEAD_S, TAIL_S, speech_duration_s

TOKENS_KEY = "unitalking_bytes"
SPOKEN_KEY = "unitalking_spoken"  # two tokens: from when on the speech may be spoken, and when it ends (0: as planned)

logger = logging.getLogger(__name__)


class ByteTokenizer:
    """Text -> bytes and the time at which each is expected to be heard, in the host's token format.

    A token is (id, weight, expected time in s); brackets are text, never weights. Nothing is cut here: whoever wires
    the text says what does not fit.
    """

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        pass

    def tokenize_with_weights(
        self, text: str, return_word_ids: bool = False, start_s: float = 0.0, end_s: float = 0.0, **options: Any
    ) -> dict[str, list]:
        """One chunk of tokens, as long as the text; `start_s` seconds of the clip are given before it is spoken, and it
        ends at `end_s`, 0 standing for as planned."""
        room = len(text.encode("utf-8", "replace")) + 1
        ids, _ = tokenize(text, room)
        tokens = [(token, 1.0, time) for token, time in zip(ids, expected_times(text, room), strict=True)]
        spoken = [(END_ID, 1.0, start_s), (END_ID, 1.0, end_s)]
        return {TOKENS_KEY: [tokens]} | ({SPOKEN_KEY: [spoken]} if start_s or end_s else {})

    def untokenize(self, token_weight_pair: list) -> list:
        """Tokens with the byte that each stands for."""
        return [(token, bytes([token[0]]) if token[0] < END_ID else b"") for token in token_weight_pair]

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: bytes need no vocabulary."""
        return {}


class ByteEncoder(nn.Module):
    """The text encoder behind the host's calls.

    Args:
        file: the bundle that it comes from.
        device, dtype, model_options: from the host; the encoder is small and always runs in float32.
    """

    def __init__(self, file: ModelFile, device: Any = None, dtype: Any = None, model_options: Any = None) -> None:
        super().__init__()
        self.max_tokens = part_config(file.config, "text_encoder").max_bytes
        self.encoder = build_part(file.config, "text_encoder", device=device, dtype=torch.float32)
        self.encoder.eval().requires_grad_(False)
        self.name = f"{file.name} (text encoder)"
        self.dtypes = {torch.float32}
        # Plain modules: the host must load them whole, not layer by layer.
        self.disable_offload = True

    def set_clip_options(self, options: dict[str, Any]) -> None:
        """Options are for encoders with several layers to choose from."""

    def reset_clip_options(self) -> None:
        """See `set_clip_options`."""

    def encode_token_weights(self, tokens: dict[str, list]) -> tuple[Tensor, None]:
        """Context of one prompt, (1, rows, D), one row per token; no pooled output."""
        ids, times = self._row(tokens)
        return self.encoder(ids, times, self._spoken(tokens, ids, times)), None

    def speech_s(self, tokens: dict[str, list]) -> float:
        """How long a clip must be to hold the speech of a prompt, in seconds; 0 if nothing is spoken."""
        with torch.no_grad():
            end = float(self.encoder.clock(*self._row(tokens)).max())
        return end + TAIL_S if end > LEAD_S + 1e-6 else 0.0

    def _spoken(self, tokens: dict[str, list], ids: Tensor, times: Tensor) -> Tensor | None:
        """When the speech begins and ends, (1, 2) seconds, where it is told."""
        if SPOKEN_KEY not in tokens:
            return None
        start_s, end_s = (token[2] for token in tokens[SPOKEN_KEY][0])
        planned = self.encoder.clock(ids, times).amax(1) + start_s
        ends = torch.full_like(planned, end_s) if end_s else planned
        return torch.stack([torch.full_like(ends, LEAD_S + start_s), ends], dim=1)

    def _row(self, tokens: dict[str, list]) -> tuple[Tensor, Tensor]:
        row = tokens[TOKENS_KEY][0]
        if len(row) > self.max_tokens:
            logger.warning("UniTalking: the text is %d bytes too long and was cut.", len(row) - self.max_tokens)
            row = [*row[: self.max_tokens - 1], row[-1]]
        device = self.encoder.embedding.weight.device
        ids = torch.tensor([[token[0] for token in row]], device=device)
        return ids, torch.tensor([[token[2] for token in row]], device=device)

    def load_sd(self, tensors: dict[str, Tensor]) -> tuple[list[str], list[str]]:
        """Loads all weights or raises."""
        load_strict(self.encoder, {key: value.float() for key, value in tensors.items()}, self.name)
        return [], []


def speech_s(clip: comfy.sd.CLIP, prompt: str) -> float | None:
    """How long a clip must be to hold the speech of a prompt, in seconds; None where the text encoder has no clock."""
    encoder = clip.cond_stage_model
    return encoder.speech_s(clip.tokenize(prompt)) if isinstance(encoder, ByteEncoder) else None


def planned_s(clip: comfy.sd.CLIP, speech: str) -> float:
    """How long a clip must be to hold a speech, in seconds: as the text encoder says, or `speech_timing`."""
    known = speech_s(clip, compose_prompt(speech))
    return speech_duration_s(speech) if known is None else known


def load_bundled_clip(file: ModelFile) -> comfy.sd.CLIP:
    """The text encoder of a bundle as the host's CLIP.

    Raises:
        CheckpointError: tensors that do not fit the config.
    """
    tensors = file.parts["text_encoder"]
    target = comfy.supported_models_base.ClipTarget(ByteTokenizer, ByteEncoder)
    target.params = {"file": file}
    parameters = sum(value.numel() for value in tensors.values())
    return comfy.sd.CLIP(target, parameters=parameters, state_dict=[tensors])
