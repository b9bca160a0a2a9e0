"""Public audio codecs -> one file of ours, or a part of one: normalised once, weight norm multiplied out, float32."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..config import UniTalkingConfig
from .files import CONFIG_TENSOR, METADATA_KEY, CheckpointError, config_tensors
from .pickles import read_pickle
from .public_codecs import KINDS, VAE, VOCODER, Source, join_codec, recognise
from .tensor_files import Entry, TensorFile, write_tensors

CODEC_PREFIX = "audio_vae."
SAFETENSORS = (".safetensors", ".sft")


def is_codec(sources: Sequence[Path]) -> bool:
    """Whether the first of these files holds half an audio codec, or a whole one."""
    first = sources[0]
    held = TensorFile(first).shells if is_safetensors(first) else read_pickle(first)
    return bool(recognise({name: value.shape for name, value in held.items()}))


def read_codec(sources: Sequence[Path]) -> tuple[UniTalkingConfig, dict[str, Tensor]]:
    """The codec in one or two public files: a config that describes it, and the tensors of the part `audio_vae`.

    Raises:
        CheckpointError: files that hold no codec, half of one, or halves that do not fit.
    """
    given: dict[str, Source] = {}
    for path in sources:
        tensors = _read(path)
        for kind in recognise({name: value.shape for name, value in tensors.items()}):
            given.setdefault(kind, Source(path.name, tensors))
    missing = [KINDS[kind] for kind in (VAE, VOCODER) if kind not in given]
    if missing:
        names = ", ".join(path.name for path in sources)
        raise CheckpointError(f"{names}: {' and '.join(missing)} of the codec is missing; give its file, too.")
    return join_codec(given[VAE], given[VOCODER])


def convert_codec(sources: Sequence[Path], out: Path) -> str:
    """Writes a public codec as one file of ours; says what was written.

    Raises:
        CheckpointError: as `read_codec`.
        OSError: a file cannot be read or written.
    """
    config, weights = read_codec(sources)
    text, told = config_tensors(config)
    tensors = {CONFIG_TENSOR: told} | {CODEC_PREFIX + name: value for name, value in weights.items()}
    listed = [Entry(name, tuple(value.shape), value.dtype) for name, value in tensors.items()]
    size = write_tensors(out, listed, {METADATA_KEY: text, "format": "pt"}, lambda entry: tensors[entry.name])
    return f"{out}: {config.name} of {config.sample_rate} Hz, {size / 1e6:.1f} MB"


def is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one by its name; others of a codec are pickles."""
    return os.fspath(path).lower().endswith(SAFETENSORS)


def _read(path: Path) -> dict[str, Tensor]:
    if not is_safetensors(path):
        return read_pickle(path)
    file = TensorFile(path)
    return {name: file.read(name) for name in file.shells}
