"""One stream: how its latent becomes tokens, its blocks, and how its tokens become a velocity.

The video stream is Wan2.2-TI2V-5B under its own names; the audio stream is the same class with a linear stem, or with
Ovi's convolutions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import UniTalkingConfig
from ..types import Conditions, StreamInput
from .block import StreamBlock, StreamState
from .modulation import modulate, modulation_table, timestep_sinusoid

STEM_KERNEL = 7
STEM_MULTIPLE = 256


class Head(nn.Module):
    """Normalisation with a two-way modulation and the projection to the velocity (Wan2.2)."""

    def __init__(self, config: UniTalkingConfig, operations: Any, *, width: int, **factory: Any) -> None:
        super().__init__()
        self.norm = operations.LayerNorm(config.dim, eps=config.eps, elementwise_affine=False, **factory)
        self.modulation = modulation_table(operations, 2, config.dim, **factory)
        self.head = operations.Linear(config.dim, width, **factory)

    def forward(self, tokens: Tensor, level: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """tokens (B, T, D), level (B, R, D) -> (B, T, width)."""
        shift, scale = self.modulation(level[:, :, None]).unbind(2)
        return self.head(modulate(self.norm(tokens), shift, scale, lengths))


class ExtraPositions(nn.Module):
    """Absolute time and learned spatial positions added to the tokens (ours; off in the full model)."""

    def __init__(self, config: UniTalkingConfig, operations: Any, *, spatial: bool, **factory: Any) -> None:
        super().__init__()
        self.freq_dim = config.freq_dim
        self.time = operations.Linear(config.freq_dim, config.dim, **factory)
        self.grid = config.extra_positions if spatial else None
        if self.grid:
            self.space = operations.Embedding(math.prod(self.grid), config.dim, **factory)

    def forward(self, positions: Tensor, grid: tuple[int, int, int] | None, like: Tensor) -> Tensor:
        """What to add to every token, (T, D), dtype and device of `like`.

        Args:
            positions: (T, 3) of the shared axes, float64 on the CPU.
            grid: (F, H, W) tokens of a video; None for audio.
        """
        sinusoid = timestep_sinusoid(positions[:, 0], self.freq_dim)
        added = self.time(sinusoid.to(like.device, like.dtype))
        if self.grid and grid is not None:
            cells = torch.arange(math.prod(self.grid), device=like.device)
            learned = self.space(cells).unflatten(0, self.grid).movedim(-1, 0)[None].float()  # (1, D, rows, columns)
            learned = F.interpolate(learned, size=grid[1:], mode="bilinear").flatten(2)[0].T  # (H * W, D)
            added = added + learned.to(added.dtype).repeat(grid[0], 1)
        return added


class GatedConvolutions(nn.Module):
    """w2(SiLU(w1 x) * w3 x), a feed-forward layer of which each token sees six neighbours on either side (Ovi)."""

    def __init__(self, dim: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        hidden = -(-(8 * dim // 3) // STEM_MULTIPLE) * STEM_MULTIPLE
        options = {"kernel_size": STEM_KERNEL, "padding": STEM_KERNEL // 2, "bias": False, **factory}
        self.w1 = operations.Conv1d(dim, hidden, **options)
        self.w2 = operations.Conv1d(hidden, dim, **options)
        self.w3 = operations.Conv1d(dim, hidden, **options)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, D, L) -> (B, D, L)."""
        return self.w2(F.silu(self.w1(tokens)) * self.w3(tokens))


