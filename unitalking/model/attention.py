"""Projections, head norms and the call of the injected attention; joint attention of two streams.

Attention functions take queries (B, Tq, D), keys and values (B, Tk, D) and the number of heads, and return
(B, Tq, D); no mask ever: what may not see what is decided by which keys are passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import UniTalkingConfig
from ..types import CrossKeys, Rope, SeenKeys, Turns
from .rope import apply_rope

AttentionFunction = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def torch_attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """PyTorch's own scaled dot-product attention: (B, Tq, D), (B, Tk, D), (B, Tk, D) -> (B, Tq, D)."""
    split = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (queries, keys, values)]  # (B, N, T, Dh)
    return F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


class Projected(NamedTuple):
    """Queries, keys and values of one stream, each (B, T, D)."""

    queries: Tensor
    keys: Tensor
    values: Tensor


def _rotate(projected: Tensor, heads: int, rope: Rope) -> Tensor:
    """Rotates every head of queries or keys: (B, T, D) -> (B, T, D)."""
    return apply_rope(projected.unflatten(-1, (heads, -1)), rope).flatten(2)


class SelfAttention(nn.Module):
    """Query, key, value and output projections; RMS norms over the full width, before heads are split (Wan2.2)."""

    def __init__(self, config: UniTalkingConfig, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = config.num_heads
        for name in ("q", "k", "v", "o"):
            setattr(self, name, operations.Linear(config.dim, config.dim, **factory))
        self.norm_q = operations.RMSNorm(config.dim, eps=config.eps, **factory)
        self.norm_k = operations.RMSNorm(config.dim, eps=config.eps, **factory)

    def project(self, tokens: Tensor, rope: Rope) -> Projected:
        """Rotated queries and keys, and values, of the normalised and modulated stream (B, T, D)."""
        queries = _rotate(self.norm_q(self.q(tokens)), self.heads, rope)
        keys = _rotate(self.norm_k(self.k(tokens)), self.heads, rope)
        return Projected(queries, keys, self.v(tokens))


class OtherStream(NamedTuple):
    """What a stream sees of the other in `cross` fusion.

    Attributes:
        seen: keys and values of the other stream, from `CrossAttention.project_other`.
        own_rope: rotation of the tokens that attend.
    """

    seen: SeenKeys
    own_rope: Rope


class CrossAttention(nn.Module):
    """Attention to the text, and where the model has them to the voice reference and to the other stream.

    Each has keys and values of its own. All results come from the same queries and are summed before the one output
    projection (UniTalking Sec. 3 for the voice; Ovi for the other stream, the only one with rotations).
    """

    def __init__(self, config: UniTalkingConfig, operations: Any, *, has_reference: bool, **factory: Any) -> None:
        super().__init__()
        self.heads, self.reference_tokens = config.num_heads, config.reference_tokens
        for name in ("q", "k", "v", "o"):
            setattr(self, name, operations.Linear(config.dim, config.dim, **factory))
        self.norm_q = operations.RMSNorm(config.dim, eps=config.eps, **factory)
        self.norm_k = operations.RMSNorm(config.dim, eps=config.eps, **factory)
        self.has_reference = has_reference
        if has_reference:
            self.k_reference = operations.Linear(config.dim, config.dim, **factory)
            self.v_reference = operations.Linear(config.dim, config.dim, **factory)
            self.norm_k_reference = operations.RMSNorm(config.dim, eps=config.eps, **factory)
        if config.fusion == "cross":
            self.pre_attn_norm_fusion = operations.LayerNorm(config.dim, eps=config.eps, **factory)
            self.k_fusion = operations.Linear(config.dim, config.dim, **factory)
            self.v_fusion = operations.Linear(config.dim, config.dim, **factory)
            self.norm_k_fusion = operations.RMSNorm(config.dim, eps=config.eps, **factory)

    def project_conditions(self, text: Tensor, repeats: int, reference: Tensor | None) -> CrossKeys:
        """Keys and values of the text and the reference.

        Args:
            text: (B, rows, D).
            repeats: how many more times the text's last row is there.
            reference: (B, V * reference_tokens, D) or None.
        """
        keys, values = self.norm_k(self.k(text)), self.v(text)
        if repeats:
            keys, values = (torch.cat([part, part[:, -1:].expand(-1, repeats, -1)], dim=1) for part in (keys, values))
        if reference is None or not self.has_reference:
            return CrossKeys(keys, values)
        return CrossKeys(keys, values, self.norm_k_reference(self.k_reference(reference)), self.v_reference(reference))

    def forward(
        self,
        tokens: Tensor,
        keys: CrossKeys,
        voice_present: Tensor | None,
        attention: AttentionFunction,
        other: OtherStream | None = None,
        turns: Turns = (),
    ) -> Tensor:
        """What the conditions, and the other stream, add: tokens (B, T, D) -> (B, T, D); voice_present (B, 1, 1)."""
        queries = self.norm_q(self.q(tokens))
        attended = attention(queries, keys.text_keys, keys.text_values, self.heads)
        if keys.reference_keys is not None:
            voice = self._hear_voices(queries, keys, attention, turns)
            attended = torch.addcmul(attended, voice, voice_present.to(voice.dtype))
        if other is not None:
            rotated = _rotate(queries, self.heads, other.own_rope)
            attended = attended + attention(rotated, other.seen.keys, other.seen.values, self.heads)
        return self.o(attended)

    def _hear_voices(self, queries: Tensor, keys: CrossKeys, attention: AttentionFunction, turns: Turns) -> Tensor:
        """Attention to the voice references, (B, T, D): in every turn to that of its own voice alone."""
        if not turns:
            return attention(queries, keys.reference_keys, keys.reference_values, self.heads)
        voices = [part.split(self.reference_tokens, dim=1) for part in (keys.reference_keys, keys.reference_values)]
        parts = queries.split([tokens for _, tokens in turns], dim=1)
        heard = [
            attention(part, *(own[number] for own in voices), self.heads)
            for part, (number, _) in zip(parts, turns, strict=True)
        ]
        return torch.cat(heard, dim=1)

    def project_other(self, tokens: Tensor, rope: Rope) -> SeenKeys:
        """What this stream sees of the other in `cross` fusion.

        Args:
            tokens: of the other stream after its self-attention, before its cross-attention, (B, T', D).
            rope: rotation of them.
        """
        tokens = self.pre_attn_norm_fusion(tokens)
        keys = _rotate(self.norm_k_fusion(self.k_fusion(tokens)), self.heads, rope)
        return SeenKeys(keys, self.v_fusion(tokens))


def joint_attention(
    video: Projected, audio: Projected, heads: int, attention: AttentionFunction, *, video_sees_audio: bool
) -> tuple[Tensor, Tensor]:
    """One softmax over the keys of both streams, split again into (B, Tv, D) and (B, Ta, D).

    With `video_sees_audio` off (the sound of a given video, TV2A) picture queries meet picture keys alone, which is
    the paper's mask without a dense matrix.
    """
    if not video_sees_audio:
        seen = SeenKeys(video.keys, video.values)
        return attention(*video, heads), attention_beside(seen, audio, heads, attention)
    keys = torch.cat([video.keys, audio.keys], dim=1)
    values = torch.cat([video.values, audio.values], dim=1)
    attended = attention(torch.cat([video.queries, audio.queries], dim=1), keys, values, heads)
    return attended.split([video.queries.shape[1], audio.queries.shape[1]], dim=1)


def attention_beside(seen: SeenKeys, audio: Projected, heads: int, attention: AttentionFunction) -> Tensor:
    """The sound's half of joint attention where the picture does not see it: (B, Ta, D)."""
    keys = torch.cat([seen.keys, audio.keys], dim=1)
    return attention(audio.queries, keys, torch.cat([seen.values, audio.values], dim=1), heads)
