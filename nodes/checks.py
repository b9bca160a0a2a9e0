"""NaN never leaves a node without a word."""

from __future__ import annotations

from typing import Any

import torch
from comfy.ldm.modules import attention
from torch import Tensor, nn


def check_finite(values: Any, what: str, model: Any = None, codec: Any = None) -> None:
    """Refuses NaN and Inf, with what may have caused them.

    Args:
        values: a tensor or a nested latent.
        what: the stage, for the message.
        model: the MODEL that made them, to name its precision and a damaged weight.
        codec: the VAE that made them, to the same end; without either they came from another node.

    Raises:
        ValueError: names stage, dtype and attention backend, and says what to do.
    """
    parts = values.unbind() if getattr(values, "is_nested", False) else [values]
    bad = sum(int((~part.isfinite()).sum()) for part in parts)
    if not bad:
        return
    total = sum(part.numel() for part in parts)
    message = f"{bad} of {total} values of {what} are NaN or Inf."
    if model is not None:
        module, backend = model.model.diffusion_model, attention.optimized_attention.__name__
        message += f" The model ran in {model.model.get_dtype_inference()} with {backend}."
        advice = "Try weight_dtype bf16 or fp32, or another attention backend (--use-pytorch-cross-attention)."
    elif codec is not None:
        module, advice = codec.first_stage_model, "Start ComfyUI with --fp32-vae."
        message += f" The codec ran in {codec.vae_dtype}."
    else:
        raise ValueError(f"{message} They came in like this: sample with Joint Flow Sampler, which says what is wrong.")
    weight = _damaged_weight(module)
    if weight is not None:
        advice = f"Its weight {weight} holds NaN: the file is damaged, fetch it again."
    raise ValueError(f"{message} {advice}")


def _damaged_weight(module: nn.Module) -> str | None:
    """The first weight that holds NaN or Inf; looked for only once something has gone wrong."""
    for name, weight in module.state_dict().items():
        if isinstance(weight, Tensor) and weight.is_floating_point() and not _finite(weight):
            return name
    return None


def _finite(weight: Tensor) -> bool:
    return (
        bool(weight.to(torch.float32).isfinite().all()) if weight.dtype.itemsize == 1 else bool(weight.isfinite().all())
    )
