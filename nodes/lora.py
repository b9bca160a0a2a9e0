"""Load LoRA for UniTalking: files of any trainer, onto one stream or both."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.lora_convert
import folder_paths
from comfy.weight_adapter.lora import LoRAAdapter
from comfy_api.latest import io
from torch import Tensor

from ..unitalking.checkpoint.files import CheckpointError, network_shapes
from ..unitalking.checkpoint.public_layouts import diffusers_name
from ..unitalking.config import UniTalkingConfig
from .constants import CATEGORY
from .files import find_part
from .loading import read_tensors
from .messages import config_of, say

STREAMS = ("both", "video", "audio")
# In front of a layer's name, with dots and with underscores instead of them; "" stands for no prefix.
DOTTED = ("", "diffusion_model.", "transformer.", "base_model.model.")
UNDERSCORED = ("lora_unet_", "lora_transformer_", "lycoris_")


class LoadLora(io.ComfyNode):
    """A LoRA file onto one stream or both; how much of it applied is shown, nothing is an error."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingLoraLoader",
            display_name="Load LoRA for UniTalking",
            category=CATEGORY,
            description="Applies a LoRA to the picture stream, the sound stream or both.",
            search_aliases=["lora"],
            inputs=[
                io.Model.Input("model", tooltip="A UniTalking model."),
                io.Combo.Input(
                    "lora_name",
                    options=folder_paths.get_filename_list("loras"),
                    tooltip="LoRA file from models/loras. Files made for Wan2.2-5B act on the picture stream.",
                ),
                io.Combo.Input(
                    "stream",
                    options=list(STREAMS),
                    default="both",
                    tooltip="Which stream it may change. Keys that name no stream (Wan2.2-5B LoRAs) go to the "
                    "stream chosen here, and to the picture for both.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    tooltip="How strongly it acts; 1 is as trained, 0 is off.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The model with the LoRA added; wire it wherever the model went before.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, lora_name: str, stream: str, strength: float) -> io.NodeOutput:
        """Patches a clone of the model."""
        config = config_of(model, "Load LoRA for UniTalking")
        tensors, _ = read_tensors(find_part("loras", lora_name))
        patches, unread = read_patches(tensors, lora_keys(model, stream), lora_name)
        if not patches:
            example = f", such as {unread[0]}," if unread else ""
            raise CheckpointError(
                f"{lora_name} changes nothing in this model (stream: {stream}): none of its {len(tensors)} tensors"
                f"{example} has a name that the model knows. It was made for another model."
            )
        misfits = other_shapes(patches, config)
        if len(misfits) == len(patches):
            raise CheckpointError(
                f"{lora_name} changes nothing in this model (stream: {stream}): {next(iter(misfits.values()))}. "
                "It was made for a model of another size."
            )
        patched = model.clone()
        applied = patched.add_patches({key: patch for key, patch in patches.items() if key not in misfits}, strength)
        shown = [
            f"{len(applied)} of the model's weights changed by {Path(lora_name).name}",
            f"{len(unread)} of its {len(tensors)} tensors not applied" + (f", such as {unread[0]}" if unread else ""),
        ]
        if misfits:
            shown.append(f"{len(misfits)} weights kept: {next(iter(misfits.values()))}")
        say(cls, "; ".join(shown))
        return io.NodeOutput(patched)


class Noted(dict):
    """A file's tensors, and in `read` the names of those that were taken: the host does not tell what it left."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__(tensors)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        """Notes the name."""
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Notes the name of what is there."""
        return self[name] if name in self else default


def read_patches(tensors: dict[str, Tensor], keys: dict[str, str], name: str) -> tuple[dict[str, Any], list[str]]:
    """The host's patches by weight, and the names of the tensors that belong to none.

    Raises:
        CheckpointError: half of a pair of factors is missing.
    """
    noted = Noted(comfy.lora_convert.convert_lora(tensors))
    try:
        patches = comfy.lora.load_lora(noted, keys, log_missing=False)
    except KeyError as error:
        raise CheckpointError(f"{name} is incomplete: it has no {error.args[0]}. Fetch it again.") from error
    return patches, sorted(set(noted) - noted.read)


def other_shapes(patches: dict[str, Any], config: UniTalkingConfig) -> dict[str, str]:
    """Weight -> what is wrong with its patch, for patches that the host would leave out with a line in its log.

    Low-rank factors and plain differences are looked at; for other kinds the host decides.
    """
    # Not the loaded weights: quantised ones lie in memory in other shapes.
    shapes = {f"diffusion_model.{name}": shape for name, shape in network_shapes(config).items()}
    found = {}
    for weight, patch in patches.items():
        expected, got = tuple(shapes.get(weight, ())), shape_of(patch)
        if got is None:
            continue
        # Of factors the number of numbers counts: kernels and modulation offsets have more than two dimensions.
        fits = math.prod(got) == math.prod(expected) if isinstance(patch, LoRAAdapter) else got == expected
        if not fits:
            found[weight] = (
                f"{weight.removeprefix('diffusion_model.')} has shape {got} there, {expected or 'none'} here"
            )
    return found


def shape_of(patch: Any) -> tuple[int, ...] | None:
    """Shape of what a patch of the host adds: rows and columns of a product of factors; None for other kinds."""
    if isinstance(patch, LoRAAdapter):
        up, down, _, middle, _, reshaped = patch.weights
        return (up.shape[0], down[0].numel()) if middle is None and reshaped is None else None
    return tuple(patch[1][0].shape) if isinstance(patch, tuple) and patch[0] in ("diff", "set") else None


def lora_keys(model: Any, stream: str) -> dict[str, str]:
    """Names that LoRA files use -> weights of the model, for one stream or both.

    Names without a stream (Wan2.2's, in its own spelling or diffusers') stand for the chosen stream, or for video.
    """
    streams = ("video", "audio") if stream == "both" else (stream,)
    unnamed = "video" if stream == "both" else stream
    keys: dict[str, str] = {}
    for name in model.model.state_dict():
        inside = name.removeprefix("diffusion_model.").removesuffix(".weight")
        if not name.startswith("diffusion_model.") or inside.split(".")[0] not in streams:
            continue
        given = [inside, inside.removeprefix(f"{unnamed}.")]
        for layer in {*given, *map(diffusers_name, given)}:
            keys.update(dict.fromkeys((prefix + layer for prefix in DOTTED), name))
            keys.update(dict.fromkeys((prefix + layer.replace(".", "_") for prefix in UNDERSCORED), name))
    return keys
