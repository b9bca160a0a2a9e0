"""docs/embedded_clips.md: clips of embedded_model.py, drawn and not chosen, with prompts, pictures and judged words.

python benchmarks/embedded_gallery.py judged [--count 12] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from package import ROOT, import_package

if TYPE_CHECKING:
    from unitalking.evaluation.clips import JudgedClip
    from unitalking.evaluation.judges import Judges
    from unitalking.evaluation.table import ClipScores

CASE = "default"
LIMIT_BYTES = 3_000_000
JPEG_QUALITY = 75


class GalleryError(Exception):
    """Too few clips to draw from, or too large a page."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; 1 where that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judged", type=Path, help="folder that embedded_model.py has written")
    parser.add_argument("--count", type=int, default=12, help="clips")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page goes")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    import_package()
    from unitalking.evaluation.judges import load_judges

    try:
        write_gallery(chosen.judged, chosen.docs, load_judges(ROOT / "assets" / "judges"), chosen.count, chosen.seed)
    except (GalleryError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(chosen.docs / "embedded_clips.md")
    return 0


def draw(judged: Path, count: int, seed: int) -> list[Path]:
    """Sidecars of `count` clips, each as probable as any other.

    Raises:
        GalleryError: there are fewer.
    """
    sidecars = sorted((judged / CASE).glob("*.json"))
    if len(sidecars) < count:
        raise GalleryError(f"{judged / CASE}: {len(sidecars)} clips, expected at least {count}: make more of them.")
    return random.Random(seed).sample(sidecars, count)


def write_gallery(judged: Path, docs: Path, judges: Judges, count: int, seed: int) -> None:
    """`embedded_clips.md` and the folder `embedded_clips` beside it, which is made anew.

    Args:
        judged: folder that embedded_model.py has written.
        docs: where to.
        judges: from `load_judges`.
        count: clips.
        seed: of the draw.

    Raises:
        GalleryError: too few clips, or too large a page.
    """
    from unitalking.evaluation.clips import read_clip
    from unitalking.evaluation.measure import evaluate

    sidecars = draw(judged, count, seed)
    total = len(list((judged / CASE).glob("*.json")))
    clips = [read_clip(path) for path in sidecars]
    scores = evaluate(clips, judges).rows[0].scores
    folder = docs / "embedded_clips"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = json.loads((judged / "made_with.json").read_text(encoding="utf-8"))["model"]
    sections = [
        f"# {count} clips of the embedded model",
        f"Drawn, not chosen: `random.Random({seed}).sample` of the {total} clips that `benchmarks/embedded_model.py` "
        f"made of held-out sentences, faces and voices with the shipped workflow and default widgets (model "
        f"{model[:16]}). Pictures from the first to the last frame; spectrograms of the real clip of that sentence and "
        "voice on the left, of the generated one on the right.",
    ]
    for number, (sidecar, clip, score) in enumerate(zip(sidecars, clips, scores, strict=True), 1):
        real = read_clip(judged / "real" / f"{sidecar.stem.rpartition('-s')[0]}.json")
        _write_files(folder / f"{number:02}", sidecar.with_suffix(".mp4"), clip, real)
        sections.append(_section(number, clip, score))
    (docs / "embedded_clips.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LIMIT_BYTES:
        raise GalleryError(f"{folder} has {size} bytes, expected at most {LIMIT_BYTES}: give a smaller --count.")


def _write_files(stem: Path, saved: Path, clip: JudgedClip, real: JudgedClip) -> None:
    """The MP4 as it was saved, some of its frames, and both spectrograms."""
    from unitalking.evaluation.sound import features
    from unitalking.training.codec_samples import save_spectrograms
    from unitalking.training.media import contact_sheet

    shutil.copyfile(saved, stem.with_suffix(".mp4"))
    contact_sheet([clip.frames.numpy()]).save(stem.with_suffix(".jpg"), quality=JPEG_QUALITY)
    save_spectrograms(stem.with_suffix(".png"), features(real.sound[None]), features(clip.sound[None]))


def _section(number: int, clip: JudgedClip, score: ClipScores) -> str:
    place = f"embedded_clips/{number:02}"
    facts = {
        "says": clip.speech,
        "heard": score.heard,
        "scene": clip.scene,
        "wrong words": score.words and f"{score.words.wrong} of {score.words.total}",
        "wrong phonemes": score.phonemes and f"{score.phonemes.wrong} of {score.phonemes.total}",
        "sync correlation, best lag": None if score.sync is None else f"{score.sync:.2f}, {score.lag} frames",
        "speaker cosine": None if score.speaker is None else f"{score.speaker:.2f}",
        "identity MAE /255": None if score.identity is None else f"{score.identity:.1f}",
    }
    rows = [f"| {name} | {'-' if fact is None else fact} |" for name, fact in facts.items()]
    head = f"## {number}\n\n[{number:02}.mp4]({place}.mp4), {len(clip.frames) / clip.fps:.1f} s, seed {clip.seed}"
    pictures = f"![frames of clip {number}]({place}.jpg)\n\n![its spectrograms]({place}.png)"
    return "\n\n".join([head, pictures, "\n".join(["| | |", "|---|---|", *rows])])


if __name__ == "__main__":
    sys.exit(main())
