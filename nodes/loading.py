"""Files -> MODEL, CLIP and VAE through the host's own patchers, casts and quantised weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.supported_models_base
import comfy.utils
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..unitalking.checkpoint.codec_id import codec_id
from ..unitalking.checkpoint.files import CONFIG_TENSOR, NETWORK, CheckpointError, ModelFile, config_tensors, read_model
from ..unitalking.checkpoint.float8 import as_scaled
from ..unitalking.checkpoint.keys import to_file_keys
from ..unitalking.checkpoint.layouts import strip_prefixes
from ..unitalking.checkpoint.public_layouts import joined
from ..unitalking.config import UniTalkingConfig
from .adapter import UniTalkingModel
from .files import shards_of
from .gguf import gguf_operations, gguf_patcher, is_gguf, read_gguf
from .latent_format import UniTalkingLatentFormat
from .run import around_sampling

# Wan2.2-5B's factor, by which the host estimates memory from the area of a latent, belongs to this width.
WIDTH_OF_FACTOR_ONE = 2222
QUANTISATION_KEY = "_quantization_metadata"  # the host's

FLOATS = (torch.bfloat16, torch.float16, torch.float32)
CAST_ONCE_BELOW = 100_000_000

logger = logging.getLogger(__name__)


class SupportedModel(comfy.supported_models_base.BASE):
    """What the host asks of a model family: dtypes, sampling, memory, names of weights when saving."""

    unet_extra_config: dict[str, Any] = {}  # noqa: RUF012 (the host's own attribute; it would add its defaults)
    supported_inference_dtypes = [torch.bfloat16, torch.float32]  # noqa: RUF012 (the host's own attribute)

    def __init__(self, file: ModelFile) -> None:
        config = file.config
        self.latent_format = partial(
            UniTalkingLatentFormat, config, file.video, file.audio, preview_factors(config, file.rgb)
        )
        super().__init__({"config": config})
        self.config, self.rgb = config, file.rgb
        self.codec_id = codec_id(config, file.parts.get("audio_vae"))
        self.sampling_settings = {"shift": config.sampling.sigma_shift}
        # The packed latent counts channels as area: the factor is per channel (host measurements in docs).
        self.memory_usage_factor = config.dim / WIDTH_OF_FACTOR_ONE / config.in_dim

    def get_model(self, state_dict: Mapping[str, Tensor], prefix: str = "", device: Any = None) -> UniTalkingModel:
        """The host's model object, without weights."""
        return UniTalkingModel(self, self.config, device=device)

    def inpaint_model(self) -> bool:
        """Never: masks hold tokens instead."""
        return False

    def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Native names, with the config and latent statistics beside the weights, under the host's prefix."""
        tensors = to_file_keys(state_dict)
        tensors[CONFIG_TENSOR] = config_tensors(self.config)[1]
        for stream in ("video", "audio"):
            statistics = getattr(self.latent_format, stream)
            tensors[f"latents.{stream}.mean"] = statistics.mean.clone()
            tensors[f"latents.{stream}.std"] = statistics.std.clone()
        if self.rgb is not None:
            tensors["latents.video.rgb"] = self.rgb
        return super().process_unet_state_dict_for_saving(tensors)


def preview_factors(config: UniTalkingConfig, rgb: Tensor | None) -> Tensor | None:
    """The file's preview factors, else the host's own for Wan2.2's latents, else none."""
    if rgb is not None:
        return rgb.float()
    wan = comfy.latent_formats.Wan22
    if config.in_dim != wan.latent_channels:
        return None
    return torch.tensor([*wan.latent_rgb_factors, wan.latent_rgb_factors_bias])


