"""The whole network: absent streams, tasks, step-invariant work, refusals."""

from __future__ import annotations

import itertools

import pytest
import torch
from builders import given, hold, normal, rel_l2, run, stream_inputs, tiny_config, tiny_model
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unitalking.config import UniTalkingConfig
from unitalking.model.attention import torch_attention
from unitalking.model.transformer import UniTalking
from unitalking.types import NoiseLevels, StreamInput


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
def test_an_absent_stream_gives_none_and_is_not_run(video: bool, audio: bool) -> None:
    model, inputs = tiny_model(), given()
    changed = inputs.but(**({"audio_timestep": None} if video else {"video_timestep": None}))
    rows: list[int] = []

    def counting(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        rows.append(queries.shape[1])
        return torch_attention(queries, keys, values, heads)

    results = run(model, changed, attention=counting)
    assert [result is not None for result in results] == [video, audio]
    assert rows == [18 if video else 11] * 4, "two blocks of self- and cross-attention of the present stream alone"


def test_velocities_have_the_shapes_of_their_latents() -> None:
    inputs = given()
    video, audio = run(tiny_model(), inputs)
    assert video.shape == inputs.video.shape
    assert audio.shape == inputs.audio.shape


def test_a_video_latent_may_have_more_channels_than_its_velocity() -> None:
    model, inputs = tiny_model(tiny_config(in_dim=4)), given()
    video, _ = run(model, inputs.but(video=normal(2, 4, 3, 4, 6, seed=0)))
    assert video.shape == (2, 3, 3, 4, 6)


def test_neither_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a video nor an audio stream"):
        tiny_model()(None, None)


def test_an_absent_stream_has_no_conditions() -> None:
    model, inputs = tiny_model(), given(voice=True)
    assert model.encode_conditions(inputs.video_context, None)[1] is None
    assert model.encode_conditions(None, inputs.audio_context, inputs.reference)[0] is None


def test_each_stream_is_told_its_own_text() -> None:
    model, inputs = tiny_model(tiny_config(joint_blocks=0)), given()
    before = run(model, inputs)
    other_text = run(model, inputs.but(video_context=inputs.video_context + 1))
    assert rel_l2(other_text[0], before[0]) > 1e-2
    assert torch.equal(other_text[1], before[1])


def test_both_streams_see_each_other() -> None:
    model, inputs = tiny_model(), given()
    before = run(model, inputs)
    assert rel_l2(run(model, inputs.but(audio=inputs.audio + 1))[0], before[0]) > 1e-3
    assert rel_l2(run(model, inputs.but(video=inputs.video + 1))[1], before[1]) > 1e-3


# ---- TV2A: the sound of a given video


def test_a_given_video_does_not_depend_on_the_sound() -> None:
    model, inputs = tiny_model(), given(voice=True)
    inputs = inputs.but(video_timestep=torch.zeros_like(inputs.video_timestep))
    video, audio = run(model, inputs, video_sees_audio=False)
    others = [
        inputs.but(audio=inputs.audio * 3),
        inputs.but(audio_timestep=inputs.audio_timestep / 2),
        inputs.but(audio_context=inputs.audio_context + 1),
        inputs.but(reference=None),
        inputs.but(audio=normal(2, 5, 4, seed=9), audio_timestep=inputs.audio_timestep[:, :4]),
    ]
    for other in others:
        results = run(model, other, video_sees_audio=False)
        assert torch.equal(results[0], video)
        assert results[1].shape != audio.shape or rel_l2(results[1], audio) > 1e-4
    assert torch.equal(run(model, inputs.but(audio_timestep=None))[0], video), "the same as the video stream alone"


@pytest.mark.parametrize("joint_blocks", [None, 1])
def test_a_picture_that_ran_before_is_seen_as_one_that_runs_along(joint_blocks: int | None) -> None:
    model, inputs = tiny_model(tiny_config(joint_blocks=joint_blocks)), given(voice=True)
    inputs = inputs.but(video_timestep=torch.zeros_like(inputs.video_timestep))
    video, _ = stream_inputs(model, inputs)
    seen = model.see_picture(video)
    assert list(seen) == list(range(joint_blocks or 2))
    for noise_level in (900.0, 40.0):
        _, audio = stream_inputs(model, inputs.but(audio_timestep=torch.full_like(inputs.audio_timestep, noise_level)))
        nothing, kept = model(None, audio, seen_picture=seen)
        along = model(video, audio, video_sees_audio=False)[1]
        assert nothing is None
        torch.testing.assert_close(kept, along, rtol=1e-9, atol=1e-9)
        assert rel_l2(model(None, audio)[1], along) > 1e-3


def test_a_step_beside_a_picture_that_ran_is_fifty_times_cheaper_at_full_size() -> None:
    config = UniTalkingConfig()
    factory = {"device": "meta", "dtype": torch.bfloat16}
    model = UniTalking(config, **factory)
    latents = torch.empty(1, 48, 31, 44, 44, **factory), torch.empty(1, 40, config.audio_latents(121), **factory)
    context = torch.empty(1, 100, config.text_dim, **factory)
    layouts, inputs = (model.video_layout, model.audio_layout), []
    for latent, layout, conditions in zip(latents, layouts, model.encode_conditions(context, context), strict=True):
        rope, extra = layout(latent)
        noise = NoiseLevels.uniform(torch.zeros(1, device="meta"), rope.cos.shape[0])
        inputs.append(StreamInput(latent, noise, rope, conditions, extra))
    assert [len(given.rope.cos) for given in inputs] == [15004, 218]
    with FlopCounterMode(display=False) as joint:
        model(*inputs, video_sees_audio=False)
    seen = model.see_picture(inputs[0])
    with FlopCounterMode(display=False) as alone:
        model(None, inputs[1], seen_picture=seen)
    assert joint.get_total_flops() > 50 * alone.get_total_flops() > 0


def test_a_generated_video_depends_on_the_sound() -> None:
    model, inputs = tiny_model(), given()
    video = run(model, inputs)[0]
    assert rel_l2(run(model, inputs.but(audio=inputs.audio * 3))[0], video) > 1e-3
    assert rel_l2(run(model, inputs, video_sees_audio=False)[0], video) > 1e-3


def test_sound_sees_the_given_video() -> None:
    model, inputs = tiny_model(), given()
    audio = run(model, inputs, video_sees_audio=False)[1]
    assert rel_l2(run(model, inputs.but(video=inputs.video + 1), video_sees_audio=False)[1], audio) > 1e-3


# ---- held tokens


def test_each_stream_holds_its_own_tokens_clean() -> None:
    model = tiny_model(tiny_config(joint_blocks=0))
    inputs = given()
    before = run(model, inputs)
    held = run(model, inputs.but(video_timestep=hold(inputs.video_timestep, 1)))
    assert torch.equal(held[1], before[1]), "a clean first frame says nothing about the sound's noise"
    assert rel_l2(held[0], before[0]) > 1e-2
    held = run(model, inputs.but(audio_timestep=hold(inputs.audio_timestep, 3)))
    assert torch.equal(held[0], before[0])
    assert rel_l2(held[1], before[1]) > 1e-2


def test_the_sound_of_a_portrait_keeps_its_own_noise_level() -> None:
    """The sound's own modulation is what it would be alone, whatever the picture holds."""
    model, inputs = tiny_model(), given()
    inputs = inputs.but(video_timestep=hold(inputs.video_timestep, 1))
    inside: dict[str, Tensor] = {}
    handle = model.audio.time_projection.register_forward_hook(lambda *call: inside.update(vectors=call[2]))
    run(model, inputs)
    joint = inside["vectors"]
    run(model, inputs.but(video_timestep=None))
    handle.remove()
    assert torch.equal(joint, inside["vectors"])
    assert joint.shape == (2, 1, 6 * 44), "one level for all of the sound"


def test_samples_of_a_batch_do_not_meet() -> None:
    model, inputs = tiny_model(), given(voice=True)
    together = run(model, inputs)
    for sample in (0, 1):
        one = slice(sample, sample + 1)
        fields = ("video", "audio", "video_context", "audio_context", "video_timestep", "audio_timestep", "reference")
        alone = run(model, inputs.but(**{name: getattr(inputs, name)[one] for name in fields}))
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[one], part)


