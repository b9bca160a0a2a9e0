"""Public models that carry no config: what their files do not say, and the config that their shapes give.

Source: Ovi (three models of one layout, told apart by nothing in their files), Wan2.2-TI2V-5B (reference.md A1, A2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..config import Sampling, Trained, UniTalkingConfig
from ..latents import WAN22_MEAN, WAN22_STD

HEAD_DIM = 128
OVI_SHORT, OVI_LONG = (121, 157), (241, 314)  # frames, audio latents


def _ovi(name: str, side: int, area: int, length: tuple[int, int], style: str) -> UniTalkingConfig:
    return UniTalkingConfig(
        name=f"Ovi {name}",
        fusion="cross",
        audio_stem="conv",
        audio_channels=20,
        audio_position_scale=0.19676,
        reference_tokens=0,
        sample_rate=16000,
        hop=256,
        lengths=(length,),
        prompt_style=style,
        sampling=Sampling(skipped_block=11),
        trained=Trained(side, side, length[0], area, length[0], f"Ovi, {side}x{side}"),
    )


# The first is what a file is taken for whose name does not say.
OVI_MODELS = {
    "720x720_5s": _ovi("720x720_5s", 704, 720 * 720, OVI_SHORT, "ovi_1.0"),
    "960x960_5s": _ovi("960x960_5s", 960, 960 * 960, OVI_SHORT, "ovi_1.1"),
    "960x960_10s": _ovi("960x960_10s", 960, 960 * 960, OVI_LONG, "ovi_1.1"),
}
WAN22_5B = UniTalkingConfig(
    name="Wan2.2-TI2V-5B",
    audio_channels=0,
    reference_tokens=0,
    prompt_style="plain",
    sampling=Sampling(guidance_video=5.0, guidance_audio=5.0),
    trained=Trained(1280, 704, 121, 704 * 1280, 121, "Wan2.2, silent video"),
)


def ovi_model(file_name: str) -> str:
    """Which Ovi model a file is, by its name alone: nothing in the three files tells them apart."""
    if "960x960" not in file_name:
        return next(iter(OVI_MODELS))
    return "960x960_10s" if "10s" in file_name else "960x960_5s"


def sized(base: UniTalkingConfig, tensors: Mapping[str, Tensor]) -> UniTalkingConfig:
    """`base` with the sizes of a file without a config, under our names; heads are 128 wide.

    Raises:
        ValueError: the width is not a multiple of 128, so heads cannot be told.
    """
    patch = tensors["video.patch_embedding.weight"]
    dim = patch.shape[0]
    if dim % HEAD_DIM:
        raise ValueError(
            f"width {dim} is not a multiple of {HEAD_DIM} and the file does not say how many heads it has."
        )
    patch_size = tuple(patch.shape[2:])
    blocks = {int(key.split(".")[2]) for key in tensors if key.startswith("video.blocks.")}
    audio = tensors.get("audio.patch_embedding.weight", tensors.get("audio.patch_embedding.0.weight"))
    return replace(
        base,
        dim=dim,
        num_heads=dim // HEAD_DIM,
        num_layers=max(blocks) + 1,
        ffn_dim=tensors["video.blocks.0.ffn.0.weight"].shape[0],
        in_dim=patch.shape[1],
        out_dim=tensors["video.head.head.weight"].shape[0] // (patch_size[0] * patch_size[1] * patch_size[2]),
        audio_channels=0 if audio is None else audio.shape[1],
        patch_size=patch_size,
        text_dim=tensors["video.text_embedding.0.weight"].shape[1],
        freq_dim=tensors["video.time_embedding.0.weight"].shape[1],
    )


def wan_statistics() -> dict[str, Tensor]:
    """Latent statistics of Wan2.2's video VAE, which its files leave to the code."""
    return {"latents.video.mean": torch.tensor(WAN22_MEAN), "latents.video.std": torch.tensor(WAN22_STD)}
