"""The voice reference: what it adds, to whom, and that its absence is exactly nothing."""

from __future__ import annotations

import pytest
import torch
from builders import Given, given, normal, rel_l2, run, tiny_config, tiny_model
from torch import Tensor

from unitalking.model.attention import torch_attention

STREAMS = [("audio",), ("video",), ("video", "audio")]


def test_a_voice_changes_the_sound_and_through_it_the_picture() -> None:
    model, inputs = tiny_model(), given(voice=True)
    silent = run(model, inputs.but(reference=None))
    for stream, expected in zip(run(model, inputs), silent, strict=True):
        assert rel_l2(stream, expected) > 1e-3


def test_with_one_block_the_voice_cannot_reach_the_picture() -> None:
    model, inputs = tiny_model(tiny_config(num_layers=1)), given(voice=True)
    voiced, silent = run(model, inputs), run(model, inputs.but(reference=None))
    assert torch.equal(voiced[0], silent[0])
    assert rel_l2(voiced[1], silent[1]) > 1e-3


@pytest.mark.parametrize("streams", STREAMS, ids="+".join)
@pytest.mark.parametrize("keep_keys", [True, False])
def test_an_absent_voice_in_a_mixed_batch_is_exactly_no_reference(streams: tuple[str, ...], keep_keys: bool) -> None:
    model, inputs = tiny_model(tiny_config(reference_streams=streams)), given(voice=True)
    mixed = run(model, inputs.but(voice_present=torch.tensor([1.0, 0.0])), keep_keys=keep_keys)
    voiced, silent = run(model, inputs), run(model, inputs.but(reference=None))
    for stream in (0, 1):
        assert torch.equal(mixed[stream][0], voiced[stream][0])
        assert torch.equal(mixed[stream][1], silent[stream][1])
        assert not torch.allclose(voiced[stream], silent[stream])


def test_every_sample_has_its_own_voice() -> None:
    model, inputs = tiny_model(), given(voice=True)
    swapped = run(model, inputs.but(reference=inputs.reference.flip(0)))
    for stream, before in zip(swapped, run(model, inputs), strict=True):
        assert rel_l2(stream[0], before[0]) > 1e-3
        assert rel_l2(stream[1], before[1]) > 1e-3


@pytest.mark.parametrize("streams", STREAMS, ids="+".join)
def test_reference_streams_are_the_ones_with_reference_weights(streams: tuple[str, ...]) -> None:
    names = {
        name.split(".")[0]
        for name in tiny_model(tiny_config(reference_streams=streams)).state_dict()
        if "reference" in name
    }
    assert names == set(streams)


def test_a_video_stream_with_reference_hears_the_voice_itself() -> None:
    model, inputs = tiny_model(tiny_config(num_layers=1, reference_streams=("video", "audio"))), given(voice=True)
    for voiced, silent in zip(run(model, inputs), run(model, inputs.but(reference=None)), strict=True):
        assert rel_l2(voiced, silent) > 1e-3


@pytest.mark.parametrize("config", [{"reference_tokens": 0}, {"reference_streams": ()}], ids=str)
def test_a_model_without_reference_ignores_one(config: dict) -> None:
    model, inputs = tiny_model(tiny_config(**config)), given(voice=True)
    assert not [name for name in model.state_dict() if "reference" in name]
    for voiced, silent in zip(run(model, inputs), run(model, inputs.but(reference=None)), strict=True):
        assert torch.equal(voiced, silent)


def recorded(inputs: Given) -> list[Tensor]:
    """Keys and values of every attention of the sound alone, in the order of the calls."""
    seen: list[Tensor] = []

    def recording(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        seen.extend((keys, values))
        return torch_attention(queries, keys, values, heads)

    run(tiny_model(), inputs.but(video_timestep=None), attention=recording)
    return seen


def test_the_voice_is_an_attention_of_its_own_with_every_row() -> None:
    rows = [keys.shape[1] for keys in recorded(given(voice=True))[::2]]
    assert rows == [11, 7, 6, 11, 7, 6], "self, text, voice in each of the two blocks"


def test_the_voices_rows_have_no_order() -> None:
    model, inputs = tiny_model(), given(voice=True)
    shuffled = inputs.but(reference=inputs.reference[:, :, [3, 1, 5, 0, 4, 2]])
    for stream, before in zip(run(model, shuffled), run(model, inputs), strict=True):
        torch.testing.assert_close(stream, before)


def test_the_voices_keys_are_normalised_with_their_own_weight() -> None:
    inputs, cross = given(voice=True), tiny_model().audio.blocks[0].cross_attn
    keys, values = recorded(inputs)[4:6]
    rows = tiny_model().audio.embed(inputs.reference)
    projected = cross.k_reference(rows)
    normed = projected / (projected.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(keys, normed * cross.norm_k_reference.weight)
    torch.testing.assert_close(values, cross.v_reference(rows))


def test_text_and_voice_are_summed_before_one_output_projection() -> None:
    model, inputs = tiny_model(), given(voice=True)
    cross = model.audio.blocks[0].cross_attn
    keys = cross.project_conditions(normal(2, 7, 44, seed=1), 0, model.audio.embed(inputs.reference))
    parts: list[Tensor] = []

    def recording(*call: Tensor) -> Tensor:
        parts.append(torch_attention(*call))
        return parts[-1]

    result = cross(normal(2, 4, 44, seed=2), keys, torch.ones(2, 1, 1, dtype=torch.float64), recording)
    torch.testing.assert_close(result, cross.o(parts[0] + parts[1]))


def test_every_turn_hears_its_own_voice_alone() -> None:
    model, inputs = tiny_model(tiny_config(num_layers=1)), given(voice=True)
    other = normal(*inputs.reference.shape, seed=5)
    inputs = inputs.but(video_timestep=None)  # nothing mixes the turns after the one block's own attention
    first, second = run(model, inputs)[1], run(model, inputs.but(reference=other))[1]
    both = inputs.but(reference=torch.cat([inputs.reference, other], dim=2), turns=((0, 4), (1, 5), (0, 2)))
    spoken = run(model, both)[1]
    torch.testing.assert_close(spoken[..., :4], first[..., :4], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spoken[..., 4:9], second[..., 4:9], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spoken[..., 9:], first[..., 9:], rtol=1e-12, atol=1e-12)
    assert rel_l2(spoken[..., 4:9], first[..., 4:9]) > 1e-3


@pytest.mark.parametrize("audio_stem", ["linear", "conv"])
def test_turns_of_one_voice_are_that_voice(audio_stem: str) -> None:
    model, inputs = tiny_model(tiny_config(audio_stem=audio_stem)), given(voice=True)
    twice = inputs.but(reference=inputs.reference.repeat(1, 1, 2), turns=((0, 5), (1, 6)))
    for stream, expected in zip(run(model, twice), run(model, inputs), strict=True):
        torch.testing.assert_close(stream, expected, rtol=1e-12, atol=1e-12)
