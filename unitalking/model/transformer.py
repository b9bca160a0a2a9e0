"""UniTalking: two identical streams, video and audio, that meet in every block.

They share one self-attention (UniTalking) or attend to each other in their cross-attention (Ovi). The forward follows
the paper's figure (UniTalking Sec. 3): embed, blocks in which the streams meet, head. What does not depend on the step
(text and reference projections, rotations) is computed by `encode_conditions`, `video_layout` and `audio_layout`, kept
by the caller and passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..config import UniTalkingConfig
from ..types import Conditions, Rope, SeenKeys, StreamInput
from .attention import AttentionFunction, torch_attention
from .block import run_blocks, run_given_picture
from .rope import audio_positions, rope_table, video_positions
from .stream import Stream

Tokens = tuple[Tensor, ...]
BlockRunner = Callable[[int, Callable[[Tokens], Tokens], Tokens], Tokens]


def run_plainly(index: int, block: Callable[[Tokens], Tokens], tokens: Tokens) -> Tokens:
    """Runs a block as it is; a host passes its own runner to prefetch weights or replace a block."""
    return block(tokens)


class UniTalking(nn.Module):
    """The network, about 10 B parameters at full size.

    Args:
        config: sizes and rates.
        operations: namespace of Linear, Conv1d, Conv3d, LayerNorm, RMSNorm and Embedding: `torch.nn`, or the host's,
            which cast and dequantise weights.
        device, dtype: of the weights.
    """

    def __init__(
        self,
        config: UniTalkingConfig,
        *,
        operations: Any = nn,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype
        factory = {"device": device, "dtype": dtype}
        voice = config.reference_streams if config.reference_tokens else ()
        self.video = Stream(
            config,
            operations,
            channels=(config.in_dim, config.out_dim),
            patch_size=config.patch_size,
            has_reference="video" in voice,
            **factory,
        )
        self.audio = None
        if config.audio_channels:
            self.audio = Stream(
                config,
                operations,
                channels=(config.audio_channels, config.audio_channels),
                patch_size=None,
                has_reference="audio" in voice,
                **factory,
            )

    def forward(
        self,
        video: StreamInput | None,
        audio: StreamInput | None,
        *,
        video_sees_audio: bool = True,
        seen_picture: Mapping[int, SeenKeys] | None = None,
        attention: AttentionFunction = torch_attention,
        run_block: BlockRunner = run_plainly,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocity of every token, held ones too, in the shapes of the latents; None for an absent stream.

        Args:
            video: picture stream, None: it is not run (speech alone).
            audio: sound stream, None: it is not run (video alone).
            video_sees_audio: off for TV2A, where the sound must not change the given picture.
            seen_picture: what the sound sees of a picture that `see_picture` ran, in place of `video`.
            attention: the attention to use, (B, Tq, D), (B, Tk, D), (B, Tk, D), heads -> (B, Tq, D).
            run_block: called with (index, block, tokens of the present streams) for every block.

        Raises:
            ValueError: both streams are absent.
        """
        present = [(stream, inputs) for stream, inputs in ((self.video, video), (self.audio, audio)) if inputs]
        if not present:
            raise ValueError("UniTalking: got neither a video nor an audio stream, expected at least one.")
        streams, inputs = zip(*present, strict=True)
        states, levels = zip(*(stream.begin(given) for stream, given in present), strict=True)

        tokens = tuple(state.tokens for state in states)
        for index, blocks in enumerate(zip(*(stream.blocks for stream in streams), strict=True)):

            def block(tokens: Tokens, index: int = index, blocks: tuple[nn.Module, ...] = blocks) -> Tokens:
                now = tuple(state._replace(tokens=part) for state, part in zip(states, tokens, strict=True))
                fusion = self.config.fusion if self.config.is_joint(index) else None
                seen = None if seen_picture is None else seen_picture.get(index)
                sight = {"video_sees_audio": video_sees_audio, "seen": seen}
                return run_blocks(blocks, now, index, attention, fusion=fusion, **sight)

            tokens = run_block(index, block, tokens)

        velocities = iter(
            stream.finish(state._replace(tokens=part), level, given.latent)
            for stream, state, part, level, given in zip(streams, states, tokens, levels, inputs, strict=True)
        )
        return next(velocities) if video else None, next(velocities) if audio else None

    def see_picture(
        self,
        video: StreamInput,
        *,
        attention: AttentionFunction = torch_attention,
        run_block: BlockRunner = run_plainly,
    ) -> dict[int, SeenKeys]:
        """What the sound sees of a given picture in every block (TV2A): the same at every step, so once per run.

        Args:
            video: the picture, held clean.
            attention, run_block: see `forward`.
        """
        state, _ = self.video.begin(video)
        seen: dict[int, SeenKeys] = {}
        tokens: Tokens = (state.tokens,)
        for index, blocks in enumerate(zip(self.video.blocks, self.audio.blocks, strict=True)):

            def block(tokens: Tokens, index: int = index, blocks: tuple[nn.Module, ...] = blocks) -> Tokens:
                now = state._replace(tokens=tokens[0])
                fusion = self.config.fusion if self.config.is_joint(index) else None
                after, keys = run_given_picture(*blocks, now, index, attention, fusion)
                if keys is not None:
                    seen[index] = keys
                return (after,)

            tokens = run_block(index, block, tokens)
        return seen

    def encode_conditions(
        self,
        video_context: Tensor | None,
        audio_context: Tensor | None,
        reference: Tensor | None = None,
        voice_present: Tensor | None = None,
        *,
        keep_keys: bool = True,
    ) -> tuple[Conditions | None, Conditions | None]:
        """What both streams are conditioned on, once per run.

        Args:
            video_context, audio_context: encoded text of each stream, (B, rows, text_dim); None: stream is absent.
            reference: V voice references one behind the other, normalised audio latents (B, C, V * reference_tokens),
                or None for nobody. Of several voices each token hears the one whose turn it is (`StreamInput.turns`).
            voice_present: (B,), 1 where the sample has a voice, else 0; all 1 if None.
            keep_keys: compute every block's keys and values now (faster, more memory).
        """
        if not self.config.reference_tokens:
            reference = None
        if reference is not None:
            clips = reference.split(self.config.reference_tokens, dim=2)
            reference = torch.cat([self.audio.embed(clip) for clip in clips], dim=1)
            if voice_present is None:
                voice_present = reference.new_ones(reference.shape[0])
        contexts = ((self.video, video_context), (self.audio, audio_context))
        video, audio = (
            None if context is None else stream.condition(context, reference, voice_present, keep_keys=keep_keys)
            for stream, context in contexts
        )
        return video, audio

    def video_layout(self, latent: Tensor) -> tuple[Rope, Tensor | None]:
        """Rotation and extra positions of a video latent's tokens: (B, C, F, H, W)."""
        frames, height, width = (
            size // patch for size, patch in zip(latent.shape[2:], self.config.patch_size, strict=True)
        )
        grid = (frames, height, width)
        return self._layout(self.video, video_positions(grid), grid, latent)

    def audio_layout(self, latent: Tensor, start: float = 0.0) -> tuple[Rope, Tensor | None]:
        """Rotation and extra positions of an audio latent's tokens: (B, C, L).

        Args:
            latent: of the sound.
            start: when the sound begins, in video latents after the picture; other than 0 in a window of a clip.
        """
        positions = audio_positions(latent.shape[2], self.config.position_scale, start)
        return self._layout(self.audio, positions, None, latent)

    def _layout(
        self, stream: Stream, positions: Tensor, grid: tuple[int, int, int] | None, like: Tensor
    ) -> tuple[Rope, Tensor | None]:
        dtype = torch.promote_types(like.dtype, torch.float32)
        positions = positions * positions.new_tensor([self.config.time_scale, 1, 1])
        extra = None if stream.extra_positions is None else stream.extra_positions(positions, grid, like)
        return rope_table(positions, self.config, like.device, dtype), extra
