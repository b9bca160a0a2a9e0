"""The block: symmetric in its streams, separable, and without effect where its gates are zero."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from builders import Given, given, rel_l2, run, stream_inputs, tiny_config, tiny_model
from torch import Tensor

from unitalking.model.attention import torch_attention
from unitalking.model.block import StreamBlock, StreamState, run_blocks
from unitalking.model.transformer import UniTalking


def states(model: UniTalking, inputs: Given) -> tuple[StreamState, ...]:
    return tuple(
        stream.begin(part)[0]
        for stream, part in zip((model.video, model.audio), stream_inputs(model, inputs), strict=True)
        if part is not None
    )


def first_blocks(model: UniTalking) -> tuple[StreamBlock, StreamBlock]:
    return model.video.blocks[0], model.audio.blocks[0]


def test_swapping_the_streams_swaps_the_results() -> None:
    model = tiny_model()
    blocks, state = first_blocks(model), states(model, given(voice=True))
    options = {"index": 0, "attention": torch_attention, "fusion": "joint", "video_sees_audio": True}
    there = run_blocks(blocks, state, **options)
    back = run_blocks(blocks[::-1], state[::-1], **options)
    for straight, swapped in zip(there, back[::-1], strict=True):
        torch.testing.assert_close(straight, swapped)


def test_a_stream_alone_is_a_stream_in_a_separate_block() -> None:
    model = tiny_model()
    blocks, state = first_blocks(model), states(model, given())
    options = {"index": 0, "attention": torch_attention, "video_sees_audio": True}
    separate = run_blocks(blocks, state, fusion=None, **options)
    for position in (0, 1):
        (alone,) = run_blocks(
            blocks[position : position + 1], state[position : position + 1], fusion="joint", **options
        )
        assert torch.equal(alone, separate[position])


def test_zero_gates_and_outputs_leave_the_tokens_as_they_are() -> None:
    model = tiny_model()
    state = states(model, given(voice=True))
    for stream, each in zip((model.video, model.audio), state, strict=True):
        torch.nn.init.zeros_(stream.blocks[0].modulation.weight)
        torch.nn.init.zeros_(stream.blocks[0].cross_attn.o.weight)
        torch.nn.init.zeros_(stream.blocks[0].cross_attn.o.bias)
        each.level[:, :, [2, 5]] = 0
    after = run_blocks(first_blocks(model), state, 0, torch_attention, fusion="joint", video_sees_audio=True)
    for tokens, each in zip(after, state, strict=True):
        assert torch.equal(tokens, each.tokens)


@pytest.mark.parametrize(("vector", "name"), [(2, "attention"), (5, "ffn")])
def test_each_gate_closes_its_own_branch(vector: int, name: str) -> None:
    model = tiny_model()
    block, state = model.video.blocks[0], states(model, given())[0]
    torch.nn.init.zeros_(block.modulation.weight)
    state.level[:, :, vector] = 0
    branch = block.self_attn.o if name == "attention" else block.ffn[2]

    def result() -> Tensor:
        return run_blocks((block,), (state,), 0, torch_attention, fusion="joint", video_sees_audio=True)[0]

    before = result()
    torch.nn.init.zeros_(branch.weight)
    assert torch.equal(result(), before), "the branch behind a closed gate does not matter"
    other = block.ffn[2] if name == "attention" else block.self_attn.o
    torch.nn.init.zeros_(other.weight)
    assert not torch.allclose(result(), before), "the branch behind the other gate does"


def test_blocks_after_the_joint_ones_are_separate() -> None:
    inputs = given(voice=True)
    weights = tiny_model(tiny_config(num_layers=3)).state_dict()
    outputs = []
    for joint_blocks in (0, 1, 2, 3, None):
        model = tiny_model(tiny_config(num_layers=3, joint_blocks=joint_blocks))
        model.load_state_dict(weights)
        outputs.append(run(model, inputs))
    for stream in (0, 1):
        for fewer, more in itertools.pairwise(outputs[:4]):
            assert rel_l2(fewer[stream], more[stream]) > 1e-3
        assert torch.equal(outputs[3][stream], outputs[4][stream]), "None is all"


def test_without_joint_blocks_the_streams_are_independent() -> None:
    model, inputs = tiny_model(tiny_config(joint_blocks=0)), given(voice=True)
    video, audio = run(model, inputs)
    assert torch.equal(video, run(model, inputs.but(audio_timestep=None))[0])
    assert torch.equal(audio, run(model, inputs.but(video_timestep=None))[1])


def test_a_separate_last_block_passes_on_what_the_joint_one_mixed() -> None:
    model, inputs = tiny_model(tiny_config(joint_blocks=1)), given()
    seen: list[int] = []

    def counting(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        seen.append(keys.shape[1])
        return torch_attention(queries, keys, values, heads)

    run(model, inputs, attention=counting)
    text, video, audio = model.config.text_len, 3 * 2 * 3, 11
    assert seen == [video + audio, text, text, video, audio, text, text]
    other = run(model, inputs.but(audio=inputs.audio + 1))[0]
    assert rel_l2(other, run(model, inputs)[0]) > 1e-3


def test_blocks_run_through_the_runner_that_is_given() -> None:
    model, inputs = tiny_model(), given()
    calls: list[int] = []

    def second_alone(index: int, block: Callable, tokens: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        calls.append(index)
        return tokens if index == 0 else block(tokens)

    skipped = run(model, inputs, run_block=second_alone)
    assert calls == [0, 1]
    for stream in (model.video, model.audio):
        del stream.blocks[0]
    for actual, expected in zip(skipped, run(model, inputs), strict=True):
        assert torch.equal(actual, expected)
