"""What goes into the network and what step-invariant work it is given, every field with its shape.

Axes: B batch, T tokens of one stream (Tv video, Ta audio), R runs of equal noise level, D width, N heads, Dh head
width, C latent channels, F latent frames, H W latent grid, L audio latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Who speaks when: (number of the voice, tokens) of each turn, which sum to the tokens of the sound.
Turns = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class NoiseLevels:
    """Noise level of every token of a stream, run-length encoded: held tokens are one run, noisy ones another.

    Attributes:
        timestep: 1000 * sigma of each run, (B, R), at least float32; 0 is held clean.
        lengths: tokens of each run; they sum to the stream's tokens and are the same for the whole batch.
    """

    timestep: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def from_tokens(cls, timestep: Tensor, tokens_per_entry: int = 1) -> NoiseLevels:
        """Runs of a per-token or per-frame table.

        Args:
            timestep: (B, entries), on the CPU (the runs become Python numbers).
            tokens_per_entry: tokens that share an entry: of a latent frame for video, 1 for audio.
        """
        starts = run_starts(timestep)
        ends = [*starts[1:], timestep.shape[1]]
        lengths = tuple((end - start) * tokens_per_entry for start, end in zip(starts, ends, strict=True))
        return cls(timestep[:, starts], lengths)

    @classmethod
    def uniform(cls, timestep: Tensor, tokens: int) -> NoiseLevels:
        """One noise level for all tokens: timestep (B,)."""
        return cls(timestep[:, None], (tokens,))


def run_starts(table: Tensor) -> list[int]:
    """Where the columns of a (B, entries) table on the CPU change, in any row; the first is 0."""
    changes = (table[:, 1:] != table[:, :-1]).any(0).nonzero().flatten() + 1
    return [0, *changes.tolist()]


@dataclass(frozen=True)
class Rope:
    """Rotation of every token: cosines and sines of its angles, (T, Dh / 2), at least float32."""

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True)
class CrossKeys:
    """Keys and values of one block's cross-attention, (B, rows, D): of the text, and of the reference if any."""

    text_keys: Tensor
    text_values: Tensor
    reference_keys: Tensor | None = None
    reference_values: Tensor | None = None


@dataclass(frozen=True)
class SeenKeys:
    """What one block of the sound sees of the picture: rotated keys, and values, (B, Tv, D)."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Conditions:
    """What a stream is conditioned on, the same at every step of a run.

    Attributes:
        text: projected text, (B, rows, D).
        text_repeats: how many more times the last row of the text is attended to: rows + text_repeats = text_len.
        reference: projected voice references, (B, V * reference_tokens, D), None: nobody in the batch has a voice.
        voice_present: 1 or 0 per sample, (B, 1, 1); multiplies what the reference adds. Needed with `reference`.
        keys: keys and values of every block, or None to have them computed anew at each step (less memory).
    """

    text: Tensor
    text_repeats: int = 0
    reference: Tensor | None = None
    voice_present: Tensor | None = None
    keys: tuple[CrossKeys, ...] | None = None


@dataclass(frozen=True)
class StreamInput:
    """One stream of one call.

    Attributes:
        latent: noisy latent, normalised: video (B, C, F, H, W), audio (B, C, L).
        noise: noise level of every token.
        rope: rotation of every token.
        conditions: text and voice.
        extra_positions: what is added to every token, (T, D); None where the model has none.
        turns: which of several voices each token hears; empty: one voice for the whole clip.
    """

    latent: Tensor
    noise: NoiseLevels
    rope: Rope
    conditions: Conditions
    extra_positions: Tensor | None = None
    turns: Turns = ()


def wide(device: torch.device) -> torch.dtype:
    """The widest float that every device of this kind computes in: Apple's and some others lack float64."""
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32
