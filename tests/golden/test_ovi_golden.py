"""The network with `cross` fusion against Ovi's golden files."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unitalking import flow
from unitalking.checkpoint.keys import to_module_keys
from unitalking.checkpoint.public_layouts import from_ovi
from unitalking.config import UniTalkingConfig
from unitalking.model.transformer import UniTalking
from unitalking.types import NoiseLevels, StreamInput

pytestmark = pytest.mark.golden

NONE_SKIPPED = 0


def ovi_model(file: object, dtype: torch.dtype) -> UniTalking:
    video, audio = file.json("video_config"), file.json("audio_config")
    sizes = {name: video[name] for name in ("dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "out_dim", "eps")}
    config = UniTalkingConfig(
        fusion="cross",
        audio_stem="conv",
        audio_channels=audio["in_dim"],
        audio_position_scale=audio["temporal_rope_scaling_factor"],
        text_dim=video["text_dim"],
        text_len=video["text_len"],
        freq_dim=video["freq_dim"],
        patch_size=tuple(video["patch_size"]),
        reference_tokens=0,
        **sizes,
    )
    model = UniTalking(config, dtype=dtype)
    model.load_state_dict(to_module_keys(from_ovi(file.weights(dtype))), strict=True)
    return model


class Skip:
    """Runs every block but one; block 0 is never skipped, as Ovi reads 0 as none."""

    def __init__(self, skipped: int = NONE_SKIPPED) -> None:
        self.skipped = skipped
        self.blocks: list[tuple[Tensor, ...]] = []

    def __call__(self, index: int, block: object, tokens: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.blocks.append(tokens if self.skipped and index == self.skipped else block(tokens))
        return self.blocks[-1]


def velocities(
    model: UniTalking,
    latents: tuple[Tensor | None, Tensor | None],
    contexts: tuple[Tensor, Tensor],
    timestep: float,
    *,
    clean_first: bool,
    run_block: Skip,
) -> tuple[Tensor | None, Tensor | None]:
    """Ovi's call: one timestep, of which the first picture's tokens may be free."""
    present = [None if latent is None else context for latent, context in zip(latents, contexts, strict=True)]
    conditions = model.encode_conditions(*present)
    inputs = []
    for name, latent, condition in zip(("video", "audio"), latents, conditions, strict=True):
        if latent is None:
            inputs.append(None)
            continue
        rope, extra = getattr(model, f"{name}_layout")(latent)
        tokens = rope.cos.shape[0]
        levels = torch.full((1, tokens), timestep, dtype=latent.dtype)
        if clean_first and name == "video":
            levels[:, : tokens // latent.shape[2]] = 0
        inputs.append(StreamInput(latent, NoiseLevels.from_tokens(levels), rope, condition, extra))
    return model(*inputs, run_block=run_block)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["ovi_fusion_a"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_golden_ovi(golden: object, name: str, dtype: torch.dtype) -> None:
    file = golden.open(name)
    model = ovi_model(file, dtype)
    wide = dtype == torch.float32
    out, limit = ("out", 1e-5) if wide else ("out_bf16", 3e-2)
    cases = sorted({key.split(".")[1] for key in file.keys(f"{out}.")} - {"audio_only", "video_only_clean_first"})
    assert {"plain", "clean_first"} <= set(cases)
    latents = file.tensor("in.vid", dtype)[None], file.tensor("in.audio", dtype)[None].transpose(1, 2)
    contexts = file.tensor("in.vid_context", dtype)[None], file.tensor("in.audio_context", dtype)[None]
    timestep = float(file.tensor("in.t"))
    for case in cases:
        skip = Skip(int(file.metadata["slg_layer"]) if case.endswith("slg") else NONE_SKIPPED)
        clean = case.startswith("clean_first")
        video, audio = velocities(model, latents, contexts, timestep, clean_first=clean, run_block=skip)
        file.assert_close(f"{out}.{case}.vid", video[0], limit)
        file.assert_close(f"{out}.{case}.audio", audio[0].T, limit)
        for index, tokens in enumerate(skip.blocks if wide else ()):
            for stream, part in zip(("vid", "audio"), tokens, strict=True):
                if f"mid.{case}.block{index}.{stream}" in file.names:
                    file.assert_close(f"mid.{case}.block{index}.{stream}", part[0], limit)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["ovi_fusion_a"])
def test_golden_ovi_streams_alone(golden: object, name: str) -> None:
    file = golden.open(name)
    model = ovi_model(file, torch.float32)
    contexts = file.tensor("in.vid_context")[None], file.tensor("in.audio_context")[None]
    timestep = float(file.tensor("in.t"))
    video, audio = file.tensor("in.vid")[None], file.tensor("in.audio")[None].transpose(1, 2)
    file.assert_close("mid.clean_first.audio_embed", model.audio.embed(audio)[0], 1e-5)
    seen, _ = velocities(model, (video, None), contexts, timestep, clean_first=True, run_block=Skip())
    file.assert_close("out.video_only_clean_first", seen[0], 1e-5)
    _, heard = velocities(model, (None, audio), contexts, timestep, clean_first=False, run_block=Skip())
    file.assert_close("out.audio_only", heard[0].T, 1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["ovi_loop"])
@pytest.mark.parametrize("case", ["t2v", "i2v"])
def test_golden_ovi_loop(golden: object, name: str, case: str) -> None:
    """Dual guidance, skip-layer guidance in the negative pass, separate negatives, a held first frame, UniPC."""
    file = golden.open(name)
    model = ovi_model(golden.open(file.metadata["weights"].split("/")[-1].split(".")[0]), torch.float32)
    scales = float(file.metadata["video_guidance"]), float(file.metadata["audio_guidance"])
    sigmas = flow.wan_sigmas(int(file.metadata["steps"]), float(file.metadata["shift"]))
    timesteps = flow.truncated_timestep(sigmas)
    positive = (file.tensor("in.ctx_pos")[None],) * 2
    negative = file.tensor("in.ctx_vneg")[None], file.tensor("in.ctx_aneg")[None]
    first = file.tensor("in.image_latent")[None] if case == "i2v" else None
    shape = file.tensor("in.video_noise").shape
    size = shape.numel()

    def unpack(packed: Tensor) -> tuple[Tensor, Tensor]:
        video, audio = packed[:size].view(1, *shape).clone(), packed[size:].view(1, -1, 20).transpose(1, 2)
        if first is not None:
            video[:, :, :1] = first
        return video, audio

    def pack(video: Tensor, audio: Tensor) -> Tensor:
        return torch.cat([video.flatten(), audio.transpose(1, 2).flatten()])

    entered: list[Tensor] = []

    def denoise(packed: Tensor, step: int) -> Tensor:
        entered.append(packed)
        latents, time = unpack(packed), float(timesteps[step])
        options = {"timestep": time, "clean_first": first is not None}
        wanted = velocities(model, latents, positive, run_block=Skip(), **options)
        unwanted = velocities(model, latents, negative, run_block=Skip(int(file.metadata["slg_layer"])), **options)
        guided = [u + scale * (w - u) for u, w, scale in zip(unwanted, wanted, scales, strict=True)]
        return flow.denoised_from_velocity(pack(*latents), pack(*guided), sigmas[step])

    noise = pack(file.tensor("in.video_noise")[None], file.tensor("in.audio_noise")[None].transpose(1, 2))
    video, audio = unpack(flow.sample_unipc(denoise, noise, sigmas))
    file.assert_close(f"out.{case}.video", video[0], 1e-5)
    file.assert_close(f"out.{case}.audio", audio[0].T, 1e-5)
