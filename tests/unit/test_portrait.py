"""A picture of any size made into the first frame: sizes, colours, and what people are told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unitalking.portrait import FIT_MODES, fit_portrait


def picture(batch: int, height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(batch, height, width, channels, generator=torch.Generator().manual_seed(seed))


def ramp(height: int, width: int) -> Tensor:
    """Red grows to the right, green downwards, both linear in the pixel's centre."""
    red = ((torch.arange(width) + 0.5) / width).expand(height, width)
    green = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    return torch.stack([red, green, torch.full_like(red, 0.5)], dim=-1)[None]


@pytest.mark.parametrize("mode", FIT_MODES)
@pytest.mark.parametrize("size", [(512, 512), (300, 200), (200, 300), (1, 1), (1, 700), (2000, 3)])
def test_every_picture_gets_the_size_asked_for(mode: str, size: tuple[int, int]) -> None:
    fitted, _ = fit_portrait(picture(1, *size), 96, 64, mode)
    assert fitted.shape == (1, 64, 96, 3)
    assert fitted.dtype == torch.float32
    assert 0 <= float(fitted.min())
    assert float(fitted.max()) <= 1


@pytest.mark.parametrize("mode", FIT_MODES)
def test_a_picture_that_fits_comes_back_unchanged_without_a_note(mode: str) -> None:
    image = picture(1, 64, 96)
    fitted, notes = fit_portrait(image, 96, 64, mode)
    assert torch.equal(fitted, image)
    assert notes == ()


def test_crop_keeps_the_centre() -> None:
    fitted, notes = fit_portrait(ramp(100, 300), 100, 100, "crop")
    expected = ramp(100, 300)[:, :, 100:200]
    torch.testing.assert_close(fitted, expected, atol=1e-5, rtol=0)
    assert notes == ("Cropped 100 px left and right.",)


def test_crop_counts_pixels_of_the_given_picture() -> None:
    _, notes = fit_portrait(ramp(400, 200), 100, 100, "crop")
    assert notes == ("Cropped 100 px top and bottom.",)


def test_resizing_keeps_colours_where_they_were() -> None:
    fitted, _ = fit_portrait(ramp(256, 256), 64, 64, "crop")
    torch.testing.assert_close(fitted[:, 4:-4, 4:-4], ramp(64, 64)[:, 4:-4, 4:-4], atol=1e-3, rtol=0)


def test_what_is_too_fine_for_the_frame_is_averaged() -> None:
    noise = picture(1, 512, 512)
    fitted, _ = fit_portrait(noise, 64, 64, "crop")
    assert float(noise.std()) == pytest.approx(0.29, abs=0.01)
    assert float(fitted.std()) < 0.06  # single pixels picked out would keep 0.25


def test_a_hard_edge_stays_within_range() -> None:
    edge = torch.zeros(1, 16, 16, 3)
    edge[:, :, 8:] = 1
    fitted, _ = fit_portrait(edge, 160, 160, "crop")
    assert float(fitted.min()) == 0
    assert float(fitted.max()) == 1


def test_pad_shows_all_and_fills_with_the_rims_mean() -> None:
    image = torch.full((1, 100, 50, 3), 0.2)
    image[:, 20:80, 10:40] = 0.9
    fitted, notes = fit_portrait(image, 100, 100, "pad")
    torch.testing.assert_close(fitted[:, :, 25:75], image)
    torch.testing.assert_close(fitted[:, :, :25], torch.full((1, 100, 25, 3), 0.2))
    assert notes == ("Padded 50 px in all left and right, in the mean colour of the picture's rim.",)


def test_stretch_says_by_how_much() -> None:
    fitted, notes = fit_portrait(ramp(100, 200), 100, 100, "stretch")
    torch.testing.assert_close(fitted[:, 4:-4, 4:-4], ramp(100, 100)[:, 4:-4, 4:-4], atol=1e-3, rtol=0)
    assert notes == ("Stretched: 0.50 times as wide, for its height, as it was.",)