# ---- step-invariant work


@pytest.mark.parametrize(("voice", "streams"), list(itertools.product([True, False], [("audio",), ("video", "audio")])))
def test_kept_keys_are_the_recomputed_ones(voice: bool, streams: tuple[str, ...]) -> None:
    model, inputs = tiny_model(tiny_config(reference_streams=streams)), given(voice=voice)
    for kept, recomputed in zip(run(model, inputs), run(model, inputs, keep_keys=False), strict=True):
        assert torch.equal(kept, recomputed)


def test_keys_are_kept_for_every_block_or_not_at_all() -> None:
    model, inputs = tiny_model(), given(voice=True)
    for kept in stream_inputs(model, inputs):
        assert len(kept.conditions.keys) == 2
    for recomputed in stream_inputs(model, inputs, keep_keys=False):
        assert recomputed.conditions.keys is None


def test_nothing_is_remembered_between_calls() -> None:
    model, inputs, other = tiny_model(), given(voice=True), given(seed=500)
    first = run(model, inputs)
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    run(model, other)
    for before, after in zip(first, run(model, inputs), strict=True):
        assert torch.equal(before, after)
    assert attributes == {name: set(vars(module)) for name, module in model.named_modules()}


def test_inputs_are_not_changed() -> None:
    model, inputs = tiny_model(), given(voice=True)
    tensors = {name: value for name, value in vars(inputs).items() if isinstance(value, Tensor)}
    copies = {name: value.clone() for name, value in tensors.items()}
    run(model, inputs)
    assert len(tensors) == 7
    for name, value in tensors.items():
        assert torch.equal(value, copies[name]), name


def test_the_video_stream_ignores_a_voice_it_has_no_keys_for() -> None:
    model, inputs = tiny_model(), given(voice=True)
    video, audio = model.encode_conditions(inputs.video_context, inputs.audio_context, inputs.reference)
    assert video.reference is None
    assert video.voice_present is None
    assert audio.reference is not None


def test_a_window_of_the_sound_lies_where_it_does_in_the_clip() -> None:
    model, latent = tiny_model(tiny_config(extra_positions=(2, 2))), normal(1, 5, 11, seed=0)
    rope, extra = model.audio_layout(latent)
    window, window_extra = model.audio_layout(latent[:, :, 7:], start=7 * model.config.position_scale)
    for whole, part in ((rope.cos, window.cos), (rope.sin, window.sin), (extra, window_extra)):
        torch.testing.assert_close(part, whole[7:])


def test_building_on_meta_needs_no_memory() -> None:
    model = UniTalking(tiny_config(), device="meta")
    assert all(parameter.is_meta for parameter in model.parameters())
