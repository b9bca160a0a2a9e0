"""LoRA: low-rank changes to either stream or both, in files that ComfyUI's stock loader takes. Adapters are peft's.

Keys are `diffusion_model.<video|audio>.blocks.N.<layer>.lora_A.weight`, `lora_B.weight` and `alpha`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..model.transformer import UniTalking
from .settings import TrainingError, require

STREAMS = ("video", "audio")
LAYERS = {
    "self_attn": r"self_attn\.(q|k|v|o)",
    "cross_attn": r"cross_attn\.(q|k|v|o|k_reference|v_reference)",
    "ffn": r"ffn\.(0|2)",
}
ADAPTER = "default"


@dataclass(frozen=True)
class LoraSettings:
    """Which low-rank changes are trained.

    Attributes:
        rank: of each change.
        alpha: a change counts alpha / rank; 0: alpha = rank.
        streams: "video", "audio" or both.
        layers: of "self_attn", "cross_attn" and "ffn".
    """

    rank: int = 16
    alpha: float = 0.0
    streams: tuple[str, ...] = STREAMS
    layers: tuple[str, ...] = ("self_attn", "cross_attn", "ffn")

    def __post_init__(self) -> None:
        require(self.rank >= 1, "lora.rank", self.rank, "at least 1")
        require(self.alpha >= 0, "lora.alpha", self.alpha, "at least 0")
        fits = self.streams and set(self.streams) <= set(STREAMS)
        require(bool(fits), "lora.streams", self.streams, "video, audio or both")
        require(bool(self.layers) and set(self.layers) <= set(LAYERS), "lora.layers", self.layers, ", ".join(LAYERS))


def add_lora(network: UniTalking, settings: LoraSettings, seed: int) -> None:
    """Freezes the network and puts the low-rank changes into it, in place; they start as no change.

    Raises:
        TrainingError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise TrainingError("LoRA needs peft: pip install -r requirements-train.txt") from error
    layers = "|".join(LAYERS[name] for name in settings.layers)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or settings.rank,
        target_modules=rf"({'|'.join(settings.streams)})\.blocks\.\d+\.({layers})",
    )
    network.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network, adapter_name=ADAPTER)


def lora_tensors(network_state: dict[str, Tensor], settings: LoraSettings) -> dict[str, Tensor]:
    """The file's tensors, from the state of a network with changes in it."""
    found = {}
    for name, value in network_state.items():
        layer, marker, rest = name.partition(".lora_")
        if marker:
            side = rest.partition(".")[0]
            found[f"diffusion_model.{layer}.lora_{side}.weight"] = value.contiguous()
            found[f"diffusion_model.{layer}.alpha"] = torch.tensor(settings.alpha or float(settings.rank))
    return found


def write_lora(path: Path, network_state: dict[str, Tensor], settings: LoraSettings, about: dict[str, str]) -> None:
    """Writes the LoRA file.

    Args:
        path: where to.
        network_state: of the network with changes in it.
        settings: of the changes.
        about: what the metadata says of the run.
    """
    temporary = path.with_name(path.name + ".part")
    safetensors.torch.save_file(
        lora_tensors(network_state, settings), temporary, {"format": "pt", "unitalking.training": json.dumps(about)}
    )
    temporary.replace(path)