def test_transparency_shows_neutral_grey() -> None:
    image = torch.cat([picture(1, 8, 8), torch.zeros(1, 8, 8, 1)], dim=-1)
    image[:, :4, :, 3] = 1.0
    image[:, 4:6, :, 3] = 0.5
    fitted, notes = fit_portrait(image, 8, 8, "crop")
    torch.testing.assert_close(fitted[:, :4], image[:, :4, :, :3])
    torch.testing.assert_close(fitted[:, 4:6], 0.5 * image[:, 4:6, :, :3] + 0.25)
    torch.testing.assert_close(fitted[:, 6:], torch.full((1, 2, 8, 3), 0.5))
    assert notes == ("Transparent parts were replaced by neutral grey.",)


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    image = torch.cat([picture(1, 8, 8), torch.ones(1, 8, 8, 1)], dim=-1)
    fitted, notes = fit_portrait(image, 8, 8, "crop")
    assert torch.equal(fitted, image[..., :3])
    assert notes == ()


def test_a_grey_picture_becomes_three_equal_channels() -> None:
    image = picture(1, 8, 8, channels=1)
    fitted, _ = fit_portrait(image, 8, 8, "crop")
    assert torch.equal(fitted, image.expand(-1, -1, -1, 3))


def test_of_several_pictures_the_first_is_used_and_said() -> None:
    batch = picture(3, 32, 32)
    batch[2] = float("nan")  # what is not used need not be right
    fitted, notes = fit_portrait(batch, 32, 32, "crop")
    assert torch.equal(fitted, batch[:1])
    assert notes == ("The batch has 3 pictures; only the first is used.",)


def test_a_tiny_picture_is_enlarged_with_a_warning() -> None:
    fitted, notes = fit_portrait(torch.full((1, 1, 1, 3), 0.3), 64, 32, "crop")
    torch.testing.assert_close(fitted, torch.full((1, 32, 64, 3), 0.3))
    assert notes[0].startswith("The picture has only 1 x 1 px and was enlarged 64.0 times")


def test_values_out_of_range_are_limited_and_said() -> None:
    image = picture(1, 8, 8)
    image[0, 0, 0] = torch.tensor([-0.5, 0.5, 1.5])
    fitted, notes = fit_portrait(image, 8, 8, "crop")
    torch.testing.assert_close(fitted[0, 0, 0], torch.tensor([0.0, 0.5, 1.0]))
    assert notes == ("Values from -0.5 to 1.5 were limited to 0..1.",)


def test_half_precision_pictures_come_back_in_single_precision() -> None:
    fitted, _ = fit_portrait(picture(1, 40, 40).bfloat16(), 32, 32, "crop")
    assert fitted.dtype == torch.float32


def test_the_picture_given_is_not_changed() -> None:
    image = picture(1, 40, 40, channels=4) * 2 - 0.5
    before = image.clone()
    fit_portrait(image, 32, 32, "pad")
    assert torch.equal(image, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_values_are_counted_in_the_error(value: float) -> None:
    image = picture(1, 8, 8)
    image[0, 0, :2, 0] = value
    with pytest.raises(ValueError, match="2 values that are NaN or infinite, of 192"):
        fit_portrait(image, 8, 8, "crop")


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 0, 8, 3)])
def test_an_empty_picture_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="empty"):
        fit_portrait(torch.zeros(shape), 8, 8, "crop")


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 3, 8, 8), (1, 8, 8, 2)])
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected \\(batch, height, width, channels\\)"):
        fit_portrait(torch.zeros(shape), 8, 8, "crop")


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"torch\.uint8"):
        fit_portrait(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), 8, 8, "crop")


def test_an_unknown_mode_and_an_impossible_size_are_named() -> None:
    with pytest.raises(ValueError, match="'squash'; expected one of crop, pad, stretch"):
        fit_portrait(picture(1, 8, 8), 8, 8, "squash")
    with pytest.raises(ValueError, match="0 x 8"):
        fit_portrait(picture(1, 8, 8), 0, 8, "crop")
