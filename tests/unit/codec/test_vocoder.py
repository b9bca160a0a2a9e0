"""BigVGAN: equations, weight norm, key names, reach."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from unitalking.codec.audio_codec import BIGVGAN_V1_16K, BIGVGAN_V2_44K
from unitalking.codec.vocoder import (
    Activation,
    AMPBlock,
    SnakeBeta,
    Vocoder,
    VocoderConfig,
    fuse_weight_norm,
    lowpass_filter,
)

SMALL = VocoderConfig(6, (4, 2), (8, 6), 8, (3, 5), ((1, 3), (1, 2, 5)))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def randomised(module: nn.Module) -> nn.Module:
    """The module in float64 with every tensor drawn, 0.3 standard deviation."""
    module = module.double().requires_grad_(False)
    for seed, value in enumerate(module.parameters()):
        value.copy_(0.3 * normal(*value.shape, seed=seed))
    return module


@pytest.mark.parametrize(
    ("config", "tensors", "millions"), [(BIGVGAN_V2_44K, 449, 122.15), (BIGVGAN_V1_16K, 450, 112.20)], ids=["v2", "v1"]
)
def test_full_size_is_the_published_one(config: VocoderConfig, tensors: int, millions: float) -> None:
    weights = Vocoder(config, device="meta").state_dict()
    assert len(weights) == tensors
    assert round(sum(value.numel() for value in weights.values()) / 1e6, 2) == millions


def test_names_are_the_public_ones() -> None:
    weights = Vocoder(BIGVGAN_V2_44K, device="meta").state_dict()
    names = {f"conv_pre.{end}" for end in ("weight", "bias")} | {"conv_post.weight"}
    names |= {f"activation_post.act.{end}" for end in ("alpha", "beta")}
    names |= {f"ups.{stage}.0.{end}" for stage in range(6) for end in ("weight", "bias")}
    for block in range(18):
        for conv in ("convs1", "convs2"):
            names |= {f"resblocks.{block}.{conv}.{i}.{end}" for i in range(3) for end in ("weight", "bias")}
        names |= {f"resblocks.{block}.activations.{i}.act.{end}" for i in range(6) for end in ("alpha", "beta")}
    assert set(weights) == names
    assert tuple(weights["ups.0.0.weight"].shape) == (1536, 768, 16)
    assert tuple(weights["resblocks.17.convs1.2.weight"].shape) == (24, 24, 11)


@pytest.mark.parametrize("final_bias", [True, False])
def test_bias_of_the_last_convolution_is_a_choice(final_bias: bool) -> None:
    vocoder = Vocoder(replace(SMALL, final_bias=final_bias), device="meta")
    assert ("conv_post.bias" in vocoder.state_dict()) is final_bias


def test_filter_is_symmetric_sums_to_one_and_halves_the_band() -> None:
    taps = lowpass_filter()
    torch.testing.assert_close(taps, taps.flip(0))
    assert taps.sum().item() == pytest.approx(1)
    response = torch.fft.rfft(taps, 480).abs()  # bin k: k / 480 cycles per sample
    assert response[:40].min() > 0.9  # passes up to 1/12
    assert response[120].item() == pytest.approx(0.5, abs=0.05)  # half at the cutoff, 1/4
    assert response[200:].max() < 0.01  # stops from 5/12


def test_snake_is_the_written_out_equation_in_log_scale() -> None:
    snake = randomised(SnakeBeta(3))
    hidden = normal(2, 3, 7)
    alpha, beta = snake.alpha[:, None], snake.beta[:, None]
    expected = hidden + torch.sin(hidden * alpha.exp()) ** 2 / (beta.exp() + 1e-9)
    torch.testing.assert_close(snake(hidden), expected)


def test_activation_is_up_snake_down_written_out_sample_by_sample() -> None:
    activation = randomised(Activation(2))
    hidden, taps = normal(1, 2, 9), lowpass_filter()
    padded = functional.pad(hidden, (5, 5), mode="replicate")
    raised = torch.zeros(1, 2, 2 * padded.shape[2] + 10, dtype=torch.float64)
    for index in range(padded.shape[2]):
        raised[:, :, 2 * index : 2 * index + 12] += 2 * padded[:, :, index, None] * taps
    raised = activation.act(raised[:, :, 15:-15])
    assert raised.shape[2] == 18
    padded = functional.pad(raised, (5, 6), mode="replicate")
    expected = torch.stack([(padded[:, :, 2 * n : 2 * n + 12] * taps).sum(dim=2) for n in range(9)], dim=2)
    torch.testing.assert_close(activation(hidden, taps), expected)


def test_block_adds_each_pair_of_convolutions_in_turn() -> None:
    block, taps = randomised(AMPBlock(4, 5, (1, 3))), lowpass_filter()
    hidden = normal(2, 4, 30)
    expected = hidden
    for index, dilation in enumerate((1, 3)):
        first, second = block.convs1[index], block.convs2[index]
        branch = block.activations[2 * index](expected, taps)
        branch = functional.conv1d(branch, first.weight, first.bias, padding=2 * dilation, dilation=dilation)
        branch = block.activations[2 * index + 1](branch, taps)
        expected = expected + functional.conv1d(branch, second.weight, second.bias, padding=2)
    torch.testing.assert_close(block(hidden, taps), expected)


def test_stage_is_the_mean_of_its_blocks() -> None:
    vocoder, taps = randomised(Vocoder(SMALL)), lowpass_filter()
    mel = normal(1, 6, 12)
    hidden = vocoder.conv_pre(mel)
    for stage in range(2):
        hidden = vocoder.ups[stage][0](hidden)
        hidden = (vocoder.resblocks[2 * stage](hidden, taps) + vocoder.resblocks[2 * stage + 1](hidden, taps)) / 2
    expected = vocoder.conv_post(vocoder.activation_post(hidden, taps))[:, 0].tanh()
    torch.testing.assert_close(vocoder(mel), expected)


def test_v1_ends_in_tanh_and_v2_in_a_clamp() -> None:
    vocoder = randomised(Vocoder(replace(SMALL, final="clamp")))
    vocoder.conv_post.weight.mul_(0.2)
    clamped = vocoder(normal(1, 6, 12))
    vocoder.config = replace(SMALL, final="tanh")
    squashed = vocoder(normal(1, 6, 12))
    inside = clamped.abs() < 1
    assert 0.05 < inside.double().mean() < 0.95
    torch.testing.assert_close(squashed[inside], clamped[inside].tanh())
    assert squashed.abs().max() < 1
    assert (BIGVGAN_V1_16K.final, BIGVGAN_V1_16K.final_bias) == ("tanh", True)
    assert (BIGVGAN_V2_44K.final, BIGVGAN_V2_44K.final_bias) == ("clamp", False)


def test_every_frame_gives_hop_samples() -> None:
    assert randomised(Vocoder(SMALL))(normal(3, 6, 5)).shape == (3, 5 * 8)


@pytest.mark.parametrize(
    "config",
    [SMALL, replace(BIGVGAN_V2_44K, mels=2, initial_channels=64), replace(BIGVGAN_V1_16K, mels=2, initial_channels=64)],
    ids=["small", "v2", "v1"],
)
def test_reach_is_exactly_what_is_declared(config: VocoderConfig) -> None:
    # NaN spreads to exactly what depends on it. float32, because float64 has no fast depthwise convolution.
    vocoder = randomised(Vocoder(config)).float()
    first, after = config.frames_needed(0, config.hop)
    frames = after - first + 2
    mel = normal(4, config.mels, frames).float()
    for row, frame in enumerate((0, 1, frames - 2, frames - 1)):
        mel[row, :, frame] = torch.nan
    probe = 1 - first
    samples = vocoder(mel)[:, probe * config.hop : (probe + 1) * config.hop]
    assert samples.isnan().any(dim=1).tolist() == [False, True, True, False]


def test_needed_frames_of_single_samples_make_up_those_of_the_range() -> None:
    singles = [SMALL.frames_needed(sample, sample + 1) for sample in range(5, 21)]
    assert SMALL.frames_needed(5, 21) == (min(first for first, _ in singles), max(after for _, after in singles))


def test_weight_norm_is_fused_as_torch_does_it() -> None:
    direct, transposed = weight_norm(nn.Conv1d(4, 6, 3).double()), weight_norm(nn.ConvTranspose1d(4, 2, 4).double())
    stored = {}
    for name, layer in (("conv_pre", direct), ("ups.0.0", transposed)):
        layer.parametrizations.weight.original0.data.mul_(1.7)
        stored |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    old_names = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in stored.items()
    }
    assert "conv_pre.weight_g" in old_names
    expected = {
        "conv_pre.weight": direct.weight,
        "conv_pre.bias": direct.bias,
        "ups.0.0.weight": transposed.weight,
        "ups.0.0.bias": transposed.bias,
    }
    for weights in (stored, old_names):
        fused = fuse_weight_norm(weights)
        assert set(fused) == set(expected)
        for key, value in expected.items():
            torch.testing.assert_close(fused[key], value.detach())


def test_fused_weights_pass_and_filters_are_dropped() -> None:
    weights = {key: normal(*value.shape) for key, value in Vocoder(SMALL).state_dict().items()}
    filters = {f"{name}.{end}": torch.zeros(1, 1, 12) for name in ("activation_post", "resblocks.0.activations.0")
               for end in ("upsample.filter", "downsample.lowpass.filter")}  # fmt: skip
    fused = fuse_weight_norm(weights | filters)
    assert fused == weights
    assert fuse_weight_norm(fused) == fused


def test_half_precision_weight_norm_is_fused_in_fp32() -> None:
    size, direction = normal(4, 1, 1).bfloat16(), normal(4, 5, 3).bfloat16()
    fused = fuse_weight_norm({"a.weight_g": size, "a.weight_v": direction})["a.weight"]
    exact = size.double() * direction.double() / direction.double().flatten(1).norm(dim=1)[:, None, None]
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("missing", ["weight_g", "weight_v"])
def test_half_a_pair_is_refused_by_name(missing: str) -> None:
    pair = {"conv_pre.weight_g": normal(4, 1, 1), "conv_pre.weight_v": normal(4, 5, 3)}
    del pair[f"conv_pre.{missing}"]
    with pytest.raises(ValueError, match=f"conv_pre.{missing} is missing"):
        fuse_weight_norm(pair)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mels", 0),
        ("upsample_rates", ()),
        ("upsample_rates", (4, 0)),
        ("upsample_kernel_sizes", (8,)),
        ("upsample_kernel_sizes", (8, 5)),
        ("upsample_kernel_sizes", (2, 6)),
        ("initial_channels", 6),
        ("resblock_kernel_sizes", (3, 4)),
        ("resblock_dilations", ((1, 3),)),
        ("resblock_dilations", ((1, 3), (0,))),
        ("final", "sigmoid"),
        ("final_bias", None),
    ],
)
def test_impossible_config_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"VocoderConfig\.{field}.*got .*expected"):
        replace(SMALL, **{field: value})


def test_default_shapes_are_bigvgans() -> None:
    assert (math.prod(BIGVGAN_V2_44K.upsample_rates), BIGVGAN_V2_44K.hop, BIGVGAN_V1_16K.hop) == (512, 512, 256)
    assert BIGVGAN_V2_44K.resblock_kernel_sizes == (3, 7, 11)
    assert BIGVGAN_V2_44K.resblock_dilations == ((1, 3, 5),) * 3
