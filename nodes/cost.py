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


def estimate_cost(model: Any, samples: Any, passes: float, steps: int) -> Cost:
    """The cost of sampling this latent.

    Args:
        model: a UniTalking MODEL.
        samples: of the LATENT, nested or a plain video latent.
        passes: per step, on average.
        steps: solver steps.
    """
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
    flops = forward_flops(config, video, audio) * batch * passes * steps
    seconds = flops / matrix_rate(device, dtype)
    return Cost(steps, passes, video, audio, batch, memory, model.model_size(), seconds)


def forward_flops(config: UniTalkingConfig, video_tokens: int, audio_tokens: int) -> float:
    """Floating point operations of one pass over one clip: projections, joint attention, attention to the text."""
    tokens = video_tokens + audio_tokens
    linear = tokens * (12 * config.dim**2 + 4 * config.dim * config.ffn_dim)
    joint = 4 * tokens**2 * config.dim
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
