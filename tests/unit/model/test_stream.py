"""One stream: latents to tokens and back, text rows, noise levels."""

from __future__ import annotations

import pytest
import torch
from builders import given, normal, rel_l2, run, stream_inputs, tiny_config, tiny_model
from torch import Tensor

from unitalking.model.block import StreamState
from unitalking.model.stream import Head, Stream
from unitalking.types import Conditions, NoiseLevels, Rope, StreamInput


def patches(latent: Tensor) -> Tensor:
    """(B, C, F, H, W) cut into 2 x 2 cells, numbers of a token in the order row, column, channel: (B, T, 4 C)."""
    frames, height, width = latent.shape[2:]
    rows = [
        latent[:, :, t, h : h + 2, w : w + 2].permute(0, 2, 3, 1).flatten(1)
        for t in range(frames)
        for h in range(0, height, 2)
        for w in range(0, width, 2)
    ]
    return torch.stack(rows, dim=1)


class KnownHead(torch.nn.Module):
    """Stands in for the head's arithmetic with numbers that the test knows."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, tokens: Tensor, level: Tensor, lengths: tuple[int, ...]) -> Tensor:
        return self.rows


def state(tokens: Tensor) -> StreamState:
    nothing = Rope(torch.empty(0), torch.empty(0))
    return StreamState(tokens, torch.empty(0), (tokens.shape[1],), nothing, Conditions(torch.empty(0)))


@pytest.mark.parametrize("shape", [(2, 3, 3, 4, 6), (1, 3, 1, 2, 2), (1, 3, 2, 6, 4)], ids=str)
def test_a_videos_tokens_go_back_to_the_cells_they_came_from(shape: tuple[int, ...]) -> None:
    latent = normal(*shape, seed=0)
    stream = tiny_model().video
    stream.head = KnownHead(patches(latent))
    assert torch.equal(stream.finish(state(patches(latent)), torch.empty(0), latent), latent)


def test_video_tokens_are_the_patches_in_row_major_order() -> None:
    latent = normal(2, 3, 3, 4, 6, seed=0)
    stream = tiny_model().video
    weight = stream.patch_embedding.weight[:, :, 0].permute(0, 2, 3, 1).flatten(1)  # row, column, channel
    torch.testing.assert_close(stream.embed(latent), patches(latent) @ weight.T + stream.patch_embedding.bias)


def test_audio_tokens_are_its_latents_in_order() -> None:
    latent = normal(2, 5, 7, seed=0)
    stream = tiny_model().audio
    tokens = stream.embed(latent)
    for index in range(7):
        expected = latent[:, :, index] @ stream.patch_embedding.weight.T + stream.patch_embedding.bias
        torch.testing.assert_close(tokens[:, index], expected)
    stream.head = KnownHead(latent.transpose(1, 2))
    assert torch.equal(stream.finish(state(tokens), torch.empty(0), latent), latent)


def test_text_is_padded_with_zeros_before_its_projection() -> None:
    stream = tiny_model().video
    rows = normal(2, 4, 10, seed=1)
    text, repeats = stream.embed_text(rows)
    assert (text.shape, repeats) == ((2, 5, 44), 2)
    torch.testing.assert_close(text[:, :4], stream.text_embedding(rows))
    pad = stream.text_embedding(torch.zeros(10, dtype=torch.float64))
    assert pad.norm() > 0.1, "biases make a row of padding more than nothing"
    torch.testing.assert_close(text[:, 4:], pad.expand(2, 1, 44))
    keys = stream.blocks[0].cross_attn.project_conditions(text, repeats, None)
    assert keys.text_keys.shape == keys.text_values.shape == (2, 7, 44)
    assert torch.equal(keys.text_values[:, 5:], keys.text_values[:, 4:5].expand(2, 2, 44))
    assert stream.embed_text(normal(2, 6, 10, seed=1))[1] == stream.embed_text(normal(2, 7, 10, seed=1))[1] == 0


def test_rows_of_padding_are_attended_to() -> None:
    model, inputs = tiny_model(), given()
    padded = inputs.but(video_context=torch.cat([inputs.video_context, torch.zeros(2, 2, 10)], 1))
    for written, implied in zip(run(model, padded), run(model, inputs), strict=True):
        assert rel_l2(written, implied) < 1e-12
    shorter = tiny_model(tiny_config(text_len=5))
    shorter.load_state_dict(model.state_dict())
    assert rel_l2(run(shorter, inputs)[0], run(model, inputs)[0]) > 1e-3


def test_more_rows_of_text_than_the_model_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="got 8 rows, this model takes 7"):
        tiny_model().encode_conditions(normal(1, 8, 10, seed=0), None)


def test_exactly_the_rows_the_model_takes_are_all_used() -> None:
    model, inputs = tiny_model(), given()
    full = inputs.but(video_context=normal(2, 7, 10, seed=3))
    last_changed = full.video_context.clone()
    last_changed[:, -1] += 1
    assert rel_l2(run(model, full.but(video_context=last_changed))[0], run(model, full)[0]) > 1e-4


@pytest.mark.parametrize("held", [(0,), (0, 1), (2,), (0, 1, 2)], ids=str)
def test_runs_of_noise_levels_are_levels_of_every_token(held: tuple[int, ...]) -> None:
    model, inputs = tiny_model(), given()
    table = inputs.video_timestep.clone()
    table[:, list(held)] = 0
    inputs = inputs.but(video_timestep=table)
    video, audio = stream_inputs(model, inputs)
    every = NoiseLevels(table.repeat_interleave(6, dim=1), (1,) * 18)
    one_by_one = StreamInput(video.latent, every, video.rope, video.conditions)
    for runs, tokens in zip(model(video, audio), model(one_by_one, audio), strict=True):
        torch.testing.assert_close(runs, tokens)


def test_the_head_takes_each_runs_own_level() -> None:
    head = tiny_model().audio.head
    tokens, level = normal(2, 6, 44, seed=0), normal(2, 2, 44, seed=1)
    result = head(tokens, level, (2, 4))
    for run_index, part in enumerate((slice(0, 2), slice(2, 6))):
        alone = head(tokens[:, part], level[:, run_index : run_index + 1], (part.stop - part.start,))
        torch.testing.assert_close(result[:, part], alone)
    assert rel_l2(head(tokens, level[:, :1], (6,))[:, 2:], result[:, 2:]) > 1e-2


def test_the_head_is_norm_times_scale_plus_shift_projected() -> None:
    head: Head = tiny_model().video.head
    tokens, level = normal(1, 3, 44, seed=0), normal(1, 1, 44, seed=1)
    shift, scale = head.modulation.weight[0] + level[0]
    normed = torch.nn.functional.layer_norm(tokens, (44,), eps=1e-6)
    torch.testing.assert_close(head(tokens, level, (3,)), head.head(normed * (1 + scale) + shift))


def test_both_streams_are_one_class() -> None:
    model = tiny_model()
    assert type(model.video) is type(model.audio) is Stream


def test_extra_positions_change_the_output_and_off_has_no_parameters() -> None:
    plain, extra = tiny_model(), tiny_model(tiny_config(extra_positions=(2, 3)))
    added = set(extra.state_dict()) - set(plain.state_dict())
    assert added == {
        "video.extra_positions.time.weight",
        "video.extra_positions.time.bias",
        "video.extra_positions.space.weight",
        "audio.extra_positions.time.weight",
        "audio.extra_positions.time.bias",
    }
    extra.load_state_dict(plain.state_dict(), strict=False)
    inputs = given()
    for without, with_them in zip(run(plain, inputs), run(extra, inputs), strict=True):
        assert rel_l2(with_them, without) > 1e-2
    assert plain.video_layout(inputs.video)[1] is None


def test_extra_positions_are_added_to_the_tokens() -> None:
    model, inputs = tiny_model(tiny_config(extra_positions=(2, 3))), given()
    for stream, part in zip((model.video, model.audio), stream_inputs(model, inputs), strict=True):
        assert torch.equal(stream.begin(part)[0].tokens, stream.embed(part.latent) + part.extra_positions)


def test_extra_positions_are_the_seconds_and_the_place_of_a_token() -> None:
    model = tiny_model(tiny_config(extra_positions=(2, 3)))
    _, video = model.video_layout(normal(1, 3, 3, 4, 6, seed=0))
    grid = video.unflatten(0, (3, 2, 3))
    torch.testing.assert_close(
        grid - grid[:1, :1, :1], (grid[:, :1, :1] - grid[:1, :1, :1]) + grid[:1] - grid[:1, :1, :1]
    )
    places = model.video.extra_positions.space.weight.unflatten(0, (2, 3))
    torch.testing.assert_close(grid[0] - grid[0, 0, 0], places - places[0, 0], rtol=1e-5, atol=1e-5)
    _, audio = model.audio_layout(normal(1, 5, 4, seed=0))
    model.audio.extra_positions.load_state_dict(model.video.extra_positions.state_dict(), strict=False)
    _, again = model.audio_layout(normal(1, 5, 4, seed=0))
    torch.testing.assert_close(again[0] + places[0, 0], video[0], rtol=1e-5, atol=1e-5)
    assert rel_l2(audio, again) > 1e-2
