"""Rotary positions: one time axis for both streams, spatial axes for the picture alone."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from builders import normal, tiny_config, tiny_model
from torch import Tensor

from unitalking.config import UniTalkingConfig
from unitalking.model.rope import apply_rope, audio_positions, axis_widths, rope_table, video_positions
from unitalking.types import Rope

CPU = torch.device("cpu")
FULL = UniTalkingConfig()


def table(positions: Tensor, config: UniTalkingConfig = FULL, dtype: torch.dtype = torch.float64) -> Rope:
    return rope_table(positions, config, CPU, dtype)


def test_a_head_of_128_splits_44_42_42() -> None:
    assert axis_widths(128) == (44, 42, 42)


@pytest.mark.parametrize(
    ("head_dim", "widths"),
    [(48, (16, 16, 16)), (44, (16, 14, 14)), (40, (16, 12, 12)), (22, (10, 6, 6)), (2, (2, 0, 0))],
)
def test_time_takes_what_the_spatial_axes_leave(head_dim: int, widths: tuple[int, int, int]) -> None:
    assert axis_widths(head_dim) == widths


def test_video_tokens_are_in_row_major_order() -> None:
    expected = [[t, h, w] for t in range(3) for h in range(2) for w in range(4)]
    assert video_positions((3, 2, 4)).tolist() == expected


def test_audio_moves_along_time_alone() -> None:
    positions = audio_positions(4, 0.25)
    assert positions.tolist() == [[0, 0, 0], [0.25, 0, 0], [0.5, 0, 0], [0.75, 0, 0]]


def test_a_window_of_the_sound_has_the_positions_it_has_in_the_clip() -> None:
    scale = FULL.position_scale
    torch.testing.assert_close(audio_positions(4, scale, 7 * scale), audio_positions(11, scale)[7:])


def test_positions_and_tables_are_made_in_float64_on_the_cpu() -> None:
    assert video_positions((2, 2, 2)).dtype == audio_positions(3, 0.5).dtype == torch.float64
    far = torch.tensor([[100000.25, 0.0, 0.0]], dtype=torch.float64)
    for dtype, limit in ((torch.float64, 1e-9), (torch.float32, 1e-7)):
        rope = table(far, dtype=dtype)
        assert rope.cos.dtype == rope.sin.dtype == dtype
        assert rope.cos[0, 0].item() == pytest.approx(math.cos(100000.25), abs=limit)
        assert rope.sin[0, 0].item() == pytest.approx(math.sin(100000.25), abs=limit)


def test_angles_are_the_position_times_theta_to_the_axis_exponents() -> None:
    config = tiny_config(rope_theta=200.0)
    angles = [
        axis * 200.0 ** (-2 * pair / width)
        for axis, width in zip((2.5, 3.0, 7.0), (10, 6, 6), strict=True)
        for pair in range(width // 2)
    ]
    rope = table(torch.tensor([[2.5, 3.0, 7.0]], dtype=torch.float64), config)
    expected = torch.tensor(angles, dtype=torch.float64)
    torch.testing.assert_close(rope.cos[0], expected.cos())
    torch.testing.assert_close(rope.sin[0], expected.sin())


def test_neighbouring_numbers_are_a_pair_that_turns_as_a_complex_number() -> None:
    config = tiny_config()
    rope = table(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), config)
    head = normal(1, 1, 1, 22, seed=0)
    turned = apply_rope(head, rope).flatten()
    for pair in range(11):
        number = complex(head[..., 2 * pair], head[..., 2 * pair + 1])
        number *= cmath.rect(1, cmath.phase(complex(rope.cos[0, pair], rope.sin[0, pair])))
        assert turned[2 * pair].item() == pytest.approx(number.real, abs=1e-12)
        assert turned[2 * pair + 1].item() == pytest.approx(number.imag, abs=1e-12)


@pytest.mark.parametrize(("sample_rate", "hop", "fps"), [(44100, 512, 24), (16000, 256, 24), (44100, 512, 25)])
def test_positions_of_both_streams_are_seconds_times_one_rate(sample_rate: int, hop: int, fps: float) -> None:
    config = UniTalkingConfig(sample_rate=sample_rate, hop=hop, fps=fps)
    audio = audio_positions(400, config.position_scale)[:, 0]
    seconds = torch.arange(400, dtype=torch.float64) * 2 * hop / sample_rate
    torch.testing.assert_close(audio, seconds * fps / 4)


def test_equal_seconds_turn_both_streams_alike() -> None:
    config = UniTalkingConfig(sample_rate=12 * 1024)  # two audio latents in the time of a video latent
    video, audio = table(video_positions((31, 1, 1)), config), table(audio_positions(61, config.position_scale), config)
    torch.testing.assert_close(audio.cos[::2], video.cos)
    torch.testing.assert_close(audio.sin[::2], video.sin)


def test_audio_is_not_turned_on_the_spatial_axes() -> None:
    rope = table(audio_positions(50, FULL.position_scale))
    heads = normal(1, 50, 2, 128, seed=1)
    turned = apply_rope(heads, rope)
    assert torch.equal(turned[..., 44:], heads[..., 44:])
    assert not torch.isclose(turned[:, 1:, :, :44], heads[:, 1:, :, :44]).all(-1).any()


def test_position_zero_is_the_identity() -> None:
    heads = normal(2, 1, 3, 22, seed=2)
    assert torch.equal(apply_rope(heads, table(video_positions((1, 1, 1)), tiny_config())), heads)


def test_scores_depend_on_the_distance_alone() -> None:
    config = tiny_config()
    near = torch.tensor([[0.0, 1.0, 2.0], [3.0, 5.0, 2.0]], dtype=torch.float64)
    far = near + torch.tensor([10.0, 20.0, 30.0])
    pair = normal(1, 2, 1, 22, seed=3)
    scores = [
        (turned[0, 0] * turned[0, 1]).sum() for turned in (apply_rope(pair, table(p, config)) for p in (near, far))
    ]
    torch.testing.assert_close(scores[0], scores[1])


def test_each_axis_turns_its_own_numbers() -> None:
    heads = normal(1, 1, 1, 128, seed=4)
    spans = [(0, 44), (44, 86), (86, 128)]
    for axis, (start, end) in enumerate(spans):
        positions = torch.zeros(1, 3, dtype=torch.float64)
        positions[0, axis] = 1.0
        changed = apply_rope(heads, table(positions)) != heads
        assert changed[..., start:end].all()
        assert not changed[..., :start].any()
        assert not changed[..., end:].any()


def test_rotation_keeps_lengths_and_the_dtype() -> None:
    rope = table(video_positions((2, 3, 2)), tiny_config())
    heads = normal(1, 12, 2, 22, seed=5)
    torch.testing.assert_close(apply_rope(heads, rope).norm(dim=-1), heads.norm(dim=-1))
    assert apply_rope(heads.bfloat16(), rope).dtype == torch.bfloat16


def test_time_scale_multiplies_the_time_of_both_streams_alone() -> None:
    plain, finer = (tiny_model(tiny_config(time_scale=scale)) for scale in (1.0, 4.0))
    video, audio = normal(1, 3, 5, 4, 4, seed=0), normal(1, 5, 7, seed=1)
    positions = video_positions((5, 2, 2)) * torch.tensor([4.0, 1.0, 1.0], dtype=torch.float64)
    expected = table(positions, finer.config)
    torch.testing.assert_close(finer.video_layout(video)[0].cos, expected.cos)
    later = audio_positions(7, 4 * plain.config.position_scale, 4 * 0.5)
    torch.testing.assert_close(finer.audio_layout(audio, start=0.5)[0].sin, table(later, finer.config).sin)
    assert not torch.equal(plain.audio_layout(audio)[0].cos, finer.audio_layout(audio)[0].cos)
