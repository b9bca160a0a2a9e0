"""A byte-level text encoder that knows when each byte is expected to be spoken. B prompts, N bytes, D width.

A small model does not find the alignment of text and speech by itself in reasonable training: with the expected times
as an input it does, the sooner the more exact they are. Source: ours, for the small model a bundle carries; the paper's
text encoder is UMT5-xxl.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..speech_timing import LEAD_S, character_times
from .checks import positive_integer, positive_number

END_ID = 256
PAD_ID = 257
NUM_IDS = 258
SINUSOID_PERIOD = 10000.0
FEED_FORWARD_FACTOR = 4
CLOCK_LAYERS, CLOCK_TAPS = 4, 7
BYTE_S = 0.06
HEARD_STD = 0.15


@dataclass(frozen=True)
class TextEncoderConfig:
    """A byte-level text encoder.

    Attributes:
        dim: width of the context it makes, D.
        layers: transformer layers.
        heads: attention heads.
        max_bytes: longest prompt in bytes, end token included.
        audio_latents_per_s: the unit in which it sees expected times.
    """

    dim: int
    layers: int
    heads: int
    max_bytes: int
    audio_latents_per_s: float

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "max_bytes"):
            positive_integer(f"TextEncoderConfig.{name}", getattr(self, name))
        positive_number("TextEncoderConfig.audio_latents_per_s", self.audio_latents_per_s)
        if self.dim % 2 or self.dim % self.heads:
            raise ValueError(
                f"TextEncoderConfig.dim: got {self.dim}, expected an even multiple of heads = {self.heads}."
            )


def tokenize(text: str, max_bytes: int) -> tuple[tuple[int, ...], bool]:
    """The ids of a text: its UTF-8 bytes, then the end token.

    Args:
        text: any text; may be empty.
        max_bytes: at most this many ids. A longer text is cut between two characters, and the end token kept.

    Returns:
        ids (not padded; `PAD_ID` fills batches), and whether the text was cut.
    """
    positive_integer("max_bytes", max_bytes)
    data = text.encode("utf-8", "replace")
    kept = data[: max_bytes - 1].decode("utf-8", "ignore").encode("utf-8")
    return (*kept, END_ID), len(kept) < len(data)


def expected_times(text: str, max_bytes: int) -> tuple[float, ...]:
    """The expected time of each id of `tokenize(text, max_bytes)`, in seconds.

    Bytes outside the spoken part (`<S>...<E>`; the whole text if it has no such tags) are at 0, the end token at the
    end of the speech.
    """
    times, end = character_times(text)
    of_bytes = [time for character, time in zip(text, times, strict=True) for _ in character.encode("utf-8", "replace")]
    ids, _ = tokenize(text, max_bytes)
    return (*of_bytes[: len(ids) - 1], end)


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward; (B, N, D) -> (B, N, D)."""

    def __init__(self, dim: int, heads: int, **kwargs: Any) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, **kwargs)
        self.qkv = nn.Linear(dim, 3 * dim, **kwargs)
        self.o = nn.Linear(dim, dim, **kwargs)
        self.norm2 = nn.LayerNorm(dim, **kwargs)
        self.ffn_in = nn.Linear(dim, FEED_FORWARD_FACTOR * dim, **kwargs)
        self.ffn_out = nn.Linear(FEED_FORWARD_FACTOR * dim, dim, **kwargs)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """`mask` (B, 1, 1, N) is added to the attention scores."""
        qkv = self.qkv(self.norm1(hidden)).unflatten(2, (3, self.heads, -1))  # (B, N, 3, heads, D / heads)
        q, k, v = qkv.transpose(1, 3).unbind(2)  # each (B, heads, N, D / heads)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        hidden = hidden + self.o(attended.transpose(1, 2).flatten(2))
        return hidden + self.ffn_out(functional.gelu(self.ffn_in(self.norm2(hidden))))