def read_tensors(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Everything in a file, through the host's loader; pickled code is never run.

    Raises:
        CheckpointError: a missing, damaged, truncated or pickled file, named, with what to do.
    """
    name = Path(path).name
    try:
        tensors, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{name} is not there any more: refresh the node list and choose a file.") from error
    except SafetensorError as error:
        raise CheckpointError(f"{name} is damaged or its download was cut off: fetch it again. ({error})") from error
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{name} cannot be read as a model file: expected safetensors, or a .pth of tensors alone (pickled code "
            f"is not run). Fetch it again or choose another file. ({reason})"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{name} does not hold a flat list of tensors: choose a UniTalking model file.")
    return tensors, metadata or {}


def read_model_file(path: str, second: str = "", *, convert_quants: bool = True) -> tuple[ModelFile, dict[str, str]]:
    """A model file, taken apart, with old-style scaled weights brought to the host's current form.

    Args:
        path: the file; one of several numbered ones stands for all of them.
        second: the file of the other stream, where a model comes in two.
        convert_quants: off where the caller's operations know the file's own quantised weights.

    Raises:
        CheckpointError: a file that cannot be used.
    """
    tensors, metadata = read_gguf(path) if is_gguf(path) else read_tensors(path)
    for shard in shards_of(path):
        tensors |= {} if shard == path else read_tensors(shard)[0]
    if second:
        tensors = joined(tensors, read_tensors(second)[0], (Path(path).name, Path(second).name))
    if QUANTISATION_KEY not in metadata and not is_gguf(path):
        tensors = as_scaled(tensors)
    file = read_model(tensors, metadata, Path(path).name)
    for note in file.notes:
        logger.warning("UniTalking: %s", note)
    if convert_quants and not is_gguf(path):
        network = dict(file.network)
        for marker in (key for key in tensors if key.endswith("scaled_fp8")):
            network["scaled_fp8"] = tensors[marker]
        converted, metadata = comfy.utils.convert_old_quants(network, "", metadata=_quantised_network(metadata))
        file.network.clear()
        file.network.update(converted)
    return file, metadata


def _quantised_network(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata whose list of quantised layers, if any, names the network's alone, without a saver's prefix."""
    if QUANTISATION_KEY not in metadata:
        return dict(metadata)
    told = json.loads(metadata[QUANTISATION_KEY])
    layers = strip_prefixes(told["layers"])
    told["layers"] = {name: layer for name, layer in layers.items() if name.startswith(NETWORK)}
    return {**metadata, QUANTISATION_KEY: json.dumps(told)}


def load_model(
    path: str, model_options: dict[str, Any] | None = None, second: str = "", disable_dynamic: bool = False
) -> Any:
    """A file -> the host's MODEL.

    The signature is the host's: it calls this again, with these keywords, to make further copies of the model.

    Args:
        path: the model file.
        model_options: `dtype` and `custom_operations`, as the host's own loaders take them.
        second: the file of the other stream, where a model comes in two.
        disable_dynamic: use the plain patcher.

    Raises:
        CheckpointError: the file cannot be used.
    """
    file, _ = read_model_file(path, second, convert_quants="custom_operations" not in (model_options or {}))
    return patch_model(file, path, model_options or {}, second, disable_dynamic=disable_dynamic)


def patch_model(
    file: ModelFile, path: str, model_options: dict[str, Any], second: str = "", *, disable_dynamic: bool = False
) -> Any:
    """The host's patcher around a model whose file has been read; copies are loaded from `path` and `second`."""
    management = comfy.model_management
    weights = file.network
    supported = SupportedModel(file)
    supported.quant_config = comfy.utils.detect_layer_quantization(weights, "")
    quantised = supported.quant_config is not None
    load_device = model_options.get("load_device", management.get_torch_device())
    offload_device = management.unet_offload_device()
    own = None if quantised else comfy.utils.weight_dtype(weights)
    dtype = model_options.get("dtype") or _stored_dtype(own, comfy.utils.calculate_parameters(weights), supported)
    cast = management.unet_manual_cast(None if quantised else dtype, load_device, supported.supported_inference_dtypes)
    supported.set_inference_dtype(dtype, cast, device=load_device)
    supported.custom_operations = gguf_operations(path) if is_gguf(path) else model_options.get("custom_operations")

    model = supported.get_model(weights, "")
    patcher_class = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = patcher_class(model, load_device=load_device, offload_device=offload_device)
    if not management.is_device_cpu(offload_device):
        model.to(offload_device)
    model.load_model_weights(weights, "", assign=patcher.is_dynamic() or dtype == own)
    if is_gguf(path):
        patcher = gguf_patcher(patcher, path)
    patcher.cached_patcher_init = (load_model, (path, model_options, second))
    patcher.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, "unitalking", around_sampling)
    return patcher


def _stored_dtype(own: torch.dtype | None, parameters: int, supported: SupportedModel) -> torch.dtype:
    """What the host would keep weights in, but the file's own where that takes no more memory: then they stay in the
    file, and layers cast what they compute with.

    On a CPU without bf16 the host would make fp32 of a file of 23 GB, anywhere bf16 of fp16. Small models are
    cast once.
    """
    chosen = comfy.model_management.unet_dtype(
        model_params=parameters, supported_dtypes=supported.supported_inference_dtypes, weight_dtype=own
    )
    keeps = own in FLOATS and own.itemsize <= chosen.itemsize and parameters >= CAST_ONCE_BELOW
    return own if keeps else chosen
