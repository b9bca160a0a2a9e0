"""The video stream is ComfyUI's own WanModel: same weights, same velocity."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unitalking.checkpoint.keys import to_file_keys
from unitalking.config import UniTalkingConfig
from unitalking.latents import WAN22_MEAN, WAN22_STD
from unitalking.model.transformer import UniTalking
from unitalking.types import NoiseLevels, StreamInput

TEXT_LEN = 512
LIMIT = 1e-5  # ComfyUI's sinusoid is float32, which makes 1e-6 to 3e-6 here and up to 6e-6 in deeper models
SIZES = {"128": {"dim": 256, "num_heads": 2, "ffn_dim": 320}, "48": {"dim": 96, "num_heads": 2, "ffn_dim": 200}}
GRIDS = [(1, 2, 2), (4, 6, 10), (3, 10, 4)]


def config_of(head_dim: str) -> UniTalkingConfig:
    return UniTalkingConfig(**SIZES[head_dim], num_layers=2, text_dim=64, freq_dim=256, text_len=TEXT_LEN)


def random_weights(module: nn.Module) -> None:
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            is_norm = ".norm" in name and name.endswith("weight")
            scale = 0.3 if parameter.ndim == 1 or "modulation" in name else parameter[0].numel() ** -0.5
            parameter.copy_(1 + 0.3 * noise if is_norm else scale * noise)


def wan_of(config: UniTalkingConfig, weights: dict[str, Tensor]) -> nn.Module:
    """ComfyUI's model with the video stream's weights under their names in files."""
    ops = importlib.import_module("comfy.ops").disable_weight_init
    model = importlib.import_module("comfy.ldm.wan.model").WanModel(
        model_type="t2v",
        patch_size=config.patch_size,
        text_len=config.text_len,
        in_dim=config.in_dim,
        out_dim=config.out_dim,
        dim=config.dim,
        ffn_dim=config.ffn_dim,
        freq_dim=config.freq_dim,
        text_dim=config.text_dim,
        num_heads=config.num_heads,
        num_layers=config.num_layers,
        dtype=torch.float32,
        operations=ops,
    )
    model.load_state_dict(weights, strict=True)
    return model.eval()


def video_velocity(model: UniTalking, latent: Tensor, context: Tensor, timestep: Tensor) -> Tensor:
    """Our video stream alone at noise levels of frames, (B, F)."""
    tokens_per_frame = latent.shape[3] * latent.shape[4] // 4
    rope, _ = model.video_layout(latent)
    conditions, _ = model.encode_conditions(context, None)
    noise = NoiseLevels.from_tokens(timestep, tokens_per_frame)
    return model(StreamInput(latent, noise, rope, conditions), None)[0]


@torch.inference_mode()
@pytest.mark.parametrize("head_dim", SIZES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("held", [0, 1], ids=["scalar", "per-frame"])
def test_the_video_stream_equals_comfyuis_wan_model(
    comfy_imports: Path, head_dim: str, grid: tuple[int, int, int], held: int
) -> None:
    config = config_of(head_dim)
    ours = UniTalking(config, dtype=torch.float32)
    random_weights(ours)
    theirs = wan_of(config, to_file_keys(ours.video.state_dict()))

    draw = torch.Generator().manual_seed(1)
    latent = torch.randn(2, config.in_dim, *grid, generator=draw)
    context = torch.randn(2, 20, config.text_dim, generator=draw)
    padded = nn.functional.pad(context, (0, 0, 0, TEXT_LEN - context.shape[1]))
    level = torch.tensor([713.0, 92.0])
    per_frame = level[:, None].repeat(1, grid[0])
    per_frame[:, :held] = 0

    expected = theirs(latent, per_frame if held else level, padded)
    velocity = video_velocity(ours, latent, context, per_frame)
    assert velocity.shape == expected.shape
    assert (velocity - expected).norm() <= LIMIT * expected.norm()


def test_latent_statistics_are_comfyuis(comfy_imports: Path) -> None:
    theirs = importlib.import_module("comfy.latent_formats").Wan22()
    assert torch.equal(torch.tensor(WAN22_MEAN), theirs.latents_mean.flatten())
    assert torch.equal(torch.tensor(WAN22_STD), theirs.latents_std.flatten())
    assert theirs.scale_factor == 1
