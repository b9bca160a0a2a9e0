"""What the judges score on clips whose truth is known: the tables of docs/evaluation.md.

python benchmarks/judge_accuracy.py [--clips 60] [--codec models/unitalking_embedded.safetensors] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from package import ROOT, import_package


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clips", type=int, default=60, help="with pictures; of sound alone there are three times as many"
    )
    parser.add_argument("--codec", type=Path, help="one-file model")
    parser.add_argument("--seed", type=int, default=100, help="of the clips; no judge was tuned on it")
    parser.add_argument("--out", type=Path, help="folder for the tables, as Markdown and JSON")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    import_package()
    started = time.monotonic()
    for name, table in tables(chosen.clips, chosen.codec, chosen.seed):
        print(f"## {name} ({time.monotonic() - started:.0f} s)\n\n{table.markdown()}", flush=True)
        if chosen.out is not None:
            chosen.out.mkdir(parents=True, exist_ok=True)
            (chosen.out / f"{name}.md").write_text(table.markdown(), encoding="utf-8")
            (chosen.out / f"{name}.json").write_text(json.dumps(table.json(), indent=1), encoding="utf-8")


def tables(count: int, codec_file: Path | None, seed: int) -> Any:
    """The tables one after the other, each with its name."""
    from unitalking.evaluation.anchors import as_files, held_out, real_clip
    from unitalking.evaluation.codec_anchor import load_codec, through_codec
    from unitalking.evaluation.judges import load_judges
    from unitalking.evaluation.measure import evaluate, shuffled
    from unitalking.evaluation.vocoders import compare_vocoders
    from unitalking.synthetic.clips import SyntheticClips, SyntheticConfig

    judges = load_judges(ROOT / "assets" / "judges")
    words = None
    for vocabulary in ("common", "open", "unseen"):
        config = SyntheticConfig(clips=3 * count, seed=seed + 1, split="held_out", vocabulary=vocabulary)
        clips = SyntheticClips(config)
        sounds = [real_clip(clips, index, frames=False) for index in range(3 * count)]
        row = evaluate(sounds, judges, f"real, {vocabulary} words")
        words = row if words is None else words + row
    yield "sound", words
    real = held_out(count, "common", seed)
    codec = None if codec_file is None else load_codec(codec_file)
    table = evaluate(real, judges, "real") + evaluate(as_files(real), judges, "real, saved as MP4")
    if codec is not None:
        table += evaluate([through_codec(clip, codec) for clip in real], judges, "real through the codec")
    yield "clips", table + evaluate(shuffled(real), judges, "shuffled pairs") + evaluate(noise(real), judges, "noise")
    if codec is not None:
        yield "vocoder", compare_vocoders(real, judges, codec)


def noise(clips: Sequence[Any]) -> list[Any]:
    """White noise in the place of sound and pictures."""
    from dataclasses import replace

    random = torch.Generator().manual_seed(0)
    return [
        replace(
            clip,
            sound=0.1 * torch.randn(len(clip.sound), generator=random),
            frames=torch.randint(0, 256, clip.frames.shape, generator=random, dtype=torch.uint8),
        )
        for clip in clips
    ]


if __name__ == "__main__":
    main()
