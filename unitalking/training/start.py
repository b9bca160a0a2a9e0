"""What a run starts from: a fresh network, a file, Wan2.2 in the video stream, one stream copied to the other.

Source: the video stream from Wan2.2 and a random audio stream are the paper's; initial scales are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ..checkpoint.files import CheckpointError, ModelFile, read_config, read_model, read_part
from ..checkpoint.keys import to_module_keys
from ..checkpoint.layouts import strip_prefixes
from ..checkpoint.parts import build_part
from ..codec.text_encoder import ByteTextEncoder, TextEncoderConfig
from ..config import UniTalkingConfig
from ..domain import Domain
from ..latents import WAN22_MEAN, WAN22_STD, LatentStatistics
from ..mapping import from_mapping, to_mapping
from ..model.initial import initialise as fill
from ..model.transformer import UniTalking
from .dataset import DatasetInfo
from .part_files import load_part
from .settings import TrainingError, require

TRAINED = ("all", "audio")
COPIES = ("", "audio_to_video", "video_to_audio")
# What streams have in common, whatever their latents and conditions are, but how they look at the text: sound looks for
# what is said now, and what a caption says is never said.
SHARED = ("blocks.", "text_embedding.", "time_embedding.", "time_projection.", "extra_positions.time.")
OWN = ".cross_attn."
CODECS = ("video_vae", "audio_vae")


@dataclass(frozen=True)
class ModelSettings:
    """Where the network comes from and what of it trains.

    Attributes:
        start: a UniTalking model file to go on from; "": a fresh network.
        picture_codec: a bundle whose video VAE and video statistics replace those of `start`, whose picture stream has
            not been trained yet; "": none.
        config: of a fresh network, fields of `UniTalkingConfig`; what is left out is the full model's.
        codecs: a bundle whose codecs and latent statistics belong to a fresh network; "": none.
        text_encoder: file of a text encoder that a fresh network starts with; "": a fresh one, too.
        wan: files of Wan2.2-TI2V-5B that the video stream starts from.
        copy: "audio_to_video" or "video_to_audio" starts one stream as a copy of the other; "": neither.
        trained: "all", or "audio": not the video stream (the paper's first stage).
        seed: of the fresh weights.
    """

    start: str = ""
    picture_codec: str = ""
    config: Mapping[str, Any] | None = None
    codecs: str = ""
    text_encoder: str = ""
    wan: tuple[str, ...] = ()
    copy: str = ""
    trained: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.trained in TRAINED, "model.trained", self.trained, " or ".join(TRAINED))
        require(self.copy in COPIES, "model.copy", self.copy, " or ".join(map(repr, COPIES)))
        fresh = bool(self.config or self.codecs or self.text_encoder)
        require(not (self.start and fresh), "model.start", self.start, "alone, or what a fresh network has without it")
        require(bool(self.start) or not self.picture_codec, "model.picture_codec", self.picture_codec, "a model.start")


@dataclass
class Start:
    """What a run starts from.

    Attributes:
        config: of the model.
        network, text_encoder: float32; the encoder of a bundle, else None.
        codecs: tensors of the codecs that the result carries, by part.
        statistics: of video and audio latents.
        rgb: preview factors, (C + 1, 3), or None.
        domain: the first pictures that the model knows, or None: all.
    """

    config: UniTalkingConfig
    network: UniTalking
    text_encoder: ByteTextEncoder | None
    codecs: dict[str, dict[str, Tensor]]
    statistics: tuple[LatentStatistics, LatentStatistics]
    rgb: Tensor | None
    domain: Domain | None


def load_start(settings: ModelSettings, info: DatasetInfo) -> Start:
    """Builds and fills the network.

    Args:
        settings: where it comes from.
        info: the data set, for the statistics of a fresh network without codecs.

    Raises:
        TrainingError: a file that is missing or cannot be used.
    """
    try:
        start = _from_file(Path(settings.start)) if settings.start else _fresh(settings, info)
        if settings.picture_codec:
            start = _with_pictures(start, Path(settings.picture_codec))
        if settings.wan:
            load_wan(start.network, [read_tensors(Path(path))[0] for path in settings.wan])
    except (OSError, CheckpointError, ValueError, safetensors.SafetensorError) as error:
        raise TrainingError(f"model: {error}") from error
    if settings.copy:
        names = settings.copy.split("_to_")
        copy_stream(*(getattr(start.network, name) for name in names))
    freeze(start, settings.trained)
    return start


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (memory-mapped) and metadata of a safetensors file."""
    with safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}


def _from_file(path: Path) -> Start:
    tensors, metadata = read_tensors(path)
    file: ModelFile = read_model(tensors, metadata, path.name)
    network = UniTalking(file.config, device="meta").to_empty(device="cpu").float()
    network.load_state_dict({name: value.float() for name, value in file.network.items()})
    encoder = _text_encoder(file.config)
    if encoder is not None:
        encoder.load_state_dict({name: value.float() for name, value in file.parts["text_encoder"].items()})
    codecs = {part: file.parts[part] for part in CODECS if part in file.parts}
    return Start(file.config, network, encoder, codecs, (file.video, file.audio), file.rgb, file.domain)


