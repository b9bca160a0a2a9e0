"""Our codecs as the host's VAE, so that stock VAE nodes take them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.utils
import torch
from torch import Tensor, nn

from ..unitalking.checkpoint.codec_id import codec_id
from ..unitalking.checkpoint.files import CONFIG_TENSOR, METADATA_KEY, ModelFile, load_strict, read_part
from ..unitalking.checkpoint.parts import build_part
from ..unitalking.config import UniTalkingConfig
from ..unitalking.domain import Domain
from .codec_files import public_codec, read_codec_file

# Audio latents per stretch when decoding: about 12 s at 44.1 kHz, so that memory does not grow with the clip.
DECODE_CHUNK = 512
# Measured peak of the vocoder: activations per output sample, in values.
VOCODER_VALUES_PER_SAMPLE = 400

logger = logging.getLogger(__name__)


class ReadyVAE(comfy.sd.VAE):
    """The host's VAE around a module that is already built; the host's own constructor only detects files.

    Args:
        module: encodes (B, channels, ...) and decodes latents, in its own precision.
        dtype: of its weights.
        offload: whether the host may keep parts of it elsewhere while it runs.
    """

    def __init__(self, module: nn.Module, *, dtype: torch.dtype, offload: bool) -> None:
        management = comfy.model_management
        self.first_stage_model = module.eval().requires_grad_(False).to(dtype)
        self.device = management.vae_device()
        self.output_device = management.intermediate_device()
        self.vae_dtype = dtype
        self.working_dtypes = [dtype]
        self.disable_offload = not offload
        self.size = None
        self.process_input = self.process_output = lambda values: values
        self.pad_channel_value = None
        self.crop_input = False
        self.not_video = False
        self.extra_1d_channel = None
        self.handles_tiling = False
        self.format_encoded = None
        self.downscale_index_formula = self.upscale_index_formula = None
        management.archive_model_dtypes(module)
        patcher = comfy.model_patcher.CoreModelPatcher if offload else comfy.model_patcher.ModelPatcher
        self.patcher = patcher(module, load_device=self.device, offload_device=management.vae_offload_device())


class AudioModule(nn.Module):
    """The audio codec behind the host's calls: stereo in and out, chunked decoding.

    The host drops a channel of what it hands to a mono codec, so it is told two channels and they are mixed here.
    """

    def __init__(self, codec: nn.Module) -> None:
        super().__init__()
        self.codec = codec

    def encode(self, waveform: Tensor) -> Tensor:
        """(B, channels, S) -> latents (B, C, L)."""
        return self.codec.encode(waveform.mean(1))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, L) -> (B, 2, S): the host's sockets and muxers expect stereo."""
        progress = comfy.utils.ProgressBar(latents.shape[2]) if latents.shape[2] > DECODE_CHUNK else None

        def on_chunk(done: int, total: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            if progress is not None:
                progress.update_absolute(done, total)

        return self.codec.decode_chunked(latents, DECODE_CHUNK, on_chunk)[:, None].repeat(1, 2, 1)


class AudioVAE(ReadyVAE):
    """The audio codec as the host's audio VAE; `config` and `codec_id` say which codec it is, `mel` what it hears."""

    def __init__(self, codec: nn.Module, config: UniTalkingConfig, codec_id: str) -> None:
        super().__init__(AudioModule(codec), dtype=torch.float32, offload=False)
        self.config, self.codec_id = config, codec_id
        self.latent_channels = config.audio_channels
        self.latent_dim = 1
        self.output_channels = 2
        self.pad_channel_value = "replicate"
        self.upscale_ratio = self.downscale_ratio = config.samples_per_latent
        self.audio_sample_rate = config.sample_rate
        self.mel = codec.config.mel
        self.memory_used_encode = lambda shape, dtype: shape[0] * shape[2] * 64 * 4
        self.memory_used_decode = lambda shape, dtype: (
            shape[0] * min(shape[2], DECODE_CHUNK) * config.samples_per_latent * VOCODER_VALUES_PER_SAMPLE * 4
        )


class VideoVAE(ReadyVAE):
    """The small video codec of a bundle as the host's video VAE.

    `config` is that of the bundle's model, `domain` the first pictures that this model knows, or None: all.
    """

    def __init__(self, module: nn.Module, config: UniTalkingConfig, domain: Domain | None = None) -> None:
        super().__init__(module, dtype=torch.float32, offload=False)
        self.config, self.domain = config, domain
        time, height, width = config.video_stride
        self.latent_channels = config.in_dim
        self.latent_dim = 3
        self.output_channels = 3
        self.upscale_ratio = (lambda length: max(0, (length - 1) * time + 1), height, width)
        self.downscale_ratio = (lambda length: max(0, (length + time - 1) // time), height, width)
        self.upscale_index_formula = self.downscale_index_formula = (time, height, width)
        self.process_input = lambda frames: frames * 2.0 - 1.0
        self.process_output = lambda frames: frames.add_(1.0).div_(2.0).clamp_(0.0, 1.0)
        self.crop_input = True
        self.memory_used_encode = lambda shape, dtype: shape[0] * shape[2] * shape[3] * shape[4] * 64 * 4
        self.memory_used_decode = lambda shape, dtype: (
            shape[0] * shape[2] * time * shape[3] * height * shape[4] * width * 64 * 4
        )


def read_audio_codec(
    path: str, tell: Callable[[str], None] | None = None
) -> tuple[UniTalkingConfig, dict[str, Tensor]]:
    """The audio codec in a file of its own, in another model's bundle, or as MMAudio and BigVGAN are published.

    Args:
        path: the file chosen.
        tell: is given what a person should know, such as the file that the codec's other half came from; None: the log.

    Returns:
        Its config, and the tensors of the part `audio_vae`.

    Raises:
        CheckpointError: the file holds none, and what it is instead, or half of one that no other file completes.
    """
    tensors, metadata = read_codec_file(path)
    if METADATA_KEY in metadata or CONFIG_TENSOR in tensors:
        return read_part(tensors, metadata, "audio_vae", Path(path).name)
    return public_codec(path, tensors, tell or partial(logger.info, "UniTalking: %s"))


def audio_codec(config: UniTalkingConfig, tensors: Mapping[str, Tensor], name: str) -> nn.Module:
    """The audio codec of a bundle or of a file of its own, in fp32 on the CPU.

    Raises:
        CheckpointError: tensors that do not fit the config.
    """
    codec = build_part(config, "audio_vae")
    load_strict(codec, {key: value.float() for key, value in tensors.items()}, f"{name} (audio codec)")
    return codec


def load_audio_vae(
    config: UniTalkingConfig, tensors: Mapping[str, Tensor], name: str, *, carried: bool = False
) -> AudioVAE:
    """The same as the host's audio VAE; `carried` in a model's own file, or a published one."""
    return AudioVAE(audio_codec(config, tensors, name), config, codec_id(config, tensors if carried else None))


def load_bundled_video_vae(file: ModelFile) -> VideoVAE:
    """The video codec of a bundle.

    Raises:
        CheckpointError: tensors that do not fit the config.
    """
    module = build_part(file.config, "video_vae")
    tensors = {key: value.float() for key, value in file.parts["video_vae"].items()}
    load_strict(module, tensors, f"{file.name} (video codec)")
    return VideoVAE(module, file.config, file.domain)
