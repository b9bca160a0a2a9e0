"""Whether a clip made after a reference has the reference's voice and manner: retrieval among so many references.

    python benchmarks/style_reference.py --out DIR [--clips 60] [--model FILE]

Held-out people with manners of their own, 1.6 to 2.1 s of each, are the references; each says new words in the workflow
style_reference, run in ComfyUI. The anchor is the same for real people: two halves of one clip of 4 s. Both are told
apart in groups of twenty, since twenty people alone say little: groups differ by up to 25 points.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from package import ROOT, import_package

import_package()
sys.path.append(str(ROOT / "scripts"))
import environment  # noqa: E402 (needs the path)
from embedded_making import MODEL_SUBFOLDER, open_server  # noqa: E402 (needs the pack)
from make_assets import write_clip  # noqa: E402

from unitalking.client.workflow import set_input, to_prompt  # noqa: E402
from unitalking.evaluation.clips import JudgedClip, read_media  # noqa: E402
from unitalking.evaluation.judges import Judges, load_judges  # noqa: E402
from unitalking.evaluation.measure import judge_clip  # noqa: E402
from unitalking.evaluation.motion import head_motion  # noqa: E402
from unitalking.synthetic import SyntheticClips, SyntheticConfig  # noqa: E402

PEOPLE = {"split": "held_out", "vocabulary": "common", "manners": 1.0}
SEED, REAL_SEED, SPEECH_SEED = 90, 91, 92
GROUP = 20
LENGTHS_S = {"reference": (1.6, 2.1), "speech": (1.3, 1.8)}


def between(part: str) -> dict[str, float]:
    """Bounds of a part's clips."""
    return dict(zip(("shortest_s", "longest_s"), LENGTHS_S[part], strict=True))


def features(sound: torch.Tensor, frames: torch.Tensor, fps: float, judges: Judges) -> tuple[np.ndarray, np.ndarray]:
    """The voice's embedding, and how the head moves."""
    return judges.speaker.embed(sound).numpy(), head_motion(frames, fps).features


def retrieval_in_groups(own: Sequence[tuple], others: Sequence[tuple]) -> dict[str, float]:
    """`retrieval`, the mean over groups of people."""
    groups = [slice(start, start + GROUP) for start in range(0, len(own), GROUP)]
    found = [retrieval(own[group], others[group]) for group in groups]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def retrieval(own: Sequence[tuple], others: Sequence[tuple]) -> dict[str, float]:
    """How often the nearest of all `others` is the one of the same place, in percent: by voice, by manner, by both."""
    voices = np.array([[1 - float(np.dot(a[0], b[0])) for b in others] for a in own])
    spread = np.concatenate([[each[1] for each in own], [each[1] for each in others]]).std(0)
    manners = np.array([[(((a[1] - b[1]) / spread) ** 2).sum() for b in others] for a in own])
    both = voices / voices.std() + manners / manners.std()
    found = {"voice": voices, "manner": manners, "both": both}
    return {name: 100 * float((table.argmin(1) == np.arange(len(own))).mean()) for name, table in found.items()}


def made(out: Path, count: int, model: Path | None) -> list[dict[str, Any]]:
    """References, and the clips made after them."""
    people = SyntheticClips(SyntheticConfig(clips=count, seed=SEED, **between("reference"), **PEOPLE))
    new = SyntheticClips(SyntheticConfig(clips=count, seed=SPEECH_SEED, **between("speech"), **PEOPLE))
    results = []
    with open_server(environment.comfyui(), model) as server:
        info = server.object_info()
        workflow = ROOT / "workflows" / "style_reference.json"
        for index in range(count):
            clip, words = people.clip(index), new.spec(index).speech
            reference, target = out / f"{index:02}-reference.mp4", out / f"{index:02}.mp4"
            write_clip(reference, clip.frames.numpy(), clip.samples, people.config)
            if not target.is_file():
                prompt = to_prompt(json.loads(workflow.read_text(encoding="utf-8")), info)
                set_input(prompt, "UniTalkingStyleReference", "transcript", clip.speech, info)
                set_input(prompt, "UniTalkingStyleReference", "speech", words, info)
                prompt["video"] = {"class_type": "LoadVideo", "inputs": {"file": server.upload(reference)}}
                set_input(prompt, "UniTalkingStyleReference", "video", ["video", 0], info)
                if model is not None:
                    set_input(prompt, "UniTalkingModelLoader", "model", f"{MODEL_SUBFOLDER}/{model.name}", info)
                result = server.queue(prompt, timeout_s=600)
                (saved,) = (server.output_path(item) for item in result.files() if item["type"] == "output")
                target.write_bytes(saved.read_bytes())
            results.append({"reference": reference, "made": target, "speech": words})
            print(f"{index + 1}/{count}", flush=True)
    return results


def halves(count: int, judges: Judges) -> list[tuple]:
    """Both halves of real clips of the same kind of people."""
    real = SyntheticClips(SyntheticConfig(clips=count, seed=REAL_SEED, shortest_s=3.5, **PEOPLE))
    found = []
    for index in range(count):
        clip = real.clip(index)
        frame, sample = len(clip.frames) // 2, len(clip.samples) // 2
        first = features(clip.samples[:sample], clip.frames[:frame], real.config.fps, judges)
        found.append((first, features(clip.samples[sample:], clip.frames[frame:], real.config.fps, judges)))
    return found


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=60, help="a multiple of 20")
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    if given.clips < GROUP or given.clips % GROUP:
        parser.error(f"--clips: got {given.clips}, expected a multiple of {GROUP}.")
    given.out.mkdir(parents=True, exist_ok=True)
    judges = load_judges(ROOT / "assets" / "judges")
    results = made(given.out, given.clips, given.model)
    references, clips, scores = [], [], []
    for each in results:
        for path, target in ((each["reference"], references), (each["made"], clips)):
            sound, frames, fps = read_media(path)
            target.append(features(sound, frames, fps, judges))
        sound, frames, fps = read_media(each["made"])
        clip = JudgedClip(each["made"].stem, sound, frames=frames, fps=fps, speech=each["speech"], phonemes=())
        scores.append(judge_clip(clip, judges))
    real = halves(given.clips, judges)
    print("generated", retrieval_in_groups(clips, references))
    print("real halves", retrieval_in_groups([first for first, _ in real], [second for _, second in real]))
    cosines = [float(np.dot(a[0], b[0])) for a, b in zip(clips, references, strict=True)]
    errors = [score.words for score in scores if score.words is not None]
    heard = [score for score in scores if score.sync is not None]
    print(f"speaker cosine {np.mean(cosines):.3f}, sync {np.mean([score.sync for score in heard]):.3f}")
    wrong, total = sum(error.wrong for error in errors), sum(error.total for error in errors)
    print(f"median lag {np.median([score.lag for score in heard]):.0f} frames, word error {100 * wrong / total:.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
