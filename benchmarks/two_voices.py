"""Whether each part of a clip in two voices is in its own: every ordered pair of the sample voices.

    python benchmarks/two_voices.py --out DIR [--seeds 2] [--model FILE]

Two held-out sentences of five common words each, Voice Turn at the first words of the second, default widgets besides.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from package import ROOT, import_package

import_package()
sys.path.append(str(ROOT / "scripts"))
import environment  # noqa: E402 (needs the path)
from embedded_making import MODEL_SUBFOLDER, open_server  # noqa: E402 (needs the pack)
from graph import Graph  # noqa: E402

from unitalking.evaluation.clips import JudgedClip, read_media  # noqa: E402
from unitalking.evaluation.judges import Judges, load_judges  # noqa: E402
from unitalking.evaluation.measure import judge_clip  # noqa: E402
from unitalking.evaluation.sound import SAMPLE_RATE  # noqa: E402
from unitalking.samples import NO_SAMPLE, VOICES, voice_choices  # noqa: E402
from unitalking.synthetic.sentences import sentence  # noqa: E402

WORDS = 5
SEED = 700


@dataclass(frozen=True)
class Spoken:
    """A clip, the two voices it was asked for, what they say, and when the second begins."""

    path: Path
    voices: tuple[str, str]
    speech: str
    turn_s: float


def graph_of(graph: Graph, model: str | None, voices: Sequence[str], sentences: Sequence[str], seed: int) -> None:
    """The nodes of one clip."""
    loaded = graph.add("UniTalkingModelLoader", **({} if model is None else {"model": model}))
    first, second = (
        graph.add("UniTalkingEncodeVoiceReference", audio_vae=loaded[3], sample_voice=name)[0] for name in voices
    )
    (turns,) = graph.add("UniTalkingVoiceTurn", before=first, voice=second, words=sentences[1])[:1]
    words = graph.add("UniTalkingTextPrompt", model=loaded[0], clip=loaded[1], speech=" ".join(sentences), voice=turns)
    latent = graph.add("UniTalkingEmptyLatent", model=loaded[0], frames=words[3])[0]
    latent = graph.add("UniTalkingPortrait", latent=latent, vae=loaded[2])[0]
    asked = {"positive": words[0], "negative": words[1], "latent": latent, "seed": seed}
    sampled = graph.add("UniTalkingJointSampler", model=loaded[0], **asked)[0]
    pictures, sound, *_, fps = graph.add("UniTalkingDecode", latent=sampled, vae=loaded[2], audio_vae=loaded[3])[:4]
    graph.add("UniTalkingSaveMP4", images=pictures, audio=sound, fps=fps, audio_codec="flac")


def made(out: Path, seeds: int, model: Path | None) -> list[Spoken]:
    """The clips."""
    drawn, clips = random.Random(SEED), []
    names = [name for name in voice_choices() if name != NO_SAMPLE]
    pairs = list(itertools.permutations(names, 2))
    chosen = None if model is None else f"{MODEL_SUBFOLDER}/{model.name}"
    with open_server(environment.comfyui(), model) as server:
        info = server.object_info()
        for number, (seed, voices) in enumerate(itertools.product(range(seeds), pairs), 1):
            sentences = [sentence(drawn, "common", "held_out", WORDS) for _ in voices]
            graph = Graph(info)
            graph_of(graph, chosen, voices, sentences, SEED + seed)
            done = server.queue(graph.prompt, timeout_s=600)
            (said,) = (found for event in done.of_kind("text") if (found := turn_of(event.data["text"])) is not None)
            (saved,) = (server.output_path(item) for item in done.files() if item["type"] == "output")
            path = out / f"{voices[0]}-{voices[1]}-{seed}.mp4"
            path.write_bytes(saved.read_bytes())
            clips.append(Spoken(path, voices, " ".join(sentences), said))
            print(f"{number}/{seeds * len(pairs)}", flush=True)
    return clips


def turn_of(report: str) -> float | None:
    """When the second voice begins, as Text Prompt says it."""
    found = re.search(r"voices begin at [0-9.]+ s, ([0-9.]+) s", report)
    return None if found is None else float(found[1])


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    judges = load_judges(ROOT / "assets" / "judges")
    clips = made(given.out, given.seeds, given.model)
    parts = [part for clip in clips for part in own_and_other(clip, judges)]
    words = [
        judge_clip(JudgedClip(each.path.stem, *read_media(each.path), each.speech), judges).words for each in clips
    ]
    print(
        f"{len(clips)} clips, {2 * len(clips)} parts; second voice from {mean(each.turn_s for each in clips):.2f} s on"
    )
    print(f"nearer to their own voice than to the other's: {sum(own > other for own, other in parts)} of {len(parts)}")
    print(f"speaker cosine own {mean(own for own, _ in parts):.3f}, other {mean(other for _, other in parts):.3f}")
    print(f"word error {100 * sum(each.wrong for each in words) / sum(each.total for each in words):.1f} %")
    return 0


def own_and_other(clip: Spoken, judges: Judges) -> list[tuple[float, float]]:
    """Speaker cosine of each part with its own voice and with the other part's."""
    sound, *_ = read_media(clip.path)
    turn = round(clip.turn_s * SAMPLE_RATE)
    references = [read_media(VOICES / f"{name}.flac")[0] for name in clip.voices]
    cosines = [[judges.speaker.cosine(part, each) for each in references] for part in (sound[:turn], sound[turn:])]
    return [(cosines[0][0], cosines[0][1]), (cosines[1][1], cosines[1][0])]


if __name__ == "__main__":
    sys.exit(main())
