"""The small video VAE: strides, causality in both directions, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unitalking.codec.video_vae import VIDEO_VAE_TINY, VideoVAE, VideoVAEConfig
from unitalking.mapping import from_mapping, to_mapping

SMALL = VideoVAEConfig(6, (4, 6, 8), 1)


@pytest.fixture(scope="module")
def vae() -> VideoVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VideoVAE(SMALL, dtype=torch.float64).requires_grad_(False)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (13, 4)])
def test_sizes_are_those_of_wan(vae: VideoVAE, frames: int, latents: int) -> None:
    mean, logvar = vae.encode_distribution(normal(2, 3, frames, 32, 48))
    assert mean.shape == logvar.shape == (2, 6, latents, 2, 3)
    assert vae.decode(mean).shape == (2, 3, frames, 32, 48)


@pytest.mark.parametrize("frame", range(9))
def test_latent_depends_on_no_frame_after_its_own(vae: VideoVAE, frame: int) -> None:
    frames = normal(1, 3, 13, 32, 32)
    changed = frames.clone()
    changed[:, :, frame] += 1
    before, after = vae.encode_distribution(frames), vae.encode_distribution(changed)
    own = -(-frame // 4)  # latent k ends with frame 4k
    for value, other in zip(before, after, strict=True):
        assert torch.equal(value[:, :, :own], other[:, :, :own])
        assert (value[:, :, own] - other[:, :, own]).abs().max() > 1e-6


@pytest.mark.parametrize("latent", range(4))
def test_frames_depend_on_no_latent_after_their_own(vae: VideoVAE, latent: int) -> None:
    latents = normal(1, 6, 4, 2, 2)
    changed = latents.clone()
    changed[:, :, latent] += 1
    before, after = vae.decode(latents), vae.decode(changed)
    first = max(0, 4 * latent - 3)
    assert torch.equal(before[:, :, :first], after[:, :, :first])
    assert ((before - after)[:, :, first : 4 * latent + 1].abs().amax(dim=(0, 1, 3, 4)) > 1e-6).all()


def test_neighbouring_latents_are_mixed_in_both_directions_of_the_codec(vae: VideoVAE) -> None:
    frames, latents = normal(1, 3, 9, 32, 32), normal(1, 6, 3, 2, 2)
    changed_frames, changed_latents = frames.clone(), latents.clone()
    changed_frames[:, :, 0] += 1
    changed_latents[:, :, 0] += 1
    assert (vae.encode(frames) - vae.encode(changed_frames))[:, :, 1].abs().max() > 1e-6
    assert (vae.decode(latents) - vae.decode(changed_latents))[:, :, 1:5].abs().max() > 1e-6


def test_first_frame_alone_is_the_first_latent_of_a_clip(vae: VideoVAE) -> None:
    frames = normal(1, 3, 9, 32, 32)
    torch.testing.assert_close(vae.encode(frames[:, :, :1]), vae.encode(frames)[:, :, :1])


def test_clips_of_a_batch_are_independent(vae: VideoVAE) -> None:
    frames = normal(2, 3, 5, 32, 32)
    latents = vae.encode(frames)
    torch.testing.assert_close(latents[1:], vae.encode(frames[1:]))
    torch.testing.assert_close(vae.decode(latents)[1:], vae.decode(latents[1:]))


def test_encoding_is_deterministic_and_is_the_mean(vae: VideoVAE) -> None:
    frames = normal(1, 3, 5, 32, 32)
    assert torch.equal(vae.encode(frames), vae.encode_distribution(frames)[0])


def test_every_latent_cell_shows_in_its_own_pixels_and_frames_are_not_clamped(vae: VideoVAE) -> None:
    latents = normal(1, 6, 2, 3, 3)
    changed = latents.clone()
    changed[:, :, 1, 1, 2] += 1
    difference = (vae.decode(latents) - vae.decode(changed)).abs()
    assert difference[0, :, 1:, 16:32, 32:48].amax(dim=(0, 2, 3)).min() > 1e-6
    assert difference[0, :, 0].max() == 0
    assert vae.decode(100 * latents).abs().max() > 1


def test_stacked_channels_are_ordered_frame_colour_row_column_on_both_sides() -> None:
    vae = VideoVAE(SMALL, dtype=torch.float64).requires_grad_(False)
    vae.decoder.conv_out.weight.zero_()
    vae.decoder.conv_out.bias.copy_(torch.arange(192))
    block = vae.decode(normal(1, 6, 2, 1, 1))[0, :, 1:, :4, :4].transpose(0, 1)  # frames of latent 1, (4, 3, 4, 4)
    assert torch.equal(block.flatten(), torch.arange(192, dtype=torch.float64))
    stacked = []
    vae.encoder.conv_in.register_forward_pre_hook(lambda module, args: stacked.append(args[0]))
    vae.encode(torch.cat((block[:1], block)).transpose(0, 1).repeat(1, 1, 4, 4)[None])
    assert torch.equal(stacked[0][1, :, 0, 0], torch.arange(192, dtype=torch.float64))
    assert torch.equal(stacked[0][0, :, 0, 0], torch.arange(48, dtype=torch.float64).repeat(4))


def test_log_variance_is_limited(vae: VideoVAE) -> None:
    scaled = VideoVAE(SMALL, dtype=torch.float64).requires_grad_(False)
    scaled.encoder.conv_out.weight.mul_(1e4)
    _, logvar = scaled.encode_distribution(normal(1, 3, 5, 32, 32))
    assert (logvar.min(), logvar.max()) == (-30, 20)


def test_gradient_reaches_every_parameter() -> None:
    vae = VideoVAE(SMALL, dtype=torch.float64)
    mean, logvar = vae.encode_distribution(normal(1, 3, 9, 32, 32))
    (vae.decode(mean).square().mean() + logvar.square().mean()).backward()
    assert [name for name, value in vae.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 50, 32, 32), r"frames: got 50, expected 4 n \+ 1, e\.g\. 49 or 53"),
        ((1, 3, 48, 32, 32), r"frames: got 48, expected 4 n \+ 1, e\.g\. 45 or 49"),
        ((1, 3, 2, 32, 32), r"frames: got 2, expected 4 n \+ 1, e\.g\. 1 or 5"),
        ((1, 3, 5, 100, 32), r"height: got 100 pixels, expected a multiple of 16, e\.g\. 96 or 112"),
        ((1, 3, 5, 32, 15), r"width: got 15 pixels, expected a multiple of 16, e\.g\. 16"),
        ((1, 4, 5, 32, 32), r"frames: got shape .* expected \(clips, 3, frames, height, width\)"),
        ((3, 5, 32, 32), r"frames: got shape"),
        ((1, 3, 0, 32, 32), r"frames: got shape"),
    ],
)
def test_wrong_frames_are_refused_with_the_nearest_valid_numbers(
    vae: VideoVAE, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        vae.encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 5, 2, 2, 2), (1, 6, 0, 2, 2), (6, 2, 2, 2)])
def test_latents_of_another_model_are_refused(vae: VideoVAE, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"video latents: got shape .* expected \(clips, 6, latents, h, w\)"):
        vae.decode(torch.zeros(shape))


def test_default_has_four_to_five_million_parameters_and_tiny_fits_a_bundle() -> None:
    counts = [
        sum(value.numel() for value in VideoVAE(config, device="meta").parameters())
        for config in (VideoVAEConfig(), VIDEO_VAE_TINY)
    ]
    assert 4e6 < counts[0] < 5e6
    assert counts[1] < 750_000


def test_config_survives_json() -> None:
    assert from_mapping(VideoVAEConfig, to_mapping(VIDEO_VAE_TINY)) == VIDEO_VAE_TINY


@pytest.mark.parametrize(("field", "value"), [
    ("latent_channels", 0), ("blocks", 0), ("widths", (8, 8)), ("widths", (8, 0, 8)), ("widths", 8)])  # fmt: skip
def test_impossible_config_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"VideoVAEConfig\.{field}.*got .*expected"):
        VideoVAEConfig(**{field: value})
