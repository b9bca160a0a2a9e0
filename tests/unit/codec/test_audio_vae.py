"""MMAudio's VAE: equations, weight normalisation, key names, sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unitalking.codec.audio_vae import AudioVAE, latents_needed, normalise_weights, weights_are_raw
from unitalking.codec.magnitude import Attention, ResidualBlock, mix, pixel_norm, scaled_silu

MELS, CHANNELS, HIDDEN = 10, 6, 8


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def vae() -> AudioVAE:
    """A small VAE with raw-scale statistics and gains, weights baked."""
    vae = AudioVAE(MELS, CHANNELS, HIDDEN, dtype=torch.float64)
    raw = {key: normal(*value.shape, seed=seed) for seed, (key, value) in enumerate(vae.state_dict().items())}
    raw |= {"data_std": raw["data_std"].abs() + 0.5}
    raw |= {key: torch.tensor(0.25, dtype=torch.float64) for key in raw if key.endswith("learnable_gain")}
    vae.load_state_dict(normalise_weights(raw))
    return vae.requires_grad_(False)


def public_shapes(mels: int, channels: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The 57 names of the released files, written out from their pattern."""
    widths = (hidden, 2 * hidden, 4 * hidden)
    shapes: dict[str, tuple[int, ...]] = {"data_mean": (1, mels, 1), "data_std": (1, mels, 1)}

    def block(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.conv1.weight"] = (outputs, inputs, 3)
        shapes[f"{name}.conv2.weight"] = (outputs, outputs, 3)
        if inputs != outputs:
            shapes[f"{name}.nin_shortcut.weight"] = (outputs, inputs, 1)

    for side in ("encoder", "decoder"):
        block(f"{side}.mid.block_1", widths[2], widths[2])
        block(f"{side}.mid.block_2", widths[2], widths[2])
        shapes[f"{side}.mid.attn_1.qkv.weight"] = (3 * widths[2], widths[2], 1)
        shapes[f"{side}.mid.attn_1.proj_out.weight"] = (widths[2], widths[2], 1)
        shapes[f"{side}.learnable_gain"] = ()
    shapes["encoder.conv_in.weight"] = (widths[0], mels, 3)
    shapes["encoder.conv_out.weight"] = (2 * channels, widths[2], 3)
    shapes["encoder.down.0.downsample.conv1.weight"] = (widths[0], widths[0], 1)
    shapes["encoder.down.0.downsample.conv2.weight"] = (widths[0], widths[0], 1)
    shapes["decoder.conv_in.weight"] = (widths[2], channels, 3)
    shapes["decoder.conv_out.weight"] = (mels, widths[0], 3)
    shapes["decoder.up.1.upsample.conv.weight"] = (widths[1], widths[1], 3)
    for level, inputs, outputs in ((0, 0, 0), (1, 0, 1), (2, 1, 2)):
        block(f"encoder.down.{level}.block.0", widths[inputs], widths[outputs])
        block(f"encoder.down.{level}.block.1", widths[outputs], widths[outputs])
    for level, inputs, outputs in ((2, 2, 2), (1, 2, 1), (0, 1, 0)):
        block(f"decoder.up.{level}.block.0", widths[inputs], widths[outputs])
        for index in (1, 2):
            block(f"decoder.up.{level}.block.{index}", widths[outputs], widths[outputs])
    return shapes


def test_names_and_shapes_are_those_of_the_released_files() -> None:
    vae = AudioVAE(128, 40, 512, device="meta")
    assert {key: tuple(value.shape) for key, value in vae.state_dict().items()} == public_shapes(128, 40, 512)
    assert len(vae.state_dict()) == 57


def test_full_size_has_the_published_number_of_parameters() -> None:
    vae = AudioVAE(128, 40, 512, device="meta")
    counts = {side: sum(p.numel() for p in part.parameters()) for side, part in vae.named_children()}
    assert {side: round(count / 1e6, 2) for side, count in counts.items()} == {"encoder": 129.14, "decoder": 176.34}


@pytest.mark.parametrize("frames", [2, 3, 10, 11])
def test_two_frames_make_a_latent_and_an_odd_last_one_is_dropped(vae: AudioVAE, frames: int) -> None:
    mel = normal(2, MELS, frames)
    mean, logvar = vae.encode(mel)
    assert mean.shape == logvar.shape == (2, CHANNELS, frames // 2)
    assert vae.decode(mean).shape == (2, MELS, frames // 2 * 2)


def test_statistics_apply_on_both_sides(vae: AudioVAE) -> None:
    mel, latents = normal(1, MELS, 8), normal(1, CHANNELS, 4)
    mean, std = vae.data_mean.clone(), vae.data_std.clone()
    encoded, decoded = vae.encode(mel)[0], vae.decode(latents)
    vae.data_mean.zero_()
    vae.data_std.fill_(1)
    torch.testing.assert_close(encoded, vae.encode((mel - mean) / std)[0])
    torch.testing.assert_close(decoded, vae.decode(latents) * std + mean)


def test_gain_scales_both_outputs(vae: AudioVAE) -> None:
    vae.data_mean.zero_()
    mel, latents = normal(1, MELS, 8), normal(1, CHANNELS, 4)
    before = vae.encode(mel)[0], vae.decode(latents)
    vae.encoder.learnable_gain.fill_(0.5)
    vae.decoder.learnable_gain.fill_(0.5)
    torch.testing.assert_close(vae.encode(mel)[0], before[0] * (1.5 / 1.25))
    torch.testing.assert_close(vae.decode(latents), before[1] * (1.5 / 1.25))


def test_log_variance_is_limited(vae: AudioVAE) -> None:
    vae.encoder.learnable_gain.fill_(1e4)
    _, logvar = vae.encode(normal(1, MELS, 40))
    assert (logvar.min(), logvar.max()) == (-30, 20)


def test_attention_takes_q_k_and_v_from_every_third_channel() -> None:
    attention = Attention(8, dtype=torch.float64).requires_grad_(False)
    hidden = normal(2, 8, 5)
    projected = functional.conv1d(hidden, attention.qkv.weight)

    def normalised(part: Tensor) -> Tensor:
        return part / (1e-4 + part.square().mean(dim=1, keepdim=True).sqrt())

    q, k, v = (normalised(projected[:, index::3]) for index in range(3))
    weights = torch.einsum("bcq,bck->bqk", q, k).div(math.sqrt(8)).softmax(dim=2)
    attended = functional.conv1d(torch.einsum("bqk,bck->bcq", weights, v), attention.proj_out.weight)
    torch.testing.assert_close(attention(hidden), (0.7 * hidden + 0.3 * attended) / math.sqrt(0.58))


@pytest.mark.parametrize("outputs", [6, 4])
def test_residual_block_is_the_written_out_equation(outputs: int) -> None:
    block = ResidualBlock(6, outputs, dtype=torch.float64).requires_grad_(False)
    hidden = 3 * normal(2, 6, 9)
    normed = hidden / (1e-4 + hidden.square().mean(dim=1, keepdim=True).sqrt())

    def act(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x) / 0.596

    branch = functional.conv1d(act(normed), block.conv1.weight, padding=1)
    branch = functional.conv1d(act(branch), block.conv2.weight, padding=1)
    skip = normed if outputs == 6 else functional.conv1d(normed, block.nin_shortcut.weight)
    torch.testing.assert_close(block(hidden), (0.7 * skip + 0.3 * branch) / math.sqrt(0.58))


def test_the_pieces_keep_the_magnitude_of_a_standard_normal() -> None:
    hidden, other = normal(1, 4096, 4), normal(1, 4096, 4, seed=1)
    for value in (pixel_norm(5 * hidden), scaled_silu(hidden), mix(hidden, other)):
        assert value.square().mean().sqrt().item() == pytest.approx(1, abs=0.02)


def test_hidden_values_are_limited_to_256(vae: AudioVAE) -> None:
    seen = []
    block = vae.decoder.up[2].block[0]
    block.conv2.weight.mul_(1e6)
    vae.decoder.up[2].block[1].register_forward_pre_hook(lambda module, args: seen.append(args[0].abs().max().item()))
    vae.decode(normal(1, CHANNELS, 4))
    assert seen == [256]
    vae.decoder.mid.block_2.conv2.weight.mul_(1e6)
    assert vae.decoder.whole_clip(normal(1, CHANNELS, 4)).abs().max() == 256


def test_normalised_filters_follow_the_equation() -> None:
    raw = {"encoder.conv_in.weight": 7 * normal(4, 5, 3), "data_mean": normal(1, 5, 1)}
    baked = normalise_weights(raw)
    row = raw["encoder.conv_in.weight"][2]
    rms = math.sqrt(float(row.square().sum()) / 15)
    torch.testing.assert_close(baked["encoder.conv_in.weight"][2], row / (rms + 1e-4) / math.sqrt(15))
    assert baked["data_mean"] is raw["data_mean"]


def test_normalising_twice_is_not_normalising_once() -> None:
    raw = {"encoder.conv_in.weight": normal(4, 2048, 3)}
    once = normalise_weights(raw)
    twice = normalise_weights(once)["encoder.conv_in.weight"]
    shrunk = twice.norm() / once["encoder.conv_in.weight"].norm()
    assert 1 - shrunk.item() == pytest.approx(0.0078, abs=2e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_normalised_in_fp32(dtype: torch.dtype) -> None:
    raw = normal(4, 50, 3).to(dtype)
    baked = normalise_weights({"encoder.conv_in.weight": raw})["encoder.conv_in.weight"]
    exact = normalise_weights({"encoder.conv_in.weight": raw.double()})["encoder.conv_in.weight"]
    assert baked.dtype == torch.float32
    torch.testing.assert_close(baked.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.02, 1.0, 3.0])
def test_raw_and_baked_weights_are_told_apart(dtype: torch.dtype, scale: float) -> None:
    shapes = public_shapes(MELS, CHANNELS, HIDDEN)
    raw = {key: (scale * normal(*shape)).to(dtype) for key, shape in shapes.items()}
    assert weights_are_raw(raw)
    baked = {key: value.to(dtype) for key, value in normalise_weights(raw).items()}
    assert not weights_are_raw(baked)


def test_fresh_module_is_baked() -> None:
    assert not weights_are_raw(AudioVAE(MELS, CHANNELS, HIDDEN).state_dict())


def test_weights_that_are_neither_raw_nor_baked_are_refused(vae: AudioVAE) -> None:
    mixed = {key: 2 * value if key.startswith("decoder.up.0") else value for key, value in vae.state_dict().items()}
    with pytest.raises(ValueError, match="of the filters have norm 1, expected all"):
        weights_are_raw(mixed)
    with pytest.raises(ValueError, match="NaN or Inf"):
        weights_are_raw(vae.state_dict() | {"encoder.conv_in.weight": torch.full((2, 3, 3), torch.nan)})
    with pytest.raises(ValueError, match="no convolution weights"):
        weights_are_raw({"data_mean": torch.zeros(1, 3, 1)})


@pytest.mark.parametrize("frame", [40, 41])
def test_reach_of_the_local_part_is_exactly_what_is_declared(vae: AudioVAE, frame: int) -> None:
    first, after = latents_needed(frame, frame + 1)
    reached = []
    for index in range(first - 2, after + 2):
        hidden = normal(1, 4 * HIDDEN, 45)
        hidden[:, :, index] = torch.nan
        reached.append(bool(vae.decode_local(hidden)[0, :, frame].isnan().any()))
    assert reached == [False] * 2 + [True] * (after - first) + [False] * 2


def test_the_whole_clip_part_does_see_the_whole_clip(vae: AudioVAE) -> None:
    latents = normal(1, CHANNELS, 40)
    changed = latents.clone()
    changed[:, :, -1] += 1
    difference = vae.decoder.whole_clip(latents) - vae.decoder.whole_clip(changed)
    assert (difference[:, :, 0].abs() > 1e-9).any()


@pytest.mark.parametrize("name", ["mels", "latent_channels", "hidden_dim"])
def test_impossible_size_is_refused_by_name(name: str) -> None:
    sizes = {"mels": MELS, "latent_channels": CHANNELS, "hidden_dim": HIDDEN}
    with pytest.raises(ValueError, match=f"AudioVAE {name}: got 0, expected a positive integer"):
        AudioVAE(**sizes | {name: 0})
