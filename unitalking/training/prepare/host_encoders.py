"""ComfyUI's own VAE and text encoder classes, for models that do not carry these parts (Wan2.2's VAE, UMT5).

The one module outside of nodes/ that imports ComfyUI: only when a folder of it was given, never in a running ComfyUI.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checkpoint.files import CheckpointError
from ...config import UniTalkingConfig
from ...text_cleaning import clean_text
from ..dataset import EncoderInfo, fingerprint


class HostEncoders:
    """Loads encoders through ComfyUI's classes.

    Args:
        folder: of ComfyUI.
        device: "cpu", or anything else for the device that ComfyUI chooses.

    Raises:
        ValueError: no ComfyUI there.
    """

    def __init__(self, folder: str, device: str) -> None:
        if not os.path.isfile(os.path.join(folder, "comfy", "sd.py")):
            raise ValueError(f"--comfyui {folder}: expected the folder of a ComfyUI (it has no comfy/sd.py).")
        if folder not in sys.path:
            sys.path.insert(0, folder)
        # ComfyUI reads its own command line when it is imported.
        given, sys.argv = sys.argv, [sys.argv[0], *(["--cpu"] if device == "cpu" else [])]
        try:
            import comfy.options  # noqa: TID251

            comfy.options.enable_args_parsing()
            import comfy.sd  # noqa: TID251
            import comfy.utils  # noqa: TID251
        finally:
            sys.argv = given
        self.sd, self.utils = comfy.sd, comfy.utils

    def video(self, path: str, channels: int) -> tuple[Callable[[Tensor], Tensor], EncoderInfo]:
        """Frames (1, 3, F, H, W) in [-1, 1] -> latents, through the host's VAE.

        Raises:
            CheckpointError: no VAE, or one of other channels.
        """
        tensors = self._tensors(path)
        vae = self.sd.VAE(sd=dict(tensors))
        if getattr(vae, "first_stage_model", None) is None or vae.latent_channels != channels:
            found = getattr(vae, "latent_channels", None)
            raise CheckpointError(
                f"{Path(path).name} is no video VAE of {channels} channels"
                + (f": it has {found}." if found else ": ComfyUI does not know it.")
            )

        def encode(frames: Tensor) -> Tensor:
            pictures = (frames[0].permute(1, 2, 3, 0) + 1) / 2  # (F, H, W, 3), as the host's nodes hand over
            return vae.encode(pictures)

        return encode, EncoderInfo(fingerprint(tensors), None, Path(path).name)

    def text(self, path: str, kind: str, config: UniTalkingConfig) -> tuple[Callable[[str], Tensor], EncoderInfo]:
        """A prompt -> (rows, text_dim), through the host's text encoder, weights in brackets off, as Text Prompt does.

        Raises:
            CheckpointError: no text encoder of that kind, or one of another width.
        """
        kinds = self.sd.CLIPType
        if not hasattr(kinds, kind.upper()):
            raise ValueError(f"--text-encoder-type {kind}: ComfyUI knows {', '.join(k.name.lower() for k in kinds)}.")
        clip = self.sd.load_clip(ckpt_paths=[path], clip_type=getattr(kinds, kind.upper()))

        def encode(text: str) -> Tensor:
            tokens = clip.tokenize(clean_text(text), disable_weights=True)
            for chunks in tokens.values():
                for row in chunks:
                    row[config.text_len - 1 : -1] = []  # the end token stays
            return clip.encode_from_tokens(tokens)[0].float()

        width = encode("").shape[1]
        if width != config.text_dim:
            raise CheckpointError(
                f"{Path(path).name} makes embeddings of {width} numbers, the model takes {config.text_dim}."
            )
        return encode, EncoderInfo(fingerprint(self._tensors(path)), None, Path(path).name)

    def _tensors(self, path: str) -> dict[str, Any]:
        if not Path(path).is_file():
            raise CheckpointError(f"{path}: there is no such file.")
        tensors = self.utils.load_torch_file(path, safe_load=True)
        return {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
