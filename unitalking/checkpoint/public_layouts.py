"""Names of public files -> the one-file format's: Ovi and Wan2.2 in every form that they are passed around in.

Only names change here; weights stay as they are. A tensor whose name no rule knows keeps it, so that the check of the
whole file names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

FUSION_SIGN = "cross_attn.k_fusion.weight"
OVI_STREAMS = {"video_model.": "video.", "audio_model.": "audio."}
OUR_STREAMS = tuple(OVI_STREAMS.values())
# The sound stream's first convolution has this name where the picture's has the bare one.
CONV_STEM_SIGN = "patch_embedding.0.weight"
DIFFUSERS_SIGN = "condition_embedder.time_embedder.linear_1.weight"
HEAD_MODULATION = "head.modulation"
WAN_SIGNS = (HEAD_MODULATION, "text_embedding.0.weight", "blocks.0.self_attn.q.weight")
FLOAT8_MARKER = "scaled_fp8"  # of the whole file
_DOUBLED, _SINGLE = ".modulation.modulation", ".modulation"
# Parts of a layer's name: Wan2.2's own -> diffusers'. In this order, as some stand inside others.
DIFFUSERS_NAMES = (
    ("self_attn", "attn1"),
    ("cross_attn", "attn2"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("o", "to_out.0"),
    ("norm3", "norm2"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("head.head", "proj_out"),
    (HEAD_MODULATION, "scale_shift_table"),
    ("modulation", "scale_shift_table"),
)


def is_ovi(names: Mapping[str, object]) -> bool:
    """Whether these are tensors of an Ovi model, or of one of its streams, under any names."""
    return any(name.endswith(FUSION_SIGN) for name in names)


def is_wan(names: Mapping[str, object]) -> bool:
    """Whether these are tensors of a Wan model, its own names or diffusers'."""
    return not is_ovi(names) and (DIFFUSERS_SIGN in names or all(sign in names for sign in WAN_SIGNS))


def from_ovi(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Ovi's streams under our names.

    Both streams under their own prefixes (as published), the picture's without one beside the sound's (as merged for
    other packs), or a single stream without a prefix, which its stem tells apart. Our names stay.
    """
    if any(name.startswith(OUR_STREAMS) for name in tensors):
        return dict(tensors)
    bare = "audio." if CONV_STEM_SIGN in tensors else "video."
    return {name if name == FLOAT8_MARKER else _from_ovi(name, bare): value for name, value in tensors.items()}


def joined(first: Mapping[str, Value], second: Mapping[str, Value], files: tuple[str, str]) -> dict[str, Value]:
    """The two streams of an Ovi model that comes in two files, in either order, under our names.

    Raises:
        ValueError: they are not the two streams of one Ovi model.
    """
    streams = []
    for tensors, name in zip((first, second), files, strict=True):
        renamed = from_ovi(tensors) if is_ovi(tensors) else {}
        present = {key.split(".")[0] for key in renamed}
        if len(present) != 1:
            raise ValueError(f"{name} is not one stream of an Ovi model: choose second_file only for a model in two.")
        streams.append((present.pop(), renamed))
    if streams[0][0] == streams[1][0]:
        raise ValueError(f"{files[0]} and {files[1]} are both {streams[0][0]} streams: choose one of each.")
    return {**streams[0][1], **streams[1][1]}


def to_ovi(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Both streams under Ovi's published names, from ours; nothing where a stream is missing."""
    if not is_ovi(tensors):
        return {}
    return {
        theirs + _nested(name.removeprefix(ours)): value
        for theirs, ours in OVI_STREAMS.items()
        for name, value in tensors.items()
        if name.startswith(ours)
    }


def to_wan(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """The picture stream under Wan2.2's names, from ours."""
    return {name.removeprefix("video."): value for name, value in tensors.items() if name.startswith("video.")}


def from_wan(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Wan2.2 as the picture stream, from its own names or from diffusers'."""
    spelled = wan_name if DIFFUSERS_SIGN in tensors else _single
    return {name if name == FLOAT8_MARKER else f"video.{spelled(name)}": value for name, value in tensors.items()}


def diffusers_name(layer: str) -> str:
    """Wan2.2's name of a layer, with or without a stream, as diffusers has it; `DIFFUSERS_NAMES`."""
    name = f".{layer}."
    for ours, theirs in DIFFUSERS_NAMES:
        name = name.replace(f".{ours}.", f".{theirs}.")
    return name.strip(".")


def wan_name(layer: str) -> str:
    """Diffusers' name of a layer as Wan2.2 has it; the inverse of `diffusers_name`."""
    name = f".{layer}."
    for ours, theirs in DIFFUSERS_NAMES:
        if ours != HEAD_MODULATION or layer == theirs:  # both tables have one name, the head's stands alone
            name = name.replace(f".{theirs}.", f".{ours}.")
    return name.strip(".")


def _from_ovi(name: str, bare: str) -> str:
    for theirs, ours in OVI_STREAMS.items():
        if name.startswith(theirs):
            return ours + _single(name.removeprefix(theirs))
    return bare + _single(name)


def _nested(name: str) -> str:
    inside = name.startswith("blocks.") and name.endswith(_SINGLE)
    return name + _SINGLE if inside else name


def _single(name: str) -> str:
    return name.removesuffix(_DOUBLED) + _SINGLE if name.endswith(_DOUBLED) else name