def _with_pictures(start: Start, path: Path) -> Start:
    """The start with the video VAE of a bundle and all that depends on it."""
    tensors, metadata = read_tensors(path)
    described, weights = read_part(tensors, metadata, "video_vae", path.name)
    if (described.in_dim, described.video_stride) != (start.config.in_dim, start.config.video_stride):
        raise ValueError(
            f"model.picture_codec: {path.name} has {described.in_dim} channels of {tuple(described.video_stride)}, the "
            f"model takes {start.config.in_dim} of {tuple(start.config.video_stride)}."
        )
    return replace(
        start,
        config=replace(start.config, video_vae=described.video_vae),
        codecs=start.codecs | {"video_vae": weights},
        statistics=(LatentStatistics.from_tensors(tensors, "video", described.in_dim), start.statistics[1]),
        rgb=tensors.get("latents.video.rgb"),
        domain=Domain.from_tensors(tensors, described.in_dim),
    )


def _fresh(settings: ModelSettings, info: DatasetInfo) -> Start:
    config = from_mapping(UniTalkingConfig, settings.config or {}, "model.config")
    codecs: dict[str, dict[str, Tensor]] = {}
    latents = info.tensors()
    if settings.codecs:
        path = Path(settings.codecs)
        tensors, metadata = read_tensors(path)
        described = read_config(tensors, metadata, path.name)[0]
        config = replace(config, video_vae=described.video_vae, audio_codec=described.audio_codec)
        codecs = {part: read_part(tensors, metadata, part, path.name)[1] for part in CODECS}
        latents |= {name: value for name, value in tensors.items() if name.startswith(("latents.", "domain."))}
    elif config.in_dim == len(WAN22_MEAN):
        latents |= {"latents.video.mean": torch.tensor(WAN22_MEAN), "latents.video.std": torch.tensor(WAN22_STD)}
    statistics = (
        LatentStatistics.from_tensors(latents, "video", config.in_dim),
        LatentStatistics.from_tensors(latents, "audio", config.audio_channels),
    )
    network = UniTalking(config, device="meta").to_empty(device="cpu").float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        initialise(network)
        encoder = _text_encoder(config)
    if settings.text_encoder:
        _fill_text_encoder(encoder, config, Path(settings.text_encoder))
    domain = Domain.from_tensors(latents, config.in_dim)
    return Start(config, network, encoder, codecs, statistics, latents.get("latents.video.rgb"), domain)


def _text_encoder(config: UniTalkingConfig) -> ByteTextEncoder | None:
    return None if config.text_encoder is None else build_part(config, "text_encoder")


def _fill_text_encoder(encoder: ByteTextEncoder | None, config: UniTalkingConfig, path: Path) -> None:
    found, tensors = load_part(path, "text_encoder", TextEncoderConfig)
    if encoder is None or found != encoder.config:
        raise ValueError(
            f"model.text_encoder: {path} holds {to_mapping(found)}, model.config.text_encoder is {config.text_encoder}."
        )
    encoder.load_state_dict(tensors)


def initialise(network: UniTalking) -> None:
    """Fresh weights in the whole network, from PyTorch's random numbers."""
    for name, value in network.named_parameters():
        fill(name, value, network.config)


def load_wan(network: UniTalking, files: list[Mapping[str, Tensor]]) -> None:
    """Fills the video stream with Wan2.2-TI2V-5B's own weights, given as the shards of its file.

    Raises:
        CheckpointError: tensors that are missing, left over, or of another shape.
    """
    given: dict[str, Tensor] = {}
    for shard in files:
        given |= strip_prefixes(shard)
    given = to_module_keys({name.removeprefix("video."): value for name, value in given.items()})
    wanted = {name: value for name, value in network.video.state_dict().items() if not _is_ours(name)}
    wrong = sorted(
        name
        for name in wanted.keys() | given.keys()
        if name not in wanted or name not in given or wanted[name].shape != given[name].shape
    )
    if wrong:
        shown = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise CheckpointError(
            "model.wan: these files are no Wan2.2-TI2V-5B of the video stream's size; missing, left over or of "
            f"another shape: {shown}. Give all shards of the 5 B model in its native names."
        )
    network.video.load_state_dict({name: value.float() for name, value in given.items()}, strict=False)


def _is_ours(name: str) -> bool:
    return "reference" in name or name.startswith("extra_positions.")


def copy_stream(source: nn.Module, target: nn.Module) -> None:
    """Copies what two streams have in common; each keeps its own stem, head, reference projections and attention to the
    text."""
    wanted = target.state_dict()
    shared = {
        name: value
        for name, value in source.state_dict().items()
        if name.startswith(SHARED) and OWN not in name and name in wanted
    }
    target.load_state_dict(shared, strict=False)


def freeze(start: Start, trained: str) -> None:
    """Freezes the picture's stream in the first stage, and a text encoder's clock, which learns from phonemes alone."""
    start.network.video.requires_grad_(trained == "all")
    if start.text_encoder is not None:
        start.text_encoder.clock.requires_grad_(False)
