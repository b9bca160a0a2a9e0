"""A UniTalking model to train, of public weights: Wan2.2's picture stream, Ovi's sound stream or a fresh one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..config import UniTalkingConfig
from ..model.initial import initialise
from ..model.transformer import UniTalking
from .codec_file import CODEC_PREFIX, read_codec
from .convert import write_from
from .files import CONFIG_TENSOR, METADATA_KEY, config_tensors, from_public
from .keys import to_file_keys
from .layouts import strip_prefixes
from .public_layouts import from_ovi, is_ovi
from .public_models import OVI_MODELS, WAN22_5B, sized
from .tensor_files import Entry, TensorFile

FUSION = "_fusion"
FRESH_DTYPE = torch.bfloat16


def assemble(
    video: Sequence[Path], out: Path, audio: Sequence[Path] = (), seed: int = 0, codec: Sequence[Path] = ()
) -> str:
    """Writes a start for training: joint fusion, the picture stream of Wan2.2-5B, everything else below.

    Ovi's sound stream brings its convolutions, its 16 kHz codec and its sense of time along; its fusion is left out, as
    ours has no weights of its own. Without it the sound stream is fresh, for the 44.1 kHz codec. Keys and values of the
    voice reference are always fresh.

    Args:
        video: Wan2.2-TI2V-5B, one file or all shards.
        out: safetensors file to write.
        audio: Ovi, any layout, or its sound stream alone; none: fresh.
        seed: of what is fresh.
        codec: public files of the audio codec, to be a part of the file; none: it stays a file of its own.

    Returns:
        What was written, and how many weights came from where.

    Raises:
        ValueError: a file of another kind.
        OSError: a file cannot be read or written.
    """
    files = [TensorFile(path) for path in (*video, *audio)]
    pictures = {name: shell for file in files[: len(video)] for name, shell in strip_prefixes(file.shells).items()}
    given, public = from_public(pictures, files[0].name)
    if public is not WAN22_5B:
        raise ValueError(f"{files[0].name} is no Wan2.2-TI2V-5B, whose picture stream a UniTalking model has.")
    base = replace(UniTalkingConfig(), name="UniTalking, untrained")
    for file in files[len(video) :]:
        if not is_ovi(file.shells):
            raise ValueError(f"{file.name} is no Ovi model: leave --audio out for a fresh sound stream.")
        sound = from_ovi(strip_prefixes(file.shells))
        given |= {name: shell for name, shell in sound.items() if name.startswith("audio.") and FUSION not in name}
    if audio:
        ovi = next(iter(OVI_MODELS.values()))
        kept = ("audio_stem", "audio_position_scale", "sample_rate", "hop")
        base = replace(base, **{name: getattr(ovi, name) for name in kept})
    config = sized(base, given)
    config = config if audio else replace(config, audio_channels=base.audio_channels)
    part: dict[str, Tensor] = {}
    if codec:
        config, part = _with_codec(config, codec)
    wanted = to_file_keys(UniTalking(config, device="meta").state_dict())
    wrong = sorted(
        name
        for name, shell in given.items()
        if name.startswith(("video.", "audio.")) and (name not in wanted or wanted[name].shape != shell.shape)
    )
    if wrong:
        raise ValueError(f"The files do not fit together: {len(wrong)} tensors, such as {wrong[0]}.")
    statistics = {name: value for name, value in given.items() if name.startswith("latents.")}
    tensors = {name: given.get(name, shell.to(FRESH_DTYPE)) for name, shell in wanted.items()} | statistics | part
    text, tensors[CONFIG_TENSOR] = config_tensors(config)
    size = write_from(
        out, tensors, {METADATA_KEY: text, "format": "pt"}, files, lambda entry: _fresh(entry, config, seed)
    )
    taken = sum(name in given for name in wanted)
    return f"{out}: {size / 1e6:.1f} MB, {taken} tensors from files, {len(wanted) - taken} fresh"


def _with_codec(config: UniTalkingConfig, codec: Sequence[Path]) -> tuple[UniTalkingConfig, dict[str, Tensor]]:
    described, weights = read_codec(codec)
    rates = ("audio_channels", "sample_rate", "hop")
    has, needs = (", ".join(f"{name} {getattr(each, name)}" for name in rates) for each in (described, config))
    if has != needs:
        raise ValueError(f"{codec[0].name}: a codec with {has} is for another sound stream; expected {needs}.")
    return replace(config, audio_codec=described.audio_codec), {
        CODEC_PREFIX + name: value for name, value in weights.items()
    }


def _fresh(entry: Entry, config: UniTalkingConfig, seed: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}/{entry.name}".encode()).digest()
    value = torch.empty(entry.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        initialise(entry.name, value, config)
    return value.to(entry.dtype)
