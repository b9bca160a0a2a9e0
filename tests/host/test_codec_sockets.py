"""The pack's codecs behind the host's VAE socket: the module's own values, in the host's ranges and layouts."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny_model import TINY_MODEL
from torch import Tensor

pytestmark = pytest.mark.usefixtures("as_nodes_run")

Pack = Callable[[str], ModuleType]
RATE = 16000


@pytest.fixture(scope="module")
def loaded(pack: Pack) -> tuple[Any, ...]:
    """MODEL, CLIP, VAE and audio VAE of the tiny random model."""
    pack("nodes.files").register_folders()
    choices = 3 * ["from model file"]
    return pack("nodes.loaders").LoadModel.execute(TINY_MODEL.name, *choices, "default").args


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_pictures_are_the_modules_in_the_range_of_images(loaded: tuple[Any, ...]) -> None:
    vae, latents = loaded[2], normal(1, 24, 3, 4, 4)
    expected = (vae.first_stage_model.decode(latents) / 2 + 0.5).clamp(0, 1).movedim(1, -1)
    assert expected.shape == (1, 9, 64, 64, 3)
    torch.testing.assert_close(vae.decode(latents), expected)
    assert float(expected.std()) > 0.01


def test_latents_are_the_modules_of_pictures_from_minus_one_to_one(loaded: tuple[Any, ...]) -> None:
    vae, pictures = loaded[2], normal(9, 64, 64, 3).sigmoid()
    expected = vae.first_stage_model.encode((2 * pictures - 1).movedim(-1, 0)[None])
    assert expected.shape == (1, 24, 3, 4, 4)
    torch.testing.assert_close(vae.encode(pictures), expected)


def test_sound_is_the_modules_on_two_equal_channels(loaded: tuple[Any, ...]) -> None:
    vae, latents = loaded[3], normal(1, 20, 12)
    expected = vae.first_stage_model.codec.decode(latents)
    waveform = vae.decode(latents).movedim(-1, 1)
    assert waveform.shape == (1, 2, 12 * 512)
    for channel in (0, 1):
        torch.testing.assert_close(waveform[:, channel], expected.reshape(1, -1))


def test_stereo_is_mixed_before_it_is_encoded(loaded: tuple[Any, ...]) -> None:
    vae, stereo = loaded[3], 0.1 * normal(1, RATE, 2)
    expected = vae.first_stage_model.codec.encode(stereo.mean(-1))
    torch.testing.assert_close(vae.encode(stereo), expected)
    assert float((vae.encode(stereo) - vae.encode(stereo[..., :1].repeat(1, 1, 2))).abs().max()) > 1e-3


def test_decode_av_leaves_the_loudness_alone_and_cuts_to_the_pictures(pack: Pack, loaded: tuple[Any, ...]) -> None:
    latents = normal(1, 20, 12)
    whole = loaded[3].decode(latents).movedim(-1, 1)
    sound = pack("nodes.decode").decode_sound(loaded[3], latents, 9, 24.0)
    assert sound["sample_rate"] == RATE
    assert torch.equal(sound["waveform"], whole[..., :6000])


def test_decode_av_fills_up_with_silence(pack: Pack, loaded: tuple[Any, ...]) -> None:
    waveform = pack("nodes.decode").decode_sound(loaded[3], normal(1, 20, 3), 9, 24.0)["waveform"]
    assert waveform.shape == (1, 2, 6000)
    assert not waveform[..., 3 * 512 :].any()
    assert waveform[..., : 3 * 512].any()


@pytest.mark.parametrize(("frames", "fps", "samples"), [(1, 24.0, 667), (1, 30.0, 533), (33, 24.0, 22000)])
def test_decode_av_rounds_to_the_sample(
    pack: Pack, loaded: tuple[Any, ...], frames: int, fps: float, samples: int
) -> None:
    sound = pack("nodes.decode").decode_sound(loaded[3], normal(1, 20, 3), frames, fps)
    assert sound["waveform"].shape == (1, 2, samples)
