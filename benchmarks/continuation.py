"""Whether six clips that continue each other are one: words, voice, face, colour and the joins.

    python benchmarks/continuation.py --out DIR [--talks 9] [--model FILE]

One chain per sample portrait, as Long Talk builds it: Text Prompt -> Continue AV -> Joint Flow Sampler -> Decode AV ->
Join AV, six held-out sentences of six common words. What is joined so far is saved after every part, so that the files
say where the joins are.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from package import ROOT, import_package
from PIL import Image
from torch import Tensor

import_package()
sys.path.append(str(ROOT / "scripts"))
import environment  # noqa: E402 (needs the path)
from embedded_making import MODEL_SUBFOLDER, open_server  # noqa: E402 (needs the pack)
from graph import Graph  # noqa: E402

from unitalking.evaluation.clips import JudgedClip, read_media  # noqa: E402
from unitalking.evaluation.identity import face_distance, nearest  # noqa: E402
from unitalking.evaluation.judges import Judges, load_judges  # noqa: E402
from unitalking.evaluation.measure import judge_clip  # noqa: E402
from unitalking.evaluation.sound import NOISE_BAND, SAMPLE_RATE, mel_features  # noqa: E402
from unitalking.samples import NO_SAMPLE, PORTRAITS, portrait_choices, voice_choices  # noqa: E402
from unitalking.synthetic.sentences import sentence  # noqa: E402

PARTS, WORDS = 6, 6
OVERLAP = 9
SIDE = 128
SEED = 300
HOP_S = 0.01  # of `mel_features`
# One sound takes over from the other within 20 ms before a part's last picture ends; a click would be so near to that.
FADES_BEFORE_S, NEAR_S = 0.01, 0.02
# What is quieter is not heard: as a level, and as the log10 of a mel band of white noise of that level.
FLOOR_DB = -50.0
FLOOR_LOG10 = math.log10(NOISE_BAND) + FLOOR_DB / 20


@dataclass(frozen=True)
class Talk:
    """One chain: its file after every part, and what was asked for."""

    stages: Sequence[Path]
    speech: str
    portrait: str


@dataclass(frozen=True)
class Found:
    """What one talk shows; see `HEAD`."""

    wrong: int
    words: int
    sync: float
    lag: int
    within: float
    across: float
    same_face: bool
    faces: Sequence[float]
    colour: float
    level: Sequence[tuple[float, float]]
    spectrum: Sequence[tuple[float, float]]


def chain(graph: Graph, model: str | None, sentences: Sequence[str], portrait: str, voice: str, seed: int) -> None:
    """The nodes of one talk; stages are saved as talk_0, talk_1 and so on."""
    loaded = graph.add("UniTalkingModelLoader", **({} if model is None else {"model": model}))
    codecs = {"vae": loaded[2], "audio_vae": loaded[3]}
    spoken = graph.add("UniTalkingEncodeVoiceReference", audio_vae=loaded[3], sample_voice=voice)[0]
    so_far: dict[str, Any] = {}
    for number, speech in enumerate(sentences):
        asked = {"model": loaded[0], "clip": loaded[1], "voice": spoken, "scene": "", "sound": "Clear speech."}
        if so_far:
            asked["starts_at"] = OVERLAP / 24
        words = graph.add("UniTalkingTextPrompt", speech=speech, **asked)
        if so_far:
            given = {"overlap": OVERLAP, "frames": words[3]}
            latent = graph.add("UniTalkingContinue", model=loaded[0], **codecs, **so_far, **given)[0]
        else:
            empty = graph.add("UniTalkingEmptyLatent", model=loaded[0], frames=words[3])[0]
            latent = graph.add("UniTalkingPortrait", latent=empty, vae=loaded[2], sample_portrait=portrait)[0]
        conditions = {"positive": words[0], "negative": words[1]}
        sampled = graph.add("UniTalkingJointSampler", model=loaded[0], **conditions, latent=latent, seed=seed + number)[
            0
        ]
        pictures, sound, *_, fps = graph.add("UniTalkingDecode", latent=sampled, **codecs, voice=spoken)[:4]
        if so_far:
            following = {"next_images": pictures, "next_audio": sound, "fps": fps, "overlap": OVERLAP}
            pictures, sound = graph.add("UniTalkingJoin", **so_far, **following)
        so_far = {"images": pictures, "audio": sound}
        saved = {"audio_codec": "flac", "filename_prefix": f"talk_{number}"}
        graph.add("UniTalkingSaveMP4", **so_far, fps=fps, **saved)


def made(out: Path, count: int, model: Path | None) -> list[Talk]:
    """The talks, those that are there already taken as they are."""
    drawn = random.Random(SEED)
    portraits = [name for name in portrait_choices() if name != NO_SAMPLE]
    voices = [name for name in voice_choices() if name != NO_SAMPLE]
    talks = []
    with open_server(environment.comfyui(), model) as server:
        info = server.object_info()
        chosen = None if model is None else f"{MODEL_SUBFOLDER}/{model.name}"
        for number in range(count):
            plain = [sentence(drawn, "common", "held_out", WORDS).rstrip(".") for _ in range(PARTS)]
            sentences = [f"{text[0].upper()}{text[1:]}." for text in plain]
            portrait = portraits[number % len(portraits)]
            stages = [out / f"{number:02}-{part}.mp4" for part in range(PARTS)]
            if not stages[-1].is_file():
                graph = Graph(info)
                chain(graph, chosen, sentences, portrait, voices[number % len(voices)], SEED + 10 * number)
                files = [server.output_path(item) for item in server.queue(graph.prompt, timeout_s=1800).files()]
                for part, stage in enumerate(stages):
                    (saved,) = (path for path in files if path.name.startswith(f"talk_{part}"))
                    stage.write_bytes(saved.read_bytes())
            talks.append(Talk(stages, " ".join(sentences), portrait))
            print(f"{number + 1}/{count}", flush=True)
    return talks


def found(talk: Talk, judges: Judges) -> Found:
    """What one talk shows."""
    media = [read_media(path) for path in talk.stages]
    sound, frames, fps = media[-1]
    lengths = [len(each[1]) for each in media]
    scores = judge_clip(JudgedClip(talk.stages[-1].stem, sound, frames, fps, talk.speech), judges)
    within, across = voice_cosines(sound, lengths, fps, judges)
    joins = [length / fps - FADES_BEFORE_S for length in lengths[:-1]]
    shown = portraits()
    own = shown[portrait_choices().index(talk.portrait)]
    colours = frames.float().mean(dim=(1, 2))
    first = colours[: lengths[0]].mean(0)
    drifted = [float((part.mean(0) - first).abs().max()) for part in colours[lengths[0] :].tensor_split(PARTS - 1)]
    return Found(
        scores.words.wrong,
        scores.words.total,
        scores.sync,
        scores.lag,
        within,
        across,
        nearest(frames[lengths[-2] :], shown) == portrait_choices().index(talk.portrait),
        [face_distance(part, own) for part in frames.tensor_split(lengths[:-1])],
        max(drifted),
        at_joins(level_jumps(sound), joins),
        at_joins(spectral_jumps(sound), joins),
    )


def voice_cosines(sound: Tensor, lengths: Sequence[int], fps: float, judges: Judges) -> tuple[float, float]:
    """Speaker cosine of the two halves of the first and of the last part, and of halves of the one with the other's."""
    halves = []
    for begin, end in ((0, lengths[0]), (lengths[-2], lengths[-1])):
        cut = [round(edge / fps * SAMPLE_RATE) for edge in (begin, (begin + end) // 2, end)]
        halves.append([judges.speaker.embed(sound[a:b]) for a, b in itertools.pairwise(cut)])
    within = [float(one @ other) for one, other in halves]
    return mean(within), mean(float(one @ other) for one, other in itertools.product(*halves))


def level_jumps(sound: Tensor) -> np.ndarray:
    """Change of the level from hop to hop, in dB."""
    hop = round(HOP_S * SAMPLE_RATE)
    power = sound[: len(sound) // hop * hop].unflatten(0, (-1, hop)).square().mean(1)
    return (10 * power.clamp(min=10 ** (FLOOR_DB / 10)).log10()).diff().abs().numpy()


def spectral_jumps(sound: Tensor) -> np.ndarray:
    """Change of the log mel spectrum from hop to hop, mean over bands."""
    mel = mel_features(sound[None])[0].clamp(min=FLOOR_LOG10)
    hops_a_second = mel.shape[-1] / (len(sound) / SAMPLE_RATE)
    jumps = mel.diff(dim=-1).abs().mean(0).numpy()
    places = (np.arange(int(len(sound) / SAMPLE_RATE / HOP_S)) * HOP_S * hops_a_second).astype(int)
    return jumps[places.clip(0, len(jumps) - 1)]


def at_joins(jumps: np.ndarray, joins: Sequence[float]) -> list[tuple[float, float]]:
    """Of each join, the largest jump near it, and how many stretches inside the parts have a smaller one, 0 to 1."""
    near = round(NEAR_S / HOP_S)
    centres = [round(join / HOP_S) for join in joins]
    largest = np.array([jumps[max(place - near, 0) : place + near].max() for place in range(len(jumps))])
    inside = np.array([min(abs(place - centre) for centre in centres) > 2 * near for place in range(len(jumps))])
    return [(float(largest[centre]), float((largest[inside] < largest[centre]).mean())) for centre in centres]


def portraits() -> Tensor:
    """The sample portraits as the model sees them, (N, 128, 128, 3) uint8."""
    shown = []
    for name in portrait_choices()[:-1]:
        (path,) = PORTRAITS.glob(f"{name}.*")
        with Image.open(path) as image:
            shown.append(np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(shown))


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--talks", type=int, default=9)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    judges = load_judges(ROOT / "assets" / "judges")
    results = [found(talk, judges) for talk in made(given.out, given.talks, given.model)]
    print(f"{len(results)} talks of {PARTS} parts")
    print(f"word error {100 * sum(each.wrong for each in results) / sum(each.words for each in results):.1f} %")
    print(f"lip sync {mean(each.sync for each in results):.3f}, lag {median(each.lag for each in results):g} frames")
    within, across = mean(each.within for each in results), mean(each.across for each in results)
    print(f"speaker cosine within a part {within:.3f}, first with last {across:.3f}: {across / within:.2f}")
    print(f"face of the last part nearest to its portrait {sum(each.same_face for each in results)}")
    faces = [mean(each.faces[part] for each in results) for part in range(PARTS)]
    print("difference to the portrait, part by part: " + ", ".join(f"{face:.1f}" for face in faces) + " of 255")
    print(f"mean colour, largest change {max(each.colour for each in results):.2f}/255")
    for name in ("level", "spectrum"):
        joins = [join for each in results for join in getattr(each, name)]
        worse = sum(share > 0.95 for _, share in joins) / len(joins)
        print(
            f"{name} at {len(joins)} joins: median {median(value for value, _ in joins):.2f}, above "
            f"{100 * mean(share for _, share in joins):.0f} % of the stretches inside; {100 * worse:.0f} % of the "
            "joins above 95 % of them"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
