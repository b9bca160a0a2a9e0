"""How soon a long talk's first pictures are there, and how many a second follow, by the length of its parts.

    python benchmarks/real_time.py [--longest 0 2.5 1.5] [--presets standard draft] [--seeds 3]

Runs the shipped workflow `long_talk` with eight held-out sentences of six common words in a headless ComfyUI whose
models are loaded, and judges each whole talk. Run it in the environment of scripts/environment.py, with nothing else at
work.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import torch
from package import ROOT, import_package

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from comfyui_events import Result

    from unitalking.evaluation.judges import Judges
    from unitalking.evaluation.table import ClipScores

TALK = "UniTalkingLongTalk"
HEAD = (
    "| preset | longest part, s | parts | first pictures after, s | video, s | made in, s | pictures a second "
    "| word error % | lip sync |\n|" + 9 * "---|"
)
ROW = (
    "| {preset} | {longest} | {parts:.0f} | {first:.1f} | {length:.1f} | {took:.1f} | {rate:.0f} "
    "| {words:.0f} | {sync:.2f} |"
)


@dataclass(frozen=True)
class Talk:
    """One run: seconds from pressing Run to the first decoded part and to the saved file, and what is in the file."""

    parts: int
    first_s: float
    took_s: float
    length_s: float
    pictures: int
    scores: ClipScores


def main() -> int:
    """Prints the table."""
    import_package()
    sys.path.append(str(ROOT / "scripts"))
    from comfyui import temporary_server

    from unitalking.client.workflow import to_prompt
    from unitalking.evaluation.judges import load_judges

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=float, nargs="+", default=[0.0, 2.5, 1.5])
    parser.add_argument("--presets", nargs="+", default=["standard", "draft"])
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    judges = load_judges(ROOT / "assets" / "judges")
    print(HEAD)
    with temporary_server(extra_args=() if torch.accelerator.is_available() else ("--cpu",)) as server:
        workflow = json.loads((ROOT / "workflows" / "long_talk.json").read_text(encoding="utf-8"))
        prompt = to_prompt(workflow, server.object_info())
        (widgets,) = (node["inputs"] for node in prompt.values() if node["class_type"] == TALK)
        widgets["speech"] = held_out_talk()
        server.queue(prompt)  # loads the models
        for preset, longest_s in itertools.product(chosen.presets, chosen.longest):
            talks = []
            for seed in range(100, 100 + chosen.seeds):
                widgets.update(preset=preset, longest_s=longest_s, seed=seed)
                talks.append(run(server, prompt, judges))
            print(row(preset, longest_s, talks), flush=True)
    return 0


def held_out_talk() -> str:
    """Words that the judge knows, in an order that training never says."""
    from unitalking.synthetic.sentences import sentence

    drawn = random.Random(0)
    said = (sentence(drawn, "common", "held_out", 6).rstrip(".") for _ in range(8))
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in said)


def run(server: ComfyUI, prompt: Mapping[str, Any], judges: Judges) -> Talk:
    """Makes and judges one talk."""
    from unitalking.evaluation.clips import JudgedClip, read_media
    from unitalking.evaluation.measure import judge_clip

    (talk,) = (number for number, node in prompt.items() if node["class_type"] == TALK)
    started, running = time.monotonic(), [("", 0.0)]

    def note(event: Any) -> None:
        if event.kind == "executing" and event.data.get("node"):
            running.append((event.data["node"], time.monotonic() - started))

    result = server.queue(prompt, on_event=note)
    sampled = samplers(result, talk)
    # Long Talk builds the decoding of a part right behind its sampler, and numbers nodes in this order.
    graph, number = sampled[0].rsplit(".", 1)
    decoding = [name for name, _ in running].index(f"{graph}.{int(number) + 1}")
    (saved,) = (server.output_path(item) for item in result.files() if item["type"] == "output")
    sound, frames, fps = read_media(saved)
    speech = prompt[talk]["inputs"]["speech"]
    scores = judge_clip(JudgedClip(saved.stem, sound, frames, fps, speech), judges)
    return Talk(len(sampled), running[decoding + 1][1], result.duration_s, len(frames) / fps, len(frames), scores)


def samplers(result: Result, talk: str) -> list[str]:
    """The samplers that Long Talk built, one for every part, in order: of its nodes they alone show previews."""
    shown = {event.data["node_id"] for event in result.of_kind("preview")}
    own = [name for name in shown if name.startswith(f"{talk}.")]
    return sorted(own, key=lambda name: int(name.rpartition(".")[2]))


def row(preset: str, longest_s: float, talks: list[Talk]) -> str:
    """The table's row of the talks of one setting."""
    words = [talk.scores.words for talk in talks]
    took_s = mean(talk.took_s for talk in talks)
    return ROW.format(
        preset=preset,
        longest=f"{longest_s:g}" if longest_s else "what fits",
        parts=mean(talk.parts for talk in talks),
        first=median(talk.first_s for talk in talks),
        length=mean(talk.length_s for talk in talks),
        took=took_s,
        rate=mean(talk.pictures for talk in talks) / took_s,
        words=100 * sum(each.wrong for each in words) / sum(each.total for each in words),
        sync=mean(talk.scores.sync for talk in talks),
    )


if __name__ == "__main__":
    sys.exit(main())
