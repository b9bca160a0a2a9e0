"""`python -m unitalking.checkpoint`: say what a file is, convert it, quantise it, check it, make random ones."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .assemble import assemble
from .codec_file import convert_codec, is_codec
from .convert import convert, convert_back, verify
from .files import CONFIG_TENSOR, METADATA_KEY, CheckpointError, from_public
from .gguf_files import GGUF_ENDING, write_gguf
from .layouts import describe, strip_prefixes
from .public_models import OVI_MODELS
from .quantize import quantize
from .random_model import PRESETS, write_random
from .tensor_files import TensorFile, read_header


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the exit code is 1 where a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m unitalking.checkpoint", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    random = commands.add_parser("random", help="write a model with random weights")
    random.add_argument("--preset", choices=sorted(PRESETS), required=True, help="tiny: complete bundle; full: 21 GB")
    random.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    random.add_argument("--seed", type=int, default=0, help="the same seed gives the same file")
    inspect = commands.add_parser("inspect", help="say what a file is")
    inspect.add_argument("file", type=Path)
    change = commands.add_parser("convert", help="Ovi, Wan2.2-5B or an audio codec, any form, to one file of ours")
    change.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the file, or Ovi's or the codec's two")
    change.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    change.add_argument(
        "--model", default="", choices=["", *OVI_MODELS], help="which Ovi; by the file's name if left out"
    )
    change.add_argument("--back", choices=["ovi", "wan"], help="the other way: a file of ours to these public names")
    start = commands.add_parser("assemble", help="a UniTalking model to train, from public weights")
    start.add_argument("--video", type=Path, nargs="+", required=True, help="Wan2.2-TI2V-5B, one file or all shards")
    start.add_argument("--audio", type=Path, nargs="*", default=[], help="Ovi, or its sound stream; fresh if left out")
    start.add_argument("--codec", type=Path, nargs="*", default=[], help="MMAudio's VAE and its vocoder, to lie inside")
    start.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    start.add_argument("--seed", type=int, default=0, help="of what is fresh")
    narrow = commands.add_parser("quantize", help="the blocks' matrices of a file of ours in scaled float8, or Q8_0")
    narrow.add_argument("file", type=Path)
    narrow.add_argument("--out", type=Path, required=True, help=".safetensors file to write for float8, .gguf for Q8_0")
    check = commands.add_parser("verify", help="SHA-256, shapes, NaN")
    check.add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "random":
            given.out.parent.mkdir(parents=True, exist_ok=True)
            size = write_random(given.out, PRESETS[given.preset], given.seed)
            print(f"{given.out}: {size / 1e6:.1f} MB")
        elif given.command == "convert":
            if given.back:
                print(convert_back(given.files[0], given.out, given.back))
            elif is_codec(given.files):
                print(convert_codec(given.files, given.out))
            else:
                print(convert(given.files, given.out, given.model))
        elif given.command == "assemble":
            print(assemble(given.video, given.out, given.audio, given.seed, given.codec))
        elif given.command == "quantize":
            narrowed = write_gguf if given.out.suffix == GGUF_ENDING else quantize
            print(f"largest error {narrowed(given.file, given.out, print):.4f}")
        elif given.command == "verify":
            lines = verify(given.file)
            print("\n".join(lines))
            return int(len(lines) > 1)
        else:
            print(report(given.file))
    except (OSError, ValueError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


def report(path: Path) -> str:
    """What a safetensors file is, read from its header alone.

    Raises:
        OSError: the file cannot be read.
        ValueError: not a safetensors file, or a truncated one.
    """
    header = read_header(path)
    metadata = header.pop("__metadata__", {})
    names = strip_prefixes(header)
    sizes = {name: entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in header.items()}
    dtypes = sorted({entry["dtype"] for entry in header.values()})
    lines = [f"{path.name}: {len(header)} tensors, {sum(sizes.values()) / 1e6:.1f} MB, {', '.join(dtypes)}"]
    if METADATA_KEY not in metadata and CONFIG_TENSOR not in names:
        public = _public_model(path)
        if public:
            return "\n".join([*lines, public])
    if "video" not in {name.split(".")[0] for name in names}:
        return "\n".join([*lines, f"This is {describe(names)}, not a UniTalking model."])
    groups: dict[str, list[int]] = {}
    for name, entry in names.items():
        count = 1
        for side in entry["shape"]:
            count *= side
        groups.setdefault(name.split(".")[0], []).append(count)
    lines.append("A UniTalking model:")
    lines += [f"  {name:<13} {len(counts):5d} tensors {sum(counts):15,d} numbers" for name, counts in groups.items()]
    config = json.loads(metadata[METADATA_KEY]) if METADATA_KEY in metadata else None
    if config is None:
        lines.append("  config        as a tensor only" if "unitalking.config" in header else "  config        none")
    else:
        lines += [f"  {key:<20} {value}" for key, value in config.items() if not isinstance(value, dict)]
    missing = [part for part in ("text_encoder", "video_vae", "audio_vae") if part not in groups]
    if missing:
        lines.append(f"Files of their own are needed for: {', '.join(missing)}.")
    return "\n".join(lines)


def _public_model(path: Path) -> str:
    """Which public model a file is and what it needs beside it, or what is missing of one; "" for other files."""
    try:
        _, public = from_public(strip_prefixes(TensorFile(path).shells), path.name)
    except CheckpointError as error:
        return str(error)
    if public is None:
        return ""
    codec = "" if not public.audio_channels else f", and an audio codec of {public.sample_rate} Hz (models/vae)"
    return (
        f"This is {public.name}: Load UniTalking Model takes it as it is. Files of their own are needed for: UMT5-xxl "
        f"(models/text_encoders), the Wan2.2 VAE (models/vae){codec}."
    )


if __name__ == "__main__":
    sys.exit(main())