class ConvStem(nn.Sequential):
    """Audio latents -> tokens, channels first: (B, C, L) -> (B, D, L) (Ovi)."""

    def __init__(self, channels: int, dim: int, operations: Any, **factory: Any) -> None:
        first = operations.Conv1d(channels, dim, kernel_size=STEM_KERNEL, padding=STEM_KERNEL // 2, **factory)
        super().__init__(first, nn.SiLU(), GatedConvolutions(dim, operations, **factory))


class Stream(nn.Module):
    """Stem, condition embeddings, blocks and head of one modality.

    Args:
        config: sizes that both streams share.
        operations: namespace of Linear, Conv1d, Conv3d, LayerNorm, RMSNorm and Embedding (`torch.nn` or the host's).
        channels: (in, out) of its latent.
        patch_size: (time, height, width) cells of a video token, None for an audio latent of rank 3.
        has_reference: whether its cross-attention takes the voice reference.
    """

    def __init__(
        self,
        config: UniTalkingConfig,
        operations: Any,
        *,
        channels: tuple[int, int],
        patch_size: tuple[int, int, int] | None,
        has_reference: bool,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.has_linear_stem = patch_size is None and config.audio_stem == "linear"
        self.text_len, self.freq_dim = config.text_len, config.freq_dim
        dim, linear = config.dim, operations.Linear
        if patch_size:
            self.patch_embedding = operations.Conv3d(
                channels[0], dim, kernel_size=patch_size, stride=patch_size, **factory
            )
        elif self.has_linear_stem:
            self.patch_embedding = linear(channels[0], dim, **factory)
        else:
            self.patch_embedding = ConvStem(channels[0], dim, operations, **factory)
        self.text_embedding = nn.Sequential(
            linear(config.text_dim, dim, **factory), nn.GELU(approximate="tanh"), linear(dim, dim, **factory)
        )
        self.time_embedding = nn.Sequential(
            linear(config.freq_dim, dim, **factory), nn.SiLU(), linear(dim, dim, **factory)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), linear(dim, 6 * dim, **factory))
        self.extra_positions = None
        if config.extra_positions:
            self.extra_positions = ExtraPositions(config, operations, spatial=patch_size is not None, **factory)
        self.blocks = nn.ModuleList(
            StreamBlock(config, operations, has_reference=has_reference, **factory) for _ in range(config.num_layers)
        )
        self.head = Head(config, operations, width=channels[1] * math.prod(patch_size or (1,)), **factory)

    def embed(self, latent: Tensor) -> Tensor:
        """Latent -> tokens: (B, C, F, H, W) or (B, C, L) -> (B, T, D), time slowest, width fastest."""
        if self.has_linear_stem:
            return self.patch_embedding(latent.transpose(1, 2))
        return self.patch_embedding(latent).flatten(2).transpose(1, 2)

    def begin(self, inputs: StreamInput) -> tuple[StreamState, Tensor]:
        """Tokens and modulation vectors at the first block, and the level (B, R, D) that the head takes."""
        tokens = self.embed(inputs.latent)
        if inputs.extra_positions is not None:
            tokens = tokens + inputs.extra_positions
        level = self.time_embedding(timestep_sinusoid(inputs.noise.timestep, self.freq_dim).to(tokens.dtype))
        vectors = self.time_projection(level).unflatten(-1, (6, -1))
        state = StreamState(tokens, vectors, inputs.noise.lengths, inputs.rope, inputs.conditions, inputs.turns)
        return state, level

    def finish(self, state: StreamState, level: Tensor, latent: Tensor) -> Tensor:
        """Tokens -> velocity of the shape of `latent` (with the head's channels)."""
        out = self.head(state.tokens, level, state.lengths)
        if not self.patch_size:
            return out.transpose(1, 2)
        grid = [size // patch for size, patch in zip(latent.shape[2:], self.patch_size, strict=True)]
        out = out.unflatten(1, grid).unflatten(-1, (*self.patch_size, -1))  # (B, F, H, W, pt, ph, pw, C)
        return out.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def embed_text(self, context: Tensor) -> tuple[Tensor, int]:
        """Projected text: encoded rows (B, rows, text_dim), at most text_len, zero-padded to text_len first.

        The rows of padding are attended to like all others (Wan2.2); after the projection they are not zero, and all
        the same, so that only the first of them is computed.

        Returns:
            (B, rows + 1, D), the last row padding, or (B, text_len, D); and how many more rows are as the last.

        Raises:
            ValueError: more rows than text_len.
        """
        missing = self.text_len - context.shape[1]
        if missing < 0:
            raise ValueError(f"context: got {context.shape[1]} rows, this model takes {self.text_len}; cut it first.")
        return self.text_embedding(F.pad(context, (0, 0, 0, min(missing, 1)))), max(missing - 1, 0)

    def condition(
        self, context: Tensor, reference: Tensor | None, voice_present: Tensor | None, *, keep_keys: bool
    ) -> Conditions:
        """Step-invariant work of the run: projected text, and with `keep_keys` every block's keys and values.

        Args:
            context: (B, rows, text_dim).
            reference: projected references (B, V * reference_tokens, D), or None.
            voice_present: (B,), 1 or 0; needed with `reference`.
        """
        text, repeats = self.embed_text(context)
        if reference is None or not self.blocks[0].cross_attn.has_reference:
            reference = voice_present = None
        present = None if voice_present is None else voice_present[:, None, None]
        keys = None
        if keep_keys:
            keys = tuple(block.cross_attn.project_conditions(text, repeats, reference) for block in self.blocks)
        return Conditions(text, repeats, reference, present, keys)
