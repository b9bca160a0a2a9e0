"""One transformer block of one stream, in the pieces between which the streams meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..config import UniTalkingConfig
from ..types import Conditions, CrossKeys, Rope, SeenKeys, Turns
from .attention import (
    AttentionFunction,
    CrossAttention,
    OtherStream,
    Projected,
    SelfAttention,
    attention_beside,
    joint_attention,
)
from .modulation import Modulation, add_gated, modulate, modulation_table


class StreamState(NamedTuple):
    """One stream on its way through the blocks.

    Attributes:
        tokens: (B, T, D).
        level: modulation vectors of its noise levels, (B, R, 6, D), R runs.
        lengths: tokens of each run.
        rope: rotation of every token.
        conditions: text and voice.
        turns: which voice each token hears.
    """

    tokens: Tensor
    level: Tensor
    lengths: tuple[int, ...]
    rope: Rope
    conditions: Conditions
    turns: Turns = ()


class StreamBlock(nn.Module):
    """Self-attention, cross-attention to the conditions, FFN; Wan2.2's block (UniTalking Sec. 3, reference.md A1)."""

    def __init__(self, config: UniTalkingConfig, operations: Any, *, has_reference: bool, **factory: Any) -> None:
        super().__init__()
        self.modulation = modulation_table(operations, 6, config.dim, **factory)
        self.norm1 = operations.LayerNorm(config.dim, eps=config.eps, elementwise_affine=False, **factory)
        self.self_attn = SelfAttention(config, operations, **factory)
        self.norm3 = operations.LayerNorm(config.dim, eps=config.eps, **factory)
        self.cross_attn = CrossAttention(config, operations, has_reference=has_reference, **factory)
        self.norm2 = operations.LayerNorm(config.dim, eps=config.eps, elementwise_affine=False, **factory)
        self.ffn = nn.Sequential(
            operations.Linear(config.dim, config.ffn_dim, **factory),
            nn.GELU(approximate="tanh"),
            operations.Linear(config.ffn_dim, config.dim, **factory),
        )

    def modulations(self, level: Tensor) -> tuple[Modulation, Modulation]:
        """Modulation of self-attention and of the FFN from level (B, R, 6, D)."""
        vectors = self.modulation(level).unbind(2)  # 6 x (B, R, D)
        return Modulation(*vectors[:3]), Modulation(*vectors[3:])

    def attention_inputs(self, state: StreamState, modulation: Modulation) -> Projected:
        """Queries, keys and values for the (joint) self-attention."""
        tokens = modulate(self.norm1(state.tokens), modulation.shift, modulation.scale, state.lengths)
        return self.self_attn.project(tokens, state.rope)

    def add_attended(self, state: StreamState, attended: Tensor, modulation: Modulation) -> StreamState:
        """Residual of self-attention: attended (B, T, D)."""
        tokens = add_gated(state.tokens, self.self_attn.o(attended), modulation.gate, state.lengths)
        return state._replace(tokens=tokens)

    def finish(
        self,
        state: StreamState,
        modulation: Modulation,
        keys: CrossKeys,
        attention: AttentionFunction,
        other: OtherStream | None,
    ) -> Tensor:
        """Cross-attention and FFN of a stream after its self-attention; (B, T, D)."""
        present = state.conditions.voice_present
        crossed = self.cross_attn(self.norm3(state.tokens), keys, present, attention, other, state.turns)
        tokens = state.tokens + crossed
        hidden = modulate(self.norm2(tokens), modulation.shift, modulation.scale, state.lengths)
        return add_gated(tokens, self.ffn(hidden), modulation.gate, state.lengths)

    def cross_keys(self, conditions: Conditions, index: int) -> CrossKeys:
        """This block's keys and values of the conditions: the kept ones, or computed here."""
        if conditions.keys is not None:
            return conditions.keys[index]
        return self.cross_attn.project_conditions(conditions.text, conditions.text_repeats, conditions.reference)


def run_blocks(
    blocks: tuple[StreamBlock, ...],
    states: tuple[StreamState, ...],
    index: int,
    attention: AttentionFunction,
    *,
    fusion: str | None,
    video_sees_audio: bool,
    seen: SeenKeys | None = None,
) -> tuple[Tensor, ...]:
    """Block number `index` of the streams that are present; returns their tokens, (B, T, D) each.

    Args:
        blocks, states: of video and audio in this order, or of the one stream there is.
        fusion: how the streams meet in this block, "joint" or "cross"; None: they do not.
        video_sees_audio: off for TV2A.
        seen: of a picture that ran before, where the sound runs by itself.
    """
    modulations = [block.modulations(state.level) for block, state in zip(blocks, states, strict=True)]
    projected = [
        block.attention_inputs(state, modulation[0])
        for block, state, modulation in zip(blocks, states, modulations, strict=True)
    ]
    heads = blocks[0].self_attn.heads
    if len(blocks) == 2 and fusion == "joint":
        attended = joint_attention(*projected, heads, attention, video_sees_audio=video_sees_audio)
    elif seen is not None and fusion == "joint":
        attended = (attention_beside(seen, projected[0], heads, attention),)
    else:
        attended = tuple(attention(*stream, heads) for stream in projected)
    del projected
    states = tuple(
        block.add_attended(state, result, modulation[0])
        for block, state, result, modulation in zip(blocks, states, attended, modulations, strict=True)
    )
    others: Sequence[OtherStream | None] = [None] * len(blocks)
    if fusion == "cross":
        others = _others(blocks, states, seen, video_sees_audio=video_sees_audio)
    return tuple(
        block.finish(state, modulation[1], block.cross_keys(state.conditions, index), attention, other)
        for block, state, modulation, other in zip(blocks, states, modulations, others, strict=True)
    )


def run_given_picture(
    block: StreamBlock,
    sound_block: StreamBlock,
    state: StreamState,
    index: int,
    attention: AttentionFunction,
    fusion: str | None,
) -> tuple[Tensor, SeenKeys | None]:
    """Block number `index` of a picture that sees no sound; its tokens, and what the sound's block sees of it."""
    before, after = block.modulations(state.level)
    projected = block.attention_inputs(state, before)
    state = block.add_attended(state, attention(*projected, block.self_attn.heads), before)
    seen = None
    if fusion == "joint":
        seen = SeenKeys(projected.keys, projected.values)
    elif fusion == "cross":
        seen = sound_block.cross_attn.project_other(state.tokens, state.rope)
    return block.finish(state, after, block.cross_keys(state.conditions, index), attention, None), seen


def _others(
    blocks: tuple[StreamBlock, ...],
    states: tuple[StreamState, ...],
    seen: SeenKeys | None,
    *,
    video_sees_audio: bool,
) -> tuple[OtherStream | None, ...]:
    """What each stream sees of the other in `cross` fusion."""
    if len(blocks) == 1:
        return (None if seen is None else OtherStream(seen, states[0].rope),)
    (video_block, audio_block), (video, audio) = blocks, states
    heard = None
    if video_sees_audio:
        heard = OtherStream(video_block.cross_attn.project_other(audio.tokens, audio.rope), video.rope)
    return heard, OtherStream(audio_block.cross_attn.project_other(video.tokens, video.rope), audio.rope)
