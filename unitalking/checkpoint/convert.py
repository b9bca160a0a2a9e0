"""Public models -> the one-file format and back, tensor by tensor; and whether a file is whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ..digest import sha256_of
from .files import CONFIG_TENSOR, METADATA_KEY, config_tensors, from_public, read_config, read_model
from .layouts import strip_prefixes
from .public_layouts import joined, to_ovi, to_wan
from .public_models import OVI_MODELS
from .tensor_files import Entry, TensorFile, write_tensors


def convert(sources: Sequence[Path], out: Path, model: str = "") -> str:
    """Writes Ovi, in one file or two, or Wan2.2-5B as a file of ours: a config inside, every weight bit for bit.

    Args:
        sources: the file, or the two.
        out: safetensors file to write.
        model: which of Ovi's models it is, which its file does not say; empty: by the file's name.

    Returns:
        What was written.

    Raises:
        ValueError: a file that is neither, or an unknown model.
        OSError: a file cannot be read or written.
    """
    files = [TensorFile(path) for path in sources]
    shells = strip_prefixes(files[0].shells)
    if len(files) > 1:
        shells = joined(shells, strip_prefixes(files[1].shells), (files[0].name, files[1].name))
    tensors, public = from_public(shells, files[0].name)
    if public is None:
        raise ValueError(f"{files[0].name} is no Ovi and no Wan2.2 model: `inspect` says what it is.")
    if model:
        if model not in OVI_MODELS or public not in OVI_MODELS.values():
            raise ValueError(f"--model {model}: for an Ovi file, one of {', '.join(OVI_MODELS)}.")
        public = OVI_MODELS[model]
    config, _ = read_config(tensors, files[0].metadata, files[0].name, public)
    text, tensors[CONFIG_TENSOR] = config_tensors(config)
    read_model(tensors, {METADATA_KEY: text}, files[0].name)
    size = write_from(out, tensors, {METADATA_KEY: text, "format": "pt"}, files)
    return f"{out}: {config.name}, {size / 1e6:.1f} MB"


def convert_back(source: Path, out: Path, layout: str) -> str:
    """Writes the network of a file of ours under the names of `layout`, "ovi" or "wan", every weight bit for bit.

    Returns:
        What was written.

    Raises:
        ValueError: a file of another kind.
        OSError: a file cannot be read or written.
    """
    file = TensorFile(source)
    renamed = {"ovi": to_ovi, "wan": to_wan}[layout](file.shells)
    if not renamed:
        raise ValueError(f"{file.name} is no file of ours with the streams that {layout} has.")
    return f"{out}: {write_from(out, renamed, {'format': 'pt'}, [file]) / 1e6:.1f} MB"


def verify(path: Path) -> tuple[str, ...]:
    """The file's SHA-256, and what is wrong with it: one line each, the first the sum.

    Raises:
        ValueError: not a safetensors file, or a truncated one, or one that does not fit its config.
        OSError: it cannot be read.
    """
    file = TensorFile(path)
    found = [f"{path.name}: sha256 {sha256_of(path)}, {len(file.shells)} tensors"]
    if any(name.startswith("video.") for name in strip_prefixes(file.shells)):
        known = {name: file.read(name) for name in file.shells if name.endswith(CONFIG_TENSOR)}
        statistics = {name: file.read(name) for name in file.shells if "latents." in name or "domain." in name}
        read_model({**file.shells, **known, **statistics}, file.metadata, path.name)
    for name, shell in file.shells.items():
        if shell.dtype.is_floating_point and not bool(file.read(name).float().isfinite().all()):
            found.append(f"{path.name}: {name} holds NaN or Inf: the file is damaged, or was trained into it.")
    return tuple(found)


def write_from(
    out: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    files: Sequence[TensorFile],
    fresh: Callable[[Entry], Tensor] | None = None,
) -> int:
    """Writes tensors with values as they are, and those without from the file that they are a shell of.

    Args:
        out: safetensors file to write.
        tensors: all of them, by the name to write.
        metadata: of the file.
        files: whose shells may be among the tensors.
        fresh: gives the values of shells of no file.

    Returns:
        Bytes written.

    Raises:
        OSError: a file cannot be read or written.
    """
    origin = {id(shell): (file, name) for file in files for name, shell in file.shells.items()}

    def values(entry: Entry) -> Tensor:
        tensor = tensors[entry.name]
        if not tensor.is_meta:
            return tensor
        if id(tensor) not in origin:
            return fresh(entry)
        file, name = origin[id(tensor)]
        return file.read(name)

    return write_tensors(out, [Entry(name, tuple(t.shape), t.dtype) for name, t in tensors.items()], metadata, values)
