"""Files of public audio codecs: what was chosen and, where that is half a codec, the other half from beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import folder_paths
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..unitalking.checkpoint.codec_file import is_safetensors
from ..unitalking.checkpoint.files import CheckpointError
from ..unitalking.checkpoint.layouts import describe
from ..unitalking.checkpoint.pickles import read_pickle
from ..unitalking.checkpoint.public_codecs import (
    KINDS,
    PUBLISHED,
    VAE,
    VOCODER,
    Half,
    Source,
    join_codec,
    recognise,
    unusable,
)
from ..unitalking.config import UniTalkingConfig
from .loading import read_tensors

FOLDER = "vae"
ONE_FILE = "one file that holds both"
LICENCE = "MMAudio's own weights are CC BY-NC 4.0: what they make is not for commercial use."


def read_codec_file(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Everything in a codec file, safetensors or a pickle of tensors (nested under `generator` too), and its metadata.

    Raises:
        CheckpointError: a missing, damaged or foreign file, or a pickle that holds code, which is never run.
    """
    return read_tensors(path) if is_safetensors(path) else (read_pickle(path), {})


def public_codec(
    path: str, tensors: Mapping[str, Tensor], tell: Callable[[str], None]
) -> tuple[UniTalkingConfig, dict[str, Tensor]]:
    """The codec of a public file; the half that it does not hold comes from another file of the vae folder.

    Args:
        path: the file chosen.
        tensors: everything in it.
        tell: is given what a person should know: where the other half came from, and the licence.

    Raises:
        CheckpointError: no codec, a damaged one, or no other half or several, and what to do.
    """
    name = Path(path).name
    halves = recognise({key: value.shape for key, value in tensors.items()})
    if not halves:
        raise CheckpointError(
            f"{name} is {describe(tensors)}, and holds no audio codec that can be used: expected MMAudio's audio VAE, "
            "a BigVGAN vocoder, a file of both, or a file made for UniTalking."
        )
    sources = {kind: Source(name, tensors) for kind in halves}
    if len(halves) == 1:
        (half,) = halves.values()
        if half.mel is None:
            raise CheckpointError(unusable(name, half))
        found = find_other_half(path, half)
        kind = VOCODER if half.kind == VAE else VAE
        sources[kind] = Source(found, read_codec_file(folder_paths.get_full_path(FOLDER, found))[0])
        tell(f"{name} is {half}; the other half, {KINDS[kind]}, is taken from {found}.")
    codec = join_codec(sources[VAE], sources[VOCODER])
    tell(LICENCE)
    return codec


def find_other_half(path: str, half: Half) -> str:
    """The one file of the vae folder, as it is listed there, that holds what `half`, chosen as `path`, lacks.

    Of safetensors only the headers are read.

    Raises:
        CheckpointError: no such file, or several.
    """
    alone, whole, unread = [], [], []
    for listed in folder_paths.get_filename_list(FOLDER):
        other = folder_paths.get_full_path(FOLDER, listed)
        if other is None or os.path.samefile(other, path):
            continue
        try:
            halves = recognise(read_shapes(other))
        except (CheckpointError, OSError, SafetensorError):
            unread.append(listed)
            continue
        if any(kind != half.kind and found.mel is half.mel for kind, found in halves.items()):
            (whole if half.kind in halves else alone).append(listed)
    if len(alone) == 1:
        return alone[0]
    raise CheckpointError(_not_one(Path(path).name, half, alone, whole, unread))


def read_shapes(path: str) -> dict[str, Sequence[int]]:
    """Names and shapes of a file's tensors.

    Raises:
        CheckpointError, OSError, SafetensorError: the file cannot be read.
    """
    if not is_safetensors(path):
        return {name: value.shape for name, value in read_pickle(path).items()}
    with safe_open(path, framework="pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}


def _not_one(name: str, half: Half, alone: list[str], whole: list[str], unread: list[str]) -> str:
    kind = VOCODER if half.kind == VAE else VAE
    where = ", ".join(folder_paths.get_folder_paths(FOLDER))
    if alone:
        return (
            f"{name} is {half}, half a codec, and {len(alone)} files hold a fitting other half, {KINDS[kind]}: "
            f"{', '.join(alone)}. Keep one of them in {where}, or choose {ONE_FILE}."
        )
    message = (
        f"{name} is {half}, half a codec. The other half, {KINDS[kind]} of {half.mels} mel bands, is missing: put "
        f"{PUBLISHED[kind, half.mels]} into {where}, or choose {ONE_FILE}."
    )
    if whole:
        message += f" Such files are there: {', '.join(whole)}."
    if unread:
        message += f" Could not be read: {', '.join(unread)}."
    return message
