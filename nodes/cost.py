"""What a run will cost, said before its first step: tokens, passes, memory and time."""

from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch

from ..unitalking.config import UniTalkingConfig
from ..unitalking.tasks import held_tokens
from .messages import config_of


@dataclass(frozen=True)
class Cost:
    """The estimate of one run.

    Attributes:
        steps: solver steps.
        passes: network passes per step, on average; the host batches them when memory allows.
        video_tokens, audio_tokens: of one clip.
        clips: in the batch.
        memory_bytes: the host's estimate of activations, on top of the weights.
        weight_bytes: the model's weights.
        seconds: of all steps, from the measured speed of one matrix product.
    """

    steps: int
    passes: float
    video_tokens: int
    audio_tokens: int
    clips: int
    memory_bytes: float
    weight_bytes: float
    seconds: float

    def text(self) -> str:
        """Two short lines for the node."""
        batch = f"{self.clips} clips of " if self.clips > 1 else ""
        return (
            f"{self.steps} steps x {self.passes:.3g} passes, {batch}{self.video_tokens} + {self.audio_tokens} tokens\n"
            f"about {_size(self.weight_bytes)} + {_size(self.memory_bytes)} memory, {_duration(self.seconds)}"
        )


def estimate_cost(
    model: Any,
    latent: dict[str, Any],
    passes: float,
    steps: int,
    *,
    keeps_picture: bool = False,
    guidance_lips: float = 1.0,
) -> Cost:
    """The cost of sampling this latent.

    Args:
        model: a UniTalking MODEL.
        latent: the LATENT, nested or video alone.
        passes: per step, on average.
        steps: solver steps.
        keeps_picture: whether a picture that is given as a whole is computed once, not at every step.
        guidance_lips: other than 1, sound with a given picture takes a second pass without it.
    """
    samples = latent["samples"]
    config = config_of(model, "Joint Flow Sampler")
    parts = samples.unbind() if getattr(samples, "is_nested", False) else [samples]
    batch = parts[0].shape[0]
    rows, columns = config.patch_size[1:]
    frames, height, width = parts[0].shape[2:]
    video = frames * -(-height // rows) * -(-width // columns)
    audio = parts[1].shape[2] if len(parts) > 1 else 0
    values = sum(part[0].numel() for part in parts)
    memory = model.model.memory_required([batch * math.ceil(passes), 1, values])
    device, dtype = model.load_device, model.model.get_dtype_inference()
    once, every_step = 0.0, forward_flops(config, video + audio, video + audio)
    if _picture_is_given(latent):
        if keeps_picture:
            once, every_step = forward_flops(config, video, video), forward_flops(config, audio, video + audio)
        if guidance_lips != 1:
            every_step += forward_flops(config, audio, audio)
    flops = batch * (math.ceil(passes) * once + passes * steps * every_step)
    seconds = flops / matrix_rate(device, dtype)
    return Cost(steps, passes, video, audio, batch, memory, model.model_size(), seconds)


def _picture_is_given(latent: dict[str, Any]) -> bool:
    masks = latent.get("noise_mask")
    return bool(getattr(masks, "is_nested", False)) and not held_tokens(masks.unbind()).video_sees_audio


def forward_flops(config: UniTalkingConfig, tokens: int, seen: int) -> float:
    """Floating point operations of one pass over one clip: projections, joint attention, attention to the text.

    Args:
        config: the model's.
        tokens: that are computed.
        seen: that they attend to, themselves included.
    """
    linear = tokens * (12 * config.dim**2 + 4 * config.dim * config.ffn_dim)
    joint = 4 * tokens * seen * config.dim
    text = 4 * tokens * config.text_len * config.dim
    return float(config.num_layers * (linear + joint + text))


@functools.lru_cache(maxsize=8)
def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of one matrix product on this device, measured once; 10 ms on a GPU, 0.1 s on a CPU."""
    size = 512 if comfy.model_management.is_device_cpu(device) else 4096
    dtype = dtype if dtype in (torch.bfloat16, torch.float16, torch.float32) else torch.bfloat16
    left = torch.ones(size, size, device=device, dtype=dtype)
    products = 4
    for repeats in (1, products):
        started = time.perf_counter()
        for _ in range(repeats):
            left @ left
        float((left @ left)[0, 0])  # waits for the device
    return 2 * size**3 * (products + 1) / (time.perf_counter() - started)


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
