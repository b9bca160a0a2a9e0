"""`python -m unitalking.checkpoint`: make random model files, and say what a file is."""

from __future__ import annotations

import argparse
import json
import struct
import sys
from pathlib import Path

from .files import METADATA_KEY
from .layouts import describe, strip_prefixes
from .random_model import PRESETS, write_random


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
    given = parser.parse_args(arguments)
    try:
        if given.command == "random":
            given.out.parent.mkdir(parents=True, exist_ok=True)
            size = write_random(given.out, PRESETS[given.preset], given.seed)
            print(f"{given.out}: {size / 1e6:.1f} MB")
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
    if not {"video", "audio"} <= {name.split(".")[0] for name in names}:
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


def read_header(path: Path) -> dict:
    """The parsed header of a safetensors file.

    Raises:
        ValueError: not a safetensors file, or a truncated one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise ValueError(f"{path.name}: not a safetensors file (expected a header length, got {start[:8]!r}).")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ValueError(f"{path.name}: not a safetensors file (its header is not JSON).") from error
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise ValueError(
            f"{path.name}: the file ends after {size} of {expected} bytes: its download was cut off, fetch it again."
        )
    return header


if __name__ == "__main__":
    sys.exit(main())
