"""What kind of file this is, told by the names of its tensors, never by the file's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")

# What ModelSave and other savers put in front of every name.
PREFIXES = ("model.diffusion_model.", "diffusion_model.")
# Scales and markers that accompany quantised weights.
QUANTISATION_SUFFIXES = (".weight_scale", ".scale_weight", ".input_scale", ".scale_input", ".comfy_quant", "scaled_fp8")

LORA = "a LoRA (use Load LoRA for UniTalking)"
# (what it is, a name that only such files have), the first match wins.
SIGNATURES = (
    (
        LORA,
        (".lora_A.", ".lora_B.", ".lora_up.", ".lora_down.", ".lora_A", ".hada_w"),
    ),
    ("an Ovi model", ("cross_attn.k_fusion.weight",)),
    ("a diffusers Wan video model", ("condition_embedder.time_embedder",)),
    ("a Wan video VAE", ("decoder.upsamples.0.",)),
    ("an MMAudio audio VAE", ("decoder.mid.attn_1.qkv.weight",)),
    ("a BigVGAN vocoder", ("resblocks.0.activations.0.act.alpha",)),
    ("a Stable Diffusion checkpoint", ("input_blocks.0.0.weight", "input_blocks.1.")),
    ("a text encoder", ("encoder.block.0.layer.0.SelfAttention", "token_embedding.weight", "text_model.encoder")),
    ("an image VAE", ("first_stage_model.", "decoder.up_blocks.0", "decoder.up.0.block.0")),
    ("a Wan video model with no audio stream", ("head.modulation", "text_embedding.0.weight")),
    ("another diffusion model", ("double_blocks.0.", "transformer_blocks.0.", "joint_blocks.0.", "blocks.0.")),
)


def describe(names: Iterable[str]) -> str:
    """What a file with these tensor names is, in a few words; "an unknown kind of file" where nothing fits."""
    names = list(names)
    if not names:
        return "an empty file"
    for description, signs in SIGNATURES:
        if any(sign in name for name in names for sign in signs):
            return description
    return f"an unknown kind of file (its first tensor is {names[0]})"


def strip_prefixes(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Removes a saver's prefix; other tensors of such a file (text encoder, VAE of a saved checkpoint) stay."""
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in tensors):
            return {key.removeprefix(prefix): value for key, value in tensors.items()}
    return dict(tensors)
