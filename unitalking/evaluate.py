"""Judges clips: `python -m unitalking.evaluate CLIPS [--judges FOLDER] [--anchors] [--out table.md]`.

CLIPS is a folder of MP4 files with a JSON sidecar each, or a manifest that lists sidecars; what a sidecar holds is said
in `unitalking/evaluation/clips.py`. Prints a Markdown table; the same as JSON, with every clip's scores, goes to --out
where that ends in .json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from .evaluation.clips import ClipError, find_clips, read_clip
from .evaluation.codec_anchor import Codec, load_codec
from .evaluation.full_size.report import FullSizeJudges
from .evaluation.judges import JudgeError, load_judges
from .evaluation.measure import evaluate
from .evaluation.table import Table

JUDGES = Path(__file__).resolve().parent.parent / "assets" / "judges"


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge clips and print the table; 1 where something given cannot be used."""
    chosen = _parser().parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    try:
        table = judge(chosen)
    except (ClipError, JudgeError, OSError, ValueError, ImportError, RuntimeError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    sys.stdout.write(table.markdown())
    if chosen.out is not None:
        as_json = chosen.out.suffix == ".json"
        chosen.out.write_text(json.dumps(table.json(), indent=1) if as_json else table.markdown(), encoding="utf-8")
    return 0


def judge(chosen: argparse.Namespace) -> Table:
    """The table that the command line asks for."""
    judges = load_judges(chosen.judges)
    full_size = FullSizeJudges(chosen.full_size) if chosen.full_size else None
    clips = [read_clip(path) for path in find_clips(chosen.clips)]
    table = evaluate(clips, judges, chosen.name, full_size)
    if not chosen.anchors:
        return table
    from .evaluation.anchors import anchor_table, as_files, held_out

    codec: Codec | None = load_codec(chosen.codec) if chosen.codec else None
    real = as_files(held_out(chosen.anchor_clips or len(clips), chosen.vocabulary, chosen.anchor_seed))
    note = f"Anchors: {len(real)} real held-out clips, vocabulary {chosen.vocabulary!r}, saved as MP4 and read again."
    if codec is None:
        note += " No --codec was given, so there is no row of real clips through the codec."
    return table + anchor_table(real, judges, codec, full_size) + Table((), (note,))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m unitalking.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, help="folder of clips, or a manifest with one sidecar's path per line")
    parser.add_argument("--judges", type=Path, default=JUDGES, help="folder of the judges; default %(default)s")
    parser.add_argument("--name", default="generated", help="of the row")
    parser.add_argument(
        "--anchors", action="store_true", help="judge real held-out clips beside them (needs espeak-ng)"
    )
    parser.add_argument("--anchor-clips", type=int, help="how many; default as many as there are clips")
    parser.add_argument("--anchor-seed", type=int, default=0, help="of the real clips")
    parser.add_argument("--vocabulary", default="common", help="of the real clips: common, open or unseen")
    parser.add_argument("--codec", type=Path, help="one-file model whose codec the real clips go through")
    parser.add_argument(
        "--full-size", type=Path, help="folder with SyncNet, Whisper and WavLM, for the paper's metrics"
    )
    parser.add_argument("--out", type=Path, help="also write the table there, as .md or .json")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; more help full-size judges only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
