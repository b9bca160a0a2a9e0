"""Small random models in every layout that public files have; what the tests of public weights arrange with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from unitalking.checkpoint.public_models import OVI_MODELS, WAN22_5B
from unitalking.checkpoint.random_model import random_tensors
from unitalking.config import UniTalkingConfig

SIZES = {"dim": 256, "ffn_dim": 96, "num_heads": 2, "num_layers": 2, "text_dim": 24, "freq_dim": 32}
OVI = replace(OVI_MODELS["720x720_5s"], **SIZES)
WAN = replace(WAN22_5B, **SIZES)
DIFFUSERS = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
    "patch_embedding": "patch_embedding",
}
INSIDE_BLOCK = {
    "modulation": "scale_shift_table",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    **{
        f"{ours}.{part}": f"{theirs}.{spelled}"
        for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for part, spelled in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    **{
        f"{ours}.{norm}": f"{theirs}.{norm}"
        for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for norm in ("norm_q", "norm_k")
    },
}
Layout = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def network(config: UniTalkingConfig, seed: int = 0) -> dict[str, Tensor]:
    """`video.*` and `audio.*` under the names of our files, bfloat16."""
    drawn = ((entry.name, value) for entry, value in random_tensors(config, seed))
    return {name: value for name, value in drawn if name.startswith(("video.", "audio."))}


def ovi_published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both prefixes, modulation in a submodule."""
    return {_prefixed(_doubled(name)): value for name, value in tensors.items()}


def ovi_plain_modulation(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both prefixes, modulation as Wan2.2 names it."""
    return {_prefixed(name): value for name, value in tensors.items()}


def ovi_merged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The picture stream without a prefix, the sound's with one."""
    return {_prefixed(name).removeprefix("video_model."): value for name, value in tensors.items()}


def ovi_merged_doubled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with modulation in a submodule."""
    return {_prefixed(_doubled(name)).removeprefix("video_model."): value for name, value in tensors.items()}


OVI_LAYOUTS: dict[str, Layout] = {
    "published": ovi_published,
    "plain_modulation": ovi_plain_modulation,
    "merged": ovi_merged,
    "merged_doubled": ovi_merged_doubled,
}


def stream_of(tensors: dict[str, Tensor], stream: str) -> dict[str, Tensor]:
    """One stream without its prefix, as files of one stream have it."""
    return {name.removeprefix(f"{stream}."): value for name, value in tensors.items() if name.startswith(f"{stream}.")}


def wan_diffusers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The picture stream under diffusers' names."""
    return {_diffusers(name.removeprefix("video.")): value for name, value in tensors.items()}


def wan_native(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The picture stream under Wan2.2's names."""
    return stream_of(tensors, "video")


WAN_LAYOUTS: dict[str, Layout] = {"native": wan_native, "diffusers": wan_diffusers}


def cast_float8(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything but norms and biases cast, without scales."""
    return {
        name: value if "norm" in name or "bias" in name else value.to(torch.float8_e4m3fn)
        for name, value in tensors.items()
    }


def scaled_float8(tensors: dict[str, Tensor], suffix: str) -> dict[str, Tensor]:
    """The matrices of the blocks in float8 with a scale each."""
    result = dict(tensors)
    for name, value in tensors.items():
        if ".blocks." in f".{name}" and name.endswith(".weight") and value.ndim == 2:
            scale = value.float().abs().amax() / 448
            result[name] = (value.float() / scale).to(torch.float8_e4m3fn)
            result[name.removesuffix(".weight") + suffix] = scale
    return result


def _prefixed(name: str) -> str:
    stream, rest = name.split(".", 1)
    return f"{stream}_model.{rest}"


def _doubled(name: str) -> str:
    inside = ".blocks." in name and name.endswith(".modulation")
    return f"{name}.modulation" if inside else name


def _diffusers(name: str) -> str:
    start = ""
    if name.startswith("blocks."):
        number, name = name.split(".", 2)[1:]
        start = f"blocks.{number}."
    names = INSIDE_BLOCK if start else DIFFUSERS
    for ours, theirs in names.items():
        if name == ours or name.startswith(f"{ours}."):
            return start + theirs + name.removeprefix(ours)
    raise KeyError(name)
