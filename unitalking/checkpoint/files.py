"""The one-file format: a config, the two streams, and optionally the text encoder and the codecs of a bundle.

    metadata "unitalking"                        the config as JSON
    unitalking.config                            the same as a uint8 tensor, which survives ModelSave and merging
    video.*, audio.*                             Wan2.2's names inside each stream
    latents.{video,audio}.{mean,std}             latent statistics, (C,)
    latents.video.rgb                            (C + 1, 3) preview factors, the last row the bias
    domain.{mean,precision,limit}                first pictures that a small model knows (`domain`)
    text_encoder.*, video_vae.*, audio_vae.*     parts of a bundle

Tensors are given as a mapping from names to tensors, as the host or safetensors loads them; this room opens no file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..config import UniTalkingConfig
from ..domain import Domain
from ..latents import LatentStatistics
from ..mapping import from_mapping, to_mapping
from .keys import to_module_keys
from .layouts import LORA, QUANTISATION_SUFFIXES, describe, strip_prefixes
from .public_layouts import from_ovi, from_wan, is_ovi, is_wan
from .public_models import OVI_MODELS, WAN22_5B, ovi_model, sized, wan_statistics

METADATA_KEY = "unitalking"
CONFIG_TENSOR = "unitalking.config"
NETWORK = ("video.", "audio.")
PARTS = ("text_encoder", "video_vae", "audio_vae")
LARGEST_LIST = 6


class CheckpointError(ValueError):
    """A file that cannot be used, with what it is and what to do."""


@dataclass(frozen=True)
class ModelFile:
    """A model file, taken apart.

    Attributes:
        name: the file's name, for messages.
        config: what the model is.
        network: tensors `video.*` and `audio.*` under the modules' names.
        parts: tensors of each part of a bundle that the file has, without the part's prefix.
        video, audio: latent statistics.
        rgb: (C + 1, 3) preview factors, or None.
        domain: the first pictures that the model knows, or None: all.
        notes: what a person should know, such as a config that was guessed.
    """

    name: str
    config: UniTalkingConfig
    network: dict[str, Tensor]
    parts: dict[str, dict[str, Tensor]]
    video: LatentStatistics
    audio: LatentStatistics
    rgb: Tensor | None
    domain: Domain | None
    notes: tuple[str, ...]


def read_model(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None, name: str) -> ModelFile:
    """Takes a loaded file apart and checks that it is a complete UniTalking model.

    Args:
        tensors: everything in the file.
        metadata: its safetensors metadata, if any.
        name: the file's name, for messages.

    Raises:
        CheckpointError: another kind of file, a stream that is missing, or tensors that do not fit the config.
    """
    tensors, public = from_public(strip_prefixes(tensors), name)
    network = to_module_keys({key: value for key, value in tensors.items() if key.startswith(NETWORK)})
    kind = describe(tensors)
    if kind == LORA or not any(key.startswith("video.blocks.") for key in network):
        raise CheckpointError(f"{name} is {kind}, not a UniTalking model. {_HELP}")
    has_audio = any(key.startswith("audio.blocks.") for key in network)
    # That there is to be no sound, only a known model or a config can say.
    silent = public is not None or METADATA_KEY in (metadata or {}) or CONFIG_TENSOR in tensors
    config, notes = read_config(tensors, metadata, name, public) if has_audio or silent else (None, ())
    if config is None or (config.audio_channels and not has_audio):
        raise CheckpointError(f"{name} has a video stream but no audio stream, so it cannot make sound. {_HELP}")
    check_tensors(network, network_shapes(config), name)
    parts = {part: _part(tensors, f"{part}.") for part in PARTS}
    try:
        video = LatentStatistics.from_tensors(tensors, "video", config.in_dim)
        audio = LatentStatistics.from_tensors(tensors, "audio", config.audio_channels)
        domain = Domain.from_tensors(tensors, config.in_dim)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return ModelFile(
        name=name,
        config=config,
        network=network,
        parts={part: weights for part, weights in parts.items() if weights},
        video=video,
        audio=audio,
        rgb=tensors.get("latents.video.rgb"),
        domain=domain,
        notes=notes,
    )


def read_part(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None, part: str, name: str
) -> tuple[UniTalkingConfig, dict[str, Tensor]]:
    """One part of a bundle, or of a file that holds that part alone, with the config that describes it.

    Raises:
        CheckpointError: the file has no such part, and what it is instead.
    """
    found = _part(tensors, f"{part}.")
    if not found or (METADATA_KEY not in (metadata or {}) and CONFIG_TENSOR not in tensors):
        raise CheckpointError(
            f"{name} is {describe(tensors)}: it holds no {part}.* tensors with a UniTalking config. "
            "Choose a file made for UniTalking."
        )
    return read_config(tensors, metadata, name)[0], found


_HELP = (
    "Choose a UniTalking model file (one that holds video.* and audio.* tensors), such as the one in the pack; "
    "`python -m unitalking.checkpoint inspect FILE` says what a file is."
)


def from_public(tensors: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], UniTalkingConfig | None]:
    """A public model's tensors under our names, with what its file does not say; other files as they are.

    Args:
        tensors: everything in the file, without a saver's prefix.
        name: the file's, which alone tells Ovi's models apart.

    Raises:
        CheckpointError: half of a model that comes in two files, or a Wan model of another size.
    """
    if is_ovi(tensors):
        tensors = from_ovi(tensors)
        for stream, other in (("video", "audio"), ("audio", "video")):
            if not any(key.startswith(f"{stream}.") for key in tensors):
                raise CheckpointError(
                    f"{name} is Ovi's {other} stream alone: choose its {stream} stream at second_file as well."
                )
        return {**wan_statistics(), **tensors}, OVI_MODELS[ovi_model(name)]
    if is_wan(tensors):
        tensors = from_wan(tensors)
        channels = tensors["video.patch_embedding.weight"].shape[1] if "video.patch_embedding.weight" in tensors else 0
        if channels != WAN22_5B.in_dim:
            raise CheckpointError(
                f"{name} is a Wan video model of {channels} latent channels, of which this pack knows "
                f"{WAN22_5B.name} alone ({WAN22_5B.in_dim}). {_HELP}"
            )
        return {**wan_statistics(), **tensors}, WAN22_5B
    return dict(tensors), None


def read_config(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None,
    name: str,
    public: UniTalkingConfig | None = None,
) -> tuple[UniTalkingConfig, tuple[str, ...]]:
    """The config from the metadata, else from the tensor, else from shapes with a known model's rates.

    Args:
        tensors: everything in the file, under our names.
        metadata: its safetensors metadata, if any.
        name: the file's name, for messages.
        public: which public model it is; None: the full UniTalking.

    Returns:
        The config, and notes for a person.

    Raises:
        CheckpointError: a config that this version cannot honour.
    """
    text = (metadata or {}).get(METADATA_KEY)
    if text is None and CONFIG_TENSOR in tensors:
        text = bytes(tensors[CONFIG_TENSOR].cpu().to(torch.uint8).tolist()).decode("utf-8")
    try:
        if text is not None:
            return from_mapping(UniTalkingConfig, json.loads(text), "config"), ()
        if public is not None:
            return sized(public, tensors), (f"{name} is taken for {public.name}.",)
        return infer_config(tensors), (
            f"{name} carries no config: sizes were read from its tensors, rates and defaults are the full model's.",
        )
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{name}: its config cannot be used. {error}") from error


def config_tensors(config: UniTalkingConfig) -> tuple[str, Tensor]:
    """The config as JSON for the metadata, and as the uint8 tensor of the same text."""
    text = json.dumps(to_mapping(config), separators=(",", ":"))
    return text, torch.tensor(list(text.encode("utf-8")), dtype=torch.uint8)


def infer_config(tensors: Mapping[str, Tensor]) -> UniTalkingConfig:
    """The config of a file without one: sizes from shapes, heads of width 128, all else the full model's.

    Raises:
        ValueError: the width is not a multiple of 128, so heads cannot be told.
    """
    voice = tuple(
        stream for stream in ("video", "audio") if f"{stream}.blocks.0.cross_attn.k_reference.weight" in tensors
    )
    full = UniTalkingConfig()
    base = replace(
        full,
        reference_tokens=full.reference_tokens if voice else 0,
        reference_streams=voice or full.reference_streams,
    )
    return sized(base, tensors)


def load_strict(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Loads every tensor of a module, none missing, none too many, each in the shape expected.

    Raises:
        CheckpointError: names the tensors.
    """
    check_tensors(tensors, {key: value.shape for key, value in module.state_dict().items()}, name)
    module.load_state_dict(tensors, strict=True)


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size], name: str) -> None:
    """Compares names and shapes; scales of quantised weights may come on top.

    Raises:
        CheckpointError: lists missing, unexpected and mis-shaped tensors.
    """
    given = {key: value for key, value in tensors.items() if not key.endswith(QUANTISATION_SUFFIXES)}
    problems = {
        "missing": sorted(set(expected) - set(given)),
        "unexpected": sorted(set(given) - set(expected)),
        "of another shape": [
            f"{key} ({tuple(given[key].shape)} instead of {tuple(shape)})"
            for key, shape in expected.items()
            if key in given and tuple(given[key].shape) != tuple(shape)
        ],
    }
    found = [f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in problems.items() if keys]
    if found:
        raise CheckpointError(
            f"{name} does not fit the model it says it is: {'; '.join(found)}. "
            "The file is incomplete, or was made for another version."
        )


def _listed(keys: list[str]) -> str:
    more = len(keys) - LARGEST_LIST
    return ", ".join(keys[:LARGEST_LIST]) + (f" and {more} more" if more > 0 else "")


def network_shapes(config: UniTalkingConfig) -> dict[str, torch.Size]:
    """Names and shapes of all weights of a network, under the modules' names."""
    from ..model.transformer import UniTalking

    return {key: value.shape for key, value in UniTalking(config, device="meta").state_dict().items()}


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
