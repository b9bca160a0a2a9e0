"""The encoders of a model, the same classes as inference: clips -> cached latents and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...checkpoint.files import CONFIG_TENSOR, METADATA_KEY, CheckpointError, load_strict, read_config, read_part
from ...checkpoint.layouts import describe
from ...checkpoint.parts import build_part
from ...config import UniTalkingConfig
from ...mapping import from_mapping
from ...prompt import compose_prompt
from ..dataset import EncoderInfo, encoder_info
from ..shards import CachedClip
from ..start import ModelSettings
from .clips import RawClip

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class EncoderFiles:
    """Where the encoders come from.

    Attributes:
        model: the model that the data set is for: a UniTalking file with the parts that it carries, or a recipe, whose
            `model` says what it is and which file has its codecs.
        video_vae, audio_codec: UniTalking files that hold these parts, where the model does not.
        comfyui: folder of ComfyUI, whose own classes load the next two.
        vae, text_encoder: files for ComfyUI's classes, where nothing of ours holds these parts.
        text_encoder_type: ComfyUI's name of the kind of text encoder.
        device: where encoders run.
        dtype: of what is stored.
    """

    model: str
    video_vae: str = ""
    audio_codec: str = ""
    comfyui: str = ""
    vae: str = ""
    text_encoder: str = ""
    text_encoder_type: str = "wan"
    device: str = "cpu"
    dtype: str = "float16"


class FrameEncoder(Protocol):
    """Frames (1, 3, F, H, W) in [-1, 1] to latents (1, C, f, h, w)."""

    def __call__(self, frames: Tensor) -> Tensor: ...


class TextEncoder(Protocol):
    """A prompt to its embedding (rows, text_dim)."""

    def __call__(self, prompt: str) -> Tensor: ...


@dataclass(frozen=True)
class Encoders:
    """Everything that turns a clip into what is cached.

    Attributes:
        config: the model's.
        video, audio: encoders; None where the data set has no such stream.
        text: None where training encodes prompts itself.
        infos: what each of them is, by the names of `DatasetInfo`.
        device, dtype: where they run, and of what is stored.
    """

    config: UniTalkingConfig
    video: FrameEncoder | None
    audio: Callable[[Tensor], Tensor]
    text: TextEncoder | None
    infos: Mapping[str, EncoderInfo | None]
    device: torch.device
    dtype: torch.dtype

    @torch.no_grad()
    def encode_video(self, frames: Tensor) -> Tensor:
        """(F, H, W, 3) uint8 -> (C, f, h, w)."""
        values = frames.to(self.device).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        return self._stored(self.video(values))

    @torch.no_grad()
    def encode_audio(self, waveform: Tensor) -> Tensor:
        """(S,) -> (C, L)."""
        return self._stored(self.audio(waveform.to(self.device)[None]))

    @torch.no_grad()
    def encode_text(self, prompt: str) -> Tensor | None:
        """The embedding of a prompt, without the rows of zeros at its end, which training puts back."""
        if self.text is None:
            return None
        context = self.text(prompt).cpu()
        filled = context.abs().sum(1).nonzero()
        return context[: int(filled.max()) + 1 if len(filled) else 1].to(self.dtype)

    def finish(self, clip: RawClip, video: Tensor | None, audio: Tensor | None, references: list[Tensor]) -> CachedClip:
        """The cached clip of a raw one."""
        row = clip.row
        prompt = compose_prompt(row.speech, row.scene, row.sound, self.config.prompt_style)
        texts = {name: getattr(row, name) for name in ("speech", "scene", "sound", "speaker")}
        return CachedClip(
            key=clip.key,
            video=video,
            audio=audio,
            references=tuple(references),
            context=self.encode_text(prompt),
            prompt=prompt,
            frames=0 if clip.frames is None else len(clip.frames),
            source=clip.source,
            spoken=clip.spoken,
            **texts,
        )

    def _stored(self, latents: Tensor) -> Tensor:
        return latents[0].cpu().to(self.dtype)


def load_encoders(files: EncoderFiles, *, audio_only: bool) -> Encoders:
    """Loads what is needed.

    Raises:
        CheckpointError: a file that is none, or holds no such part.
        ValueError: a part that no file was given for.
    """
    device = torch.device(files.device)
    config, carrier = model_of(files.model)
    host = None
    if files.comfyui:
        from .host_encoders import HostEncoders

        host = HostEncoders(files.comfyui, files.device)
    infos: dict[str, EncoderInfo | None] = dict.fromkeys(("video_codec", "audio_codec", "text_encoder"))
    video = None
    if not audio_only:
        if host is not None and files.vae:
            video, infos["video_codec"] = host.video(files.vae, config.in_dim)
        else:
            module, infos["video_codec"] = _load_part(config, "video_vae", files.video_vae or carrier, device)
            video = module.encode
    codec, infos["audio_codec"] = _load_part(config, "audio_vae", files.audio_codec or carrier, device)
    text = None
    if config.text_encoder is None:
        if host is None or not files.text_encoder:
            raise ValueError(
                f"{Path(files.model).name} carries no text encoder, so embeddings must be cached: give "
                "--comfyui FOLDER --text-encoder FILE."
            )
        text, infos["text_encoder"] = host.text(files.text_encoder, files.text_encoder_type, config)
    return Encoders(config, video, codec.encode, text, infos, device, DTYPES[files.dtype])


def model_of(path: str) -> tuple[UniTalkingConfig, str]:
    """The config that `EncoderFiles.model` stands for, and the file that carries its parts, "" if none does.

    Raises:
        CheckpointError: not a file of ours.
        TrainingError, ValueError: a recipe that cannot be used.
    """
    if Path(path).suffix == ".safetensors" or (Path(path).is_file() and Path(path).suffix not in (".yaml", ".yml")):
        return read_model_config(path), path
    from ..recipe import load_recipe

    settings = getattr(load_recipe(path)[1], "model", None)
    if not isinstance(settings, ModelSettings):
        raise ValueError(f"--model {path}: a recipe that trains no model on cached latents.")
    if settings.start:
        return read_model_config(settings.start), settings.start
    config = from_mapping(UniTalkingConfig, settings.config or {}, "model.config")
    if settings.codecs:
        described = read_model_config(settings.codecs)
        config = replace(config, video_vae=described.video_vae, audio_codec=described.audio_codec)
    return config, settings.codecs


def read_model_config(path: str) -> UniTalkingConfig:
    """The config in a UniTalking file.

    Raises:
        CheckpointError: not a file of ours.
    """
    tensors, metadata, names = _read_some(path, (CONFIG_TENSOR,))
    if METADATA_KEY not in metadata and CONFIG_TENSOR not in tensors:
        raise CheckpointError(
            f"{Path(path).name} is {describe(names)}, without a UniTalking config: give the model that the data set is "
            "for by --model."
        )
    return read_config(tensors, metadata, Path(path).name)[0]


# What the command line calls the file of a part.
_OPTIONS = {"video_vae": "--video-vae FILE, or --comfyui FOLDER --vae FILE", "audio_vae": "--audio-codec FILE"}


def _load_part(config: UniTalkingConfig, part: str, path: str, device: torch.device) -> tuple[nn.Module, EncoderInfo]:
    """A part of a UniTalking file, checked against the model that the data set is for."""
    name = Path(path).name
    if not path:
        raise ValueError(f"the recipe's model has no codecs: give {_OPTIONS[part]}.")
    tensors, metadata, _ = _read_some(path, (f"{part}.", CONFIG_TENSOR))
    if not any(key.startswith(f"{part}.") for key in tensors):
        raise ValueError(f"{name} carries no {part}.* tensors: give {_OPTIONS[part]}.")
    own, weights = read_part(tensors, metadata, part, name)
    rates = {
        "video_vae": ("in_dim", "video_stride"),
        "audio_vae": ("audio_channels", "sample_rate", "hop"),
    }[part]
    wrong = [field for field in rates if getattr(own, field) != getattr(config, field)]
    if wrong:
        raise CheckpointError(
            f"{name}: its {part} is for another model ({', '.join(f'{f} {getattr(own, f)}' for f in wrong)}; "
            f"expected {', '.join(f'{f} {getattr(config, f)}' for f in wrong)})."
        )
    module = build_part(own, part)
    load_strict(module, {key: value.float() for key, value in weights.items()}, f"{name} ({part})")
    module.eval().requires_grad_(False)
    return module.to(device), encoder_info(part, own, weights, name)


def _read_some(path: str, prefixes: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """The tensors whose names begin so, the metadata, and all names; a full model's streams stay on disk."""
    name = Path(path).name
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            chosen = {key: file.get_tensor(key) for key in names if key.startswith(prefixes)}
            return chosen, file.metadata() or {}, names
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file; give a UniTalking .safetensors file.") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{name} cannot be read as safetensors; its download was cut off, or it is another kind of file. ({error})"
        ) from error
