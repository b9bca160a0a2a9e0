"""Makes a set of synthetic talking-face clips.

    python -m unitalking.synthetic OUT --clips 10000 [--split held_out] [--seed 0] [--workers 4] [--sheet]

Writes tar shards into the folder OUT. The same options give the same bytes with any number of workers; what is already
there is kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .clips import SyntheticClips, SyntheticConfig
from .dataset import SHARD_CLIPS, DatasetError, write_shards
from .espeak import MissingEspeakError
from .sentences import SPLITS
from .sheet import contact_sheet
from .vocabulary import KINDS

SHEET_ROWS = 12


def parser() -> argparse.ArgumentParser:
    """The command line."""
    default = SyntheticConfig(clips=1)
    result = argparse.ArgumentParser(prog="python -m unitalking.synthetic", description=__doc__.splitlines()[0])
    result.add_argument("out", type=Path, metavar="OUT", help="folder that gets the shards")
    result.add_argument("--clips", type=int, required=True, help="how many clips")
    result.add_argument("--split", choices=SPLITS, default=default.split, help="other words, voices and faces each")
    kinds = f"which words are spoken: {', '.join(KINDS)}, or several joined by +"
    result.add_argument("--vocabulary", default=default.vocabulary, help=kinds)
    result.add_argument("--seed", type=int, default=default.seed, help="of everything that is random")
    result.add_argument("--size", type=int, default=default.size, help="side of the pictures, a multiple of 32")
    result.add_argument("--shortest", type=float, default=default.shortest_s, help="seconds, at least 1")
    result.add_argument("--longest", type=float, default=default.longest_s, help="seconds")
    result.add_argument("--workers", type=int, default=1, help="processes")
    result.add_argument("--shard-clips", type=int, default=SHARD_CLIPS, help="clips per shard")
    result.add_argument("--sheet", action="store_true", help=f"only draw OUT/sheet.png of {SHEET_ROWS} random clips")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Makes what the command line, or a list of its words, asks for."""
    given = parser().parse_args(arguments)
    started = time.monotonic()
    try:
        config = SyntheticConfig(
            clips=given.clips,
            seed=given.seed,
            split=given.split,
            size=given.size,
            shortest_s=given.shortest,
            longest_s=given.longest,
            vocabulary=given.vocabulary,
        )
        if given.sheet:
            given.out.mkdir(parents=True, exist_ok=True)
            contact_sheet(SyntheticClips(config), SHEET_ROWS).save(given.out / "sheet.png")
            print(given.out / "sheet.png")
            return 0
        kept = None
        for done, total in write_shards(given.out, config, given.workers, given.shard_clips):
            kept = done if kept is None else kept
            rate = (done - kept) / (time.monotonic() - started)
            print(f"{done} of {total} clips, {rate:.1f} per second", flush=True)
    except (DatasetError, MissingEspeakError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
