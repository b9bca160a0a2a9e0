"""Load UniTalking Model and Load LoRA for UniTalking."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.lora_convert
import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io

from ..unitalking.checkpoint.files import PARTS as PART_NAMES
from ..unitalking.checkpoint.files import CheckpointError, ModelFile
from ..unitalking.config import UniTalkingConfig
from .clip import load_bundled_clip
from .constants import CATEGORY
from .files import FROM_MODEL, find_model, find_part, model_choices, part_choices
from .loading import patch_model, read_model_file, read_tensors
from .messages import config_of, say
from .vae import load_audio_vae, load_bundled_video_vae, read_audio_codec

WEIGHT_DTYPES = {
    "default": {},
    "bf16": {"dtype": torch.bfloat16},
    "fp32": {"dtype": torch.float32},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}
STREAMS = ("both", "video", "audio")

logger = logging.getLogger(__name__)


class LoadModel(io.ComfyNode):
    """A model file -> MODEL, CLIP, VAE and audio VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingModelLoader",
            display_name="Load UniTalking Model",
            category=CATEGORY,
            description="Loads a joint picture and sound model, with its text encoder and codecs.",
            search_aliases=["talking portrait", "talking head", "lip sync", "text to talking video"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_choices(),
                    tooltip="Model file. The pack's own model comes first; others are looked for in "
                    "models/unitalking, diffusion_models and checkpoints.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=part_choices("text_encoders"),
                    default=FROM_MODEL,
                    tooltip="Text encoder: the one inside the model file or inside another one (for a model saved by "
                    "Save Model), or UMT5-xxl from text_encoders for the full model.",
                ),
                io.Combo.Input(
                    "video_vae",
                    options=part_choices("vae"),
                    default=FROM_MODEL,
                    tooltip="Picture codec: the one inside the model file or inside another one, or the Wan2.2 VAE "
                    "from vae for the full model.",
                ),
                io.Combo.Input(
                    "audio_codec",
                    options=part_choices("vae"),
                    default=FROM_MODEL,
                    tooltip="Sound codec (audio VAE and vocoder): the one inside the model file or inside another "
                    "one, or a file from vae.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(WEIGHT_DTYPES),
                    default="default",
                    tooltip="How the weights are kept in memory. default: as in the file. fp8 halves memory and "
                    "costs a little quality. The codecs always run in full precision.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Clip.Output(display_name="clip"),
                io.Vae.Output(display_name="vae"),
                io.Vae.Output(display_name="audio_vae"),
            ],
        )

    @classmethod
    def execute(
        cls, model: str, text_encoder: str, video_vae: str, audio_codec: str, weight_dtype: str
    ) -> io.NodeOutput:
        """Loads the file once and builds what the sockets carry."""
        path = find_model(model)
        file, _ = read_model_file(path)
        needed = dict(zip(PART_NAMES, (text_encoder, video_vae, audio_codec), strict=True))
        missing = [part for part, choice in needed.items() if choice == FROM_MODEL and part not in file.parts]
        if missing:
            raise CheckpointError(_missing_parts(file, missing))
        clip = _load_clip(file, text_encoder)
        vae = _load_video_vae(file, video_vae)
        audio_vae = _load_audio_vae(file, audio_codec)
        patcher = patch_model(file, path, dict(WEIGHT_DTYPES[weight_dtype]))
        return io.NodeOutput(patcher, clip, vae, audio_vae)


def _missing_parts(file: ModelFile, missing: list[str]) -> str:
    names = {
        "text_encoder": "text encoder (choose UMT5-xxl at text_encoder; the file belongs into models/text_encoders)",
        "video_vae": "picture codec (choose the Wan2.2 VAE at video_vae; the file belongs into models/vae)",
        "audio_vae": "sound codec (choose an audio codec at audio_codec; the file belongs into models/vae)",
    }
    listed = ", and no ".join(names[part] for part in missing)
    return f"{file.name} carries no {listed}. For a model made from a complete file, choose that file there."


