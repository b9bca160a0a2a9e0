"""LoRA files in the host's folder, in the spellings that trainers use, and what they should add to the weights."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from lab import normal
from safetensors.torch import load_file, save_file
from torch import Tensor

RANK, ALPHA = 2, 1.0
# spelling -> what stands in front of a weight's name, what separates its parts
SPELLINGS = {"peft": ("diffusion_model.", "."), "kohya": ("lora_unet_", "_"), "diff": ("diffusion_model.", ".")}


def write_lora(
    model: Path,
    name: str,
    weights: Sequence[str],
    spelling: str = "peft",
    *,
    prefix: str | None = None,
    names: Mapping[str, str] | None = None,
    scale: float = 0.3,
) -> dict[str, Tensor]:
    """Writes a random LoRA to the host's `loras` folder.

    Args:
        model: the model file that it is for.
        name: file name.
        weights: names in that file, such as "video.blocks.0.self_attn.q.weight" or "video.blocks.0.modulation".
        spelling: peft (lora_A, lora_B), kohya (lora_up, lora_down, alpha, names with underscores) or diff (of weights
            and, as diff_b, of biases).
        prefix: in front of every name instead of the spelling's own.
        names: weight -> its layer's name in the LoRA, where that is another.
        scale: of both factors.

    Returns:
        What strength 1 adds to each weight.
    """
    shapes = {key: tuple(value.shape) for key, value in load_file(model).items()}
    front, separator = SPELLINGS[spelling]
    tensors: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    for index, weight in enumerate(weights):
        shape = shapes[weight]
        rows = shape[-2] if weight.endswith("modulation") else shape[0]
        up = scale * normal(rows, RANK, seed=index)
        down = scale * normal(RANK, math.prod(shape) // rows, seed=100 + index)
        product = (up @ down).reshape(shape)
        layer = (names or {}).get(weight, weight.removesuffix(".weight"))
        named = (front if prefix is None else prefix) + layer.replace(".", separator)
        if spelling == "kohya":
            tensors |= {f"{named}.lora_up.weight": up, f"{named}.lora_down.weight": down}
            tensors[f"{named}.alpha"] = torch.tensor(ALPHA)
            added[weight] = ALPHA / RANK * product
        elif spelling == "peft":
            tensors |= {f"{named}.lora_B.weight": up, f"{named}.lora_A.weight": down}
            added[weight] = product
        elif weight.endswith(".bias"):
            tensors[f"{named.removesuffix('.bias')}.diff_b"] = added[weight] = product
        else:
            tensors[f"{named}.diff"] = added[weight] = product
    folder_paths = importlib.import_module("folder_paths")
    folder = Path(folder_paths.get_folder_paths("loras")[0])
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    folder_paths.filename_list_cache.pop("loras", None)
    return added