class SpeechClock(nn.Module):
    """When each byte is spoken, from how long each lasts: convolutions over the bytes, half as wide as the encoder.

    Source: ours, the paper does not say.
    """

    def __init__(self, config: TextEncoderConfig, **kwargs: Any) -> None:
        super().__init__()
        dim = config.dim // 2
        self.embedding = nn.Embedding(NUM_IDS, dim, **kwargs)
        self.layers = nn.ModuleList(
            nn.Conv1d(dim, dim, CLOCK_TAPS, padding=CLOCK_TAPS // 2, **kwargs) for _ in range(CLOCK_LAYERS)
        )
        self.duration = nn.Linear(dim, 1, **kwargs)

    def forward(self, ids: Tensor, times: Tensor, spoken: Tensor | None = None) -> Tensor:
        """Exact times for rough ones.

        Args:
            ids: (B, N), integers; `PAD_ID` where a prompt is shorter than N.
            times: (B, N), what `expected_times` says; 0 where a byte is not spoken.
            spoken: (B, 2), when the speech begins and ends in seconds, where a recording tells; None, or NaN for one of
                the prompts: after a lead of 0.1 s, for as long as it takes.

        Returns:
            (B, N) seconds: the middle of every spoken byte, the end of the speech at the end token, else 0.
        """
        written = ids != PAD_ID
        hidden = self.embedding(ids)
        for layer in self.layers:
            shown = (hidden * written[..., None]).transpose(1, 2)
            hidden = hidden + functional.gelu(layer(shown)).transpose(1, 2)
        is_end = ids == END_ID
        is_spoken = (times > 0) & written & ~is_end
        lasts = self.duration(hidden)[..., 0].to(torch.promote_types(hidden.dtype, torch.float32))
        lasts = functional.softplus(lasts + math.log(math.expm1(BYTE_S))) * is_spoken
        ends = lasts.cumsum(1)
        natural = torch.stack((torch.full_like(ends[:, -1], LEAD_S), LEAD_S + ends[:, -1]), dim=1)
        begins, stops = natural.unbind(1) if spoken is None else spoken.where(spoken.isfinite(), natural).unbind(1)
        scale = (stops - begins) / ends[:, -1].clamp(min=BYTE_S)
        middles = begins[:, None] + (ends - lasts / 2) * scale[:, None]
        return torch.where(is_end, stops[:, None], middles * is_spoken)


class ByteTextEncoder(nn.Module):
    """Bytes and their expected times to a context for the cross-attention."""

    def __init__(
        self,
        config: TextEncoderConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        self.config = config
        self.clock = SpeechClock(config, **kwargs)
        self.embedding = nn.Embedding(NUM_IDS, config.dim, **kwargs)
        # Two inputs, because bytes that are not spoken all have time 0 and still have an order.
        self.time = nn.Linear(config.dim, config.dim, **kwargs)
        self.position = nn.Linear(config.dim, config.dim, **kwargs)
        self.layers = nn.ModuleList(EncoderLayer(config.dim, config.heads, **kwargs) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim, **kwargs)
        # Once more at the end: what has to pronounce keeps times to 50 ms only, and attention has to find 30 ms.
        self.heard = nn.Linear(config.dim, config.dim, **kwargs)
        nn.init.normal_(self.heard.weight, std=HEARD_STD)

    def forward(self, ids: Tensor, times: Tensor, spoken: Tensor | None = None) -> Tensor:
        """The context of a batch of prompts.

        Args:
            ids: (B, N), integers; `PAD_ID` where a prompt is shorter than N.
            times: (B, N), what `expected_times` says; only where it is 0 matters, since the clock knows better.
            spoken: (B, 2) seconds, see `SpeechClock`.

        Returns:
            (B, N, D); rows of padding are exactly zero, and change nothing else.

        Raises:
            ValueError: `times` does not have the shape of `ids`, or N exceeds `config.max_bytes`.
        """
        if ids.ndim != 2 or times.shape != ids.shape:
            raise ValueError(
                f"text: got ids {tuple(ids.shape)} and times {tuple(times.shape)}, expected (prompts, bytes) twice."
            )
        if ids.shape[1] > self.config.max_bytes:
            raise ValueError(f"text: got {ids.shape[1]} ids, expected at most {self.config.max_bytes}; cut the prompt.")
        dtype = self.embedding.weight.dtype
        times = self.clock(ids, times, spoken)
        padding = ids == PAD_ID
        positions = torch.arange(ids.shape[1], device=ids.device)
        clock = self._sinusoid(times * self.config.audio_latents_per_s).to(dtype)
        hidden = self.embedding(ids) + self.time(clock)
        hidden = hidden + self.position(self._sinusoid(positions).to(dtype))
        mask = torch.zeros(padding.shape, dtype=dtype, device=ids.device)
        mask = mask.masked_fill(padding, torch.finfo(dtype).min)[:, None, None]
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return (self.norm(hidden) + self.heard(clock)).masked_fill(padding[..., None], 0)

    def _sinusoid(self, positions: Tensor) -> Tensor:
        """[cos | sin] of positions x frequencies, in at least fp32; (...,) -> (..., D)."""
        dtype = torch.promote_types(positions.dtype, torch.float32)
        exponents = torch.arange(self.config.dim // 2, dtype=torch.float64) / (self.config.dim // 2)
        frequencies = torch.exp(-math.log(SINUSOID_PERIOD) * exponents).to(dtype).to(positions.device)
        angles = positions.to(dtype)[..., None] * frequencies
        return torch.cat((angles.cos(), angles.sin()), dim=-1)
