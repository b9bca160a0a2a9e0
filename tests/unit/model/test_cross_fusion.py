"""`cross` fusion: what each stream sees of the other, and when; the stem of convolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import given, normal, rel_l2, run, stream_inputs, tiny_config, tiny_model
from torch import Tensor

from unitalking.model.attention import CrossAttention, OtherStream, torch_attention
from unitalking.model.rope import apply_rope, audio_positions, rope_table, video_positions
from unitalking.model.transformer import UniTalking
from unitalking.types import CrossKeys, Rope


def cross_model(**changes: Any) -> UniTalking:
    return tiny_model(tiny_config(fusion="cross", audio_stem="conv", reference_tokens=0, **changes))


def changed(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(first, second, strict=True)]


def test_each_stream_sees_the_other_only_through_fusion() -> None:
    inputs = given()
    both = run(cross_model(), inputs)
    assert rel_l2(run(cross_model(), inputs.but(audio_timestep=None))[0], both[0]) > 1e-2
    assert rel_l2(run(cross_model(), inputs.but(video_timestep=None))[1], both[1]) > 1e-2
    model = cross_model()
    for stream in (model.video, model.audio):
        for block in stream.blocks:
            torch.nn.init.zeros_(block.cross_attn.v_fusion.weight)
            torch.nn.init.zeros_(block.cross_attn.v_fusion.bias)
    apart = run(model, inputs)
    torch.testing.assert_close(apart[0], run(model, inputs.but(audio_timestep=None))[0])
    torch.testing.assert_close(apart[1], run(model, inputs.but(video_timestep=None))[1])


def test_what_is_seen_is_the_other_stream_before_its_own_cross_attention() -> None:
    model, inputs = cross_model(num_layers=1), given()
    before = run(model, inputs)
    for stream, other in (("video", 1), ("audio", 0)):
        text = inputs.but(**{f"{stream}_context": normal(2, 4, 10, seed=7)})
        assert changed(run(model, text), before)[other] is False, "one block is too few for the other's text to arrive"
        latent = inputs.but(**{stream: normal(*getattr(inputs, stream).shape, seed=8)})
        assert changed(run(model, latent), before) == [True, True]
    two = cross_model()
    assert changed(run(two, text), run(two, inputs)) == [True, True], "two blocks are enough"


def test_a_given_picture_does_not_see_the_sound() -> None:
    model, inputs = cross_model(), given()
    video, audio = run(model, inputs, video_sees_audio=False)
    assert torch.equal(video, run(model, inputs.but(audio_timestep=None))[0])
    assert rel_l2(audio, run(model, inputs.but(video_timestep=None))[1]) > 1e-2


@pytest.mark.parametrize("joint_blocks", [None, 1])
def test_a_picture_that_ran_before_is_seen_as_one_that_runs_along(joint_blocks: int | None) -> None:
    model, inputs = cross_model(joint_blocks=joint_blocks), given()
    inputs = inputs.but(video_timestep=torch.zeros_like(inputs.video_timestep))
    video, audio = stream_inputs(model, inputs)
    seen = model.see_picture(video)
    assert list(seen) == list(range(joint_blocks or 2))
    nothing, kept = model(None, audio, seen_picture=seen)
    assert nothing is None
    torch.testing.assert_close(kept, model(video, audio, video_sees_audio=False)[1], rtol=1e-9, atol=1e-9)


def test_blocks_after_the_last_that_meets_are_separate() -> None:
    inputs = given()
    video, audio = run(cross_model(joint_blocks=0), inputs)
    torch.testing.assert_close(video, run(cross_model(), inputs.but(audio_timestep=None))[0])
    torch.testing.assert_close(audio, run(cross_model(), inputs.but(video_timestep=None))[1])


@pytest.mark.parametrize("moved", ["own_rope", "rope"])
def test_only_queries_and_keys_of_the_other_stream_are_rotated(moved: str) -> None:
    config = tiny_config(fusion="cross", reference_tokens=0)
    module = CrossAttention(config, torch.nn, has_reference=False, dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    module.requires_grad_(False)
    for parameter in module.parameters():
        values = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        torch.nn.init.zeros_(parameter).data.add_(values * (0.3 if parameter.ndim == 1 else 0.15))
    text = CrossKeys(normal(1, 7, 44, seed=1), normal(1, 7, 44, seed=2))
    positions = {"own_rope": video_positions((2, 2, 2)), "rope": audio_positions(5, 0.2)}
    ropes = {name: rope_table(each, config, torch.device("cpu"), torch.float64) for name, each in positions.items()}
    tokens, seen = normal(1, 8, 44, seed=3), normal(1, 5, 44, seed=4)

    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (2, -1))

    def other(own_rope: Rope, rope: Rope) -> OtherStream:
        return OtherStream(module.project_other(seen, rope), own_rope)

    def result(**changes: Any) -> Tensor:
        return module(tokens, text, None, torch_attention, other(**{**ropes, **changes}))

    queries = module.norm_q(module.q(tokens))
    normed = module.pre_attn_norm_fusion(seen)
    keys = apply_rope(heads(module.norm_k_fusion(module.k_fusion(normed))), ropes["rope"]).flatten(2)
    rotated = apply_rope(heads(queries), ropes["own_rope"]).flatten(2)
    added = torch_attention(queries, text.text_keys, text.text_values, 2)
    added = added + torch_attention(rotated, keys, module.v_fusion(normed), 2)
    torch.testing.assert_close(result(), module.o(added))
    shifted = rope_table(positions[moved] + torch.tensor([3.0, 0, 0]), config, torch.device("cpu"), torch.float64)
    assert rel_l2(result(**{moved: shifted}), result()) > 1e-3


def test_the_stem_of_convolutions_sees_nine_neighbours_on_either_side_and_gates_them() -> None:
    stream = cross_model().audio
    latent = normal(1, 5, 40, seed=0)
    other = latent.clone()
    other[:, :, 20] += 1
    differs = (stream.embed(other) - stream.embed(latent)).abs().amax(dim=(0, 2)) > 1e-12
    assert differs.nonzero().flatten().tolist() == list(range(20 - 9, 20 + 10)), "three layers of width 7"
    gated = stream.patch_embedding[2]
    hidden = torch.nn.functional.silu(stream.patch_embedding[0](latent))
    inner = torch.nn.functional.silu(gated.w1(hidden)) * gated.w3(hidden)
    torch.testing.assert_close(stream.embed(latent), gated.w2(inner).transpose(1, 2))


def test_names_are_those_of_ovis_files() -> None:
    model = cross_model()
    cross = [name for name in dict(model.audio.blocks[0].cross_attn.named_parameters()) if "fusion" in name]
    assert sorted(cross) == [
        "k_fusion.bias",
        "k_fusion.weight",
        "norm_k_fusion.weight",
        "pre_attn_norm_fusion.bias",
        "pre_attn_norm_fusion.weight",
        "v_fusion.bias",
        "v_fusion.weight",
    ]
    shapes = {name: tuple(value.shape) for name, value in model.audio.patch_embedding.named_parameters()}
    assert shapes == {
        "0.weight": (44, 5, 7),
        "0.bias": (44,),
        "2.w1.weight": (256, 44, 7),
        "2.w2.weight": (44, 256, 7),
        "2.w3.weight": (256, 44, 7),
    }