def _bundle(file: ModelFile, choice: str, folder: str, part: str) -> ModelFile | None:
    """The model file that holds a part: this one or the one chosen; None where a file of the part alone is chosen."""
    if choice == FROM_MODEL:
        return file
    if folder_paths.get_full_path(folder, choice) is not None:
        return None
    bundle, _ = read_model_file(find_model(choice))
    if part not in bundle.parts:
        raise CheckpointError(_missing_parts(bundle, [part]))
    return bundle


def _load_clip(file: ModelFile, choice: str) -> Any:
    bundle = _bundle(file, choice, "text_encoders", "text_encoder")
    if bundle is not None:
        return load_bundled_clip(bundle)
    path = find_part("text_encoders", choice)
    read_tensors(path)
    return comfy.sd.load_clip(
        ckpt_paths=[path],
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        clip_type=comfy.sd.CLIPType.WAN,
    )


def _load_video_vae(file: ModelFile, choice: str) -> Any:
    bundle = _bundle(file, choice, "vae", "video_vae")
    if bundle is not None:
        name, vae = bundle.name, load_bundled_video_vae(bundle)
    else:
        name = choice
        tensors, metadata = read_tensors(find_part("vae", choice))
        vae = comfy.sd.VAE(sd=tensors, metadata=metadata)
    if vae.first_stage_model is None or vae.latent_channels != file.config.in_dim:
        raise CheckpointError(
            f"{name} is not the picture codec of this model: it needs a video VAE of {file.config.in_dim} channels."
        )
    return vae


def _load_audio_vae(file: ModelFile, choice: str) -> Any:
    bundle = _bundle(file, choice, "vae", "audio_vae")
    if bundle is not None:
        name, config, tensors = bundle.name, bundle.config, bundle.parts["audio_vae"]
    else:
        name = choice
        config, tensors = read_audio_codec(find_part("vae", choice))
    _check_audio_codec(config, file.config, name)
    return load_audio_vae(config, tensors, name)


def _check_audio_codec(codec: UniTalkingConfig, model: UniTalkingConfig, name: str) -> None:
    got = (codec.sample_rate, codec.hop, codec.audio_channels)
    expected = (model.sample_rate, model.hop, model.audio_channels)
    if got != expected:
        raise CheckpointError(
            f"{name} is the sound codec of another model: got (sample rate, hop, channels) = {got}, "
            f"expected {expected}."
        )


class LoadLora(io.ComfyNode):
    """A LoRA file onto one stream or both; how many keys it patched is shown, none is an error."""

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
            outputs=[io.Model.Output(display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, lora_name: str, stream: str, strength: float) -> io.NodeOutput:
        """Patches a clone of the model."""
        config_of(model, "Load LoRA for UniTalking")
        tensors, _ = read_tensors(find_part("loras", lora_name))
        tensors = comfy.lora_convert.convert_lora(tensors)
        patches = comfy.lora.load_lora(tensors, lora_keys(model, stream), log_missing=False)
        patched = model.clone()
        applied = patched.add_patches(patches, strength)
        if not applied:
            raise CheckpointError(
                f"{lora_name} changes nothing in this model (stream: {stream}): none of its {len(tensors)} tensors "
                "has a name that the model knows. It was made for another model."
            )
        say(cls, f"{len(applied)} of the model's weights changed by {Path(lora_name).name}")
        return io.NodeOutput(patched)


def lora_keys(model: Any, stream: str) -> dict[str, str]:
    """Names that LoRA files use -> weights of the model, for one stream or both.

    Besides the host's own names, names without a stream (Wan2.2's) stand for the chosen stream, or for video.
    """
    streams = ("video", "audio") if stream == "both" else (stream,)
    unnamed = "video" if stream == "both" else stream
    keys: dict[str, str] = {}
    for name in model.model.state_dict():
        if not name.startswith("diffusion_model.") or not name.endswith(".weight"):
            continue
        inside = name.removeprefix("diffusion_model.").removesuffix(".weight")
        if inside.split(".")[0] not in streams:
            continue
        names = [inside]
        if inside.startswith(f"{unnamed}."):
            names.append(inside.removeprefix(f"{unnamed}."))
        for given in names:
            spelled = (given, f"diffusion_model.{given}", f"transformer.{given}", f"base_model.model.{given}")
            keys.update(dict.fromkeys((*spelled, f"lora_unet_{given.replace('.', '_')}"), name))
    return keys
