"""Load UniTalking Model."""

from __future__ import annotations

import logging
from typing import Any

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
from .messages import say
from .vae import load_audio_vae, load_bundled_video_vae, read_audio_codec

WEIGHT_DTYPES = {
    "default": {},
    "bf16": {"dtype": torch.bfloat16},
    "fp32": {"dtype": torch.float32},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}
NO_SECOND_FILE = "none"
SILENT = (
    "This model has no sound stream: it makes silent clips, from Empty AV Latent as always. For speech load a "
    "UniTalking or an Ovi model."
)

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
                io.Combo.Input(
                    "second_file",
                    options=[NO_SECOND_FILE, *model_choices()],
                    default=NO_SECOND_FILE,
                    tooltip="For a model in two files (Ovi's picture stream and sound stream): the other one.",
                    optional=True,  # graphs saved before it was there have no value
                    advanced=True,
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="The model, for Text Prompt, Empty AV Latent and Joint Flow Sampler."
                ),
                io.Clip.Output(display_name="clip", tooltip="The text encoder, for Text Prompt."),
                io.Vae.Output(display_name="vae", tooltip="The picture codec, for Portrait Image and Decode AV."),
                io.Vae.Output(
                    display_name="audio_vae",
                    tooltip="The sound codec, for Encode Voice Reference and Decode AV; empty where the model makes no "
                    "sound.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: str,
        text_encoder: str,
        video_vae: str,
        audio_codec: str,
        weight_dtype: str,
        second_file: str = NO_SECOND_FILE,
    ) -> io.NodeOutput:
        """Loads the file once and builds what the sockets carry."""
        path = find_model(model)
        second = "" if second_file == NO_SECOND_FILE else find_model(second_file)
        file, _ = read_model_file(path, second)
        needed = dict(zip(PART_NAMES, (text_encoder, video_vae, audio_codec), strict=True))
        if not file.config.audio_channels:
            needed.pop("audio_vae")
        missing = [part for part, choice in needed.items() if choice == FROM_MODEL and part not in file.parts]
        if missing:
            raise CheckpointError(_missing_parts(file, missing))
        clip = _load_clip(file, text_encoder)
        vae = _load_video_vae(file, video_vae)
        notes = list(file.notes)
        audio_vae = _load_audio_vae(file, audio_codec, notes) if file.config.audio_channels else None
        if audio_vae is None:
            notes.append(SILENT)
        if notes:
            say(cls, "\n".join(notes))
        patcher = patch_model(file, path, dict(WEIGHT_DTYPES[weight_dtype]), second)
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


def _load_audio_vae(file: ModelFile, choice: str, notes: list[str]) -> Any:
    bundle = _bundle(file, choice, "vae", "audio_vae")
    if bundle is not None:
        name, config, tensors = bundle.name, bundle.config, bundle.parts["audio_vae"]
    else:
        name = choice
        config, tensors = read_audio_codec(find_part("vae", choice), notes.append)
    _check_audio_codec(config, file.config, name)
    return load_audio_vae(config, tensors, name, carried=bundle is not None)


def _check_audio_codec(codec: UniTalkingConfig, model: UniTalkingConfig, name: str) -> None:
    got = (codec.sample_rate, codec.hop, codec.audio_channels)
    expected = (model.sample_rate, model.hop, model.audio_channels)
    if got != expected:
        raise CheckpointError(
            f"{name} is the sound codec of another model: got (sample rate, hop, channels) = {got}, "
            f"expected {expected}."
        )
