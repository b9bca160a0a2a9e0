"""Check Clip and Keep Best: is a clip any good, and which of several is the best."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
from comfy_api.latest import io, ui
from torch import Tensor

from ..unitalking.evaluation.clips import JudgedClip
from ..unitalking.evaluation.full_size import syncnet
from ..unitalking.evaluation.full_size.report import FullSizeJudges
from ..unitalking.evaluation.judges import Judges, load_judges
from ..unitalking.evaluation.measure import judge_clip, spoken_words
from ..unitalking.evaluation.mouth import spoken_span
from ..unitalking.evaluation.sound import SAMPLE_RATE
from ..unitalking.evaluation.table import ClipScores
from ..unitalking.evaluation.verdict import Limits, Verdict, best_of, verdict
from ..unitalking.samples import NO_SAMPLE, voice_choices
from ..unitalking.voice import resample
from .assets import load_voice
from .checks import check_finite
from .constants import CATEGORY
from .files import PACK
from .messages import as_html, say

PACK_JUDGES = PACK / "assets" / "judges"
PUBLIC_FOLDER = "unitalking_judges"
OWN, PUBLIC = "pack", "public"
# Why something is not judged.
NO_WORDS, TOO_SHORT = "speech holds no words", "the clip is too short"
WHOLE_PICTURE = "SyncNet saw the whole picture: where the face is small, crop it to the face with a margin"


class CheckClip(io.ComfyNode):
    """What judges hear and see of a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        limits = Limits()
        share = {"min": 0.0, "max": 1.0, "step": 0.01, "advanced": True}
        return io.Schema(
            node_id="UniTalkingCheckClip",
            display_name="Check Clip",
            category=CATEGORY,
            description="Hears the words, compares lips and sound, and the voice with its reference, so that a graph "
            "can try other seeds and keep the best.",
            search_aliases=["quality", "judge", "score", "lip sync check", "word error", "best of"],
            inputs=[
                io.Audio.Input("audio", tooltip="The clip's sound, from Decode AV."),
                io.Image.Input("images", optional=True, tooltip="Its pictures. Without them lips are not judged."),
                io.Float.Input("fps", default=24.0, min=1.0, max=240.0, step=0.001, tooltip="Wire fps of Decode AV."),
                io.String.Input(
                    "speech",
                    multiline=True,
                    default="",
                    tooltip="What should be said, as in Text Prompt. Empty: words are not judged.",
                ),
                io.Audio.Input("voice", optional=True, tooltip="A clip of the voice that was asked for."),
                io.Combo.Input(
                    "sample_voice",
                    options=voice_choices(),
                    default=NO_SAMPLE,
                    tooltip="The built-in voice that was asked for, where no voice is wired.",
                ),
                io.Combo.Input(
                    "judges",
                    options=[OWN, PUBLIC],
                    default=OWN,
                    tooltip="pack: small judges of drawn faces, synthetic voices and 1,000 English words, for the "
                    f"pack's own model. public: SyncNet, Whisper and WavLM from models/{PUBLIC_FOLDER}, for all else; "
                    "SyncNet sees the whole picture, so crop it to the face.",
                ),
                io.Float.Input(
                    "largest_word_error", default=limits.word_error, tooltip="Share of words, for passed.", **share
                ),
                io.Float.Input(
                    "least_sync",
                    default=limits.sync,
                    tooltip="Correlation of mouth and sound, or a tenth of Sync-C, for passed.",
                    **share,
                ),
                io.Float.Input(
                    "least_speaker", default=limits.speaker, tooltip="Cosine with the voice, for passed.", **share
                ),
            ],
            outputs=[
                io.Boolean.Output(
                    display_name="passed",
                    tooltip="Whether all that was asked for could be judged and reaches its limit.",
                ),
                io.Float.Output(
                    display_name="score",
                    tooltip="Mean of words right, sync and voice, as far as they are judged: higher is better. Wire it "
                    "into Keep Best.",
                ),
                io.Float.Output(display_name="word_error", tooltip="Share of words that are wrong: 0 is best."),
                io.Float.Output(
                    display_name="sync",
                    tooltip="Correlation of mouth and sound, or a tenth of Sync-C: higher is better.",
                ),
                io.Float.Output(
                    display_name="lag_s",
                    tooltip="Seconds by which the mouth moves after the sound; below 0 it moves before.",
                ),
                io.Float.Output(
                    display_name="speaker", tooltip="Cosine with the voice that was asked for: 1 is the same."
                ),
                io.Float.Output(display_name="loudness", tooltip="Loudness of the clip's sound in LUFS."),
                io.String.Output(
                    display_name="report", tooltip="All of it in words and what does not pass, as the node shows it."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        audio: dict[str, Any],
        fps: float,
        speech: str,
        sample_voice: str,
        judges: str,
        largest_word_error: float,
        least_sync: float,
        least_speaker: float,
        images: Tensor | None = None,
        voice: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        """Judges one clip."""
        if audio is None:
            raise ValueError("Check Clip: the clip has no sound: wire audio of Decode AV.")
        check_finite(audio["waveform"], "the clip's sound")
        if voice is None and sample_voice != NO_SAMPLE:
            voice = load_voice(sample_voice)
        clip = JudgedClip(
            "clip",
            heard_by_judges(audio),
            frames=None if images is None else Pictures(images),
            fps=fps,
            speech=speech.strip(),
            reference=None if voice is None else heard_by_judges(voice),
        )
        found = verdict(_public(clip) if judges == PUBLIC else judge_clip(clip, pack_judges()))
        limits = Limits(largest_word_error, least_sync, least_speaker)
        failures = found.failures(limits, _asked(clip, judges))
        notes = [WHOLE_PICTURE] if judges == PUBLIC and not math.isnan(found.sync) else []
        report = "\n".join([*_lines(found), *notes, *failures])
        say(cls, report)
        numbers = (found.score, found.word_error, found.sync, found.lag_s, found.speaker, found.loudness)
        return io.NodeOutput(not failures, *numbers, report, ui=ui.PreviewText(as_html(report)))


class KeepBest(io.ComfyNode):
    """Several clips -> the one with the highest score."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingKeepBest",
            display_name="Keep Best",
            category=CATEGORY,
            description="Of several clips, such as a batch from Empty AV Latent, passes on the one that Check Clip "
            "liked best.",
            search_aliases=["best of n", "pick", "select", "retry seeds"],
            inputs=[
                io.Image.Input("images", tooltip="Pictures of every clip, from Decode AV."),
                io.Audio.Input("audio", tooltip="Sound of every clip, from Decode AV."),
                io.Float.Input(
                    "score",
                    default=0.0,
                    min=-1e9,
                    max=1e9,
                    force_input=True,
                    tooltip="How good every clip is: score of Check Clip, or any number; the highest is kept.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The pictures of the best clip; wire them into Save MP4."
                ),
                io.Audio.Output(display_name="audio", tooltip="The sound of the best clip; wire it into Save MP4."),
                io.Float.Output(display_name="score", tooltip="The score of the best clip, as it came in."),
                io.Int.Output(display_name="number", tooltip="Which clip it is; 1 is the first."),
            ],
            hidden=[io.Hidden.unique_id],
            is_input_list=True,
        )

    @classmethod
    def execute(cls, images: list[Tensor], audio: list[dict[str, Any]], score: list[float]) -> io.NodeOutput:
        """Picks."""
        counts = {"images": len(images), "audio": len(audio), "score": len(score)}
        if len(set(counts.values())) != 1:
            found = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise ValueError(f"Keep Best: got {found}, expected as many of each: wire all three from the same clips.")
        best = best_of(score)
        shown = ", ".join("not judged" if math.isnan(each) else f"{each:.2f}" for each in score)
        say(cls, f"clip {best + 1} of {len(score)} is kept; scores {shown}")
        return io.NodeOutput(images[best], audio[best], score[best], best + 1)


@functools.lru_cache(maxsize=1)
def pack_judges() -> Judges:
    """The pack's own judges, on the CPU."""
    return load_judges(PACK_JUDGES)


def lips_speak(images: Tensor, fps: float) -> tuple[float, float] | None:
    """When drawn lips begin and end to speak in pictures (F, H, W, 3), in seconds; None where they hardly move."""
    return spoken_span(pack_judges().mouth.track(Pictures(images)), fps)


def public_folder() -> Path:
    """Where the public judges are looked for."""
    return Path(folder_paths.models_dir) / PUBLIC_FOLDER


def _public_judges() -> FullSizeJudges:
    """The judges that are there now: a file that was missing may have been added since."""
    folder = public_folder()
    return _read_public_judges(folder, frozenset(path.name for path in folder.glob("*")))


@functools.lru_cache(maxsize=1)
def _read_public_judges(folder: Path, names: frozenset[str]) -> FullSizeJudges:
    return FullSizeJudges(folder)


class Pictures:
    """IMAGE as judges take it, (F, H, W, 3) uint8, made as it is taken: a long clip is large, and may be cancelled."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.shape = images, (*images.shape[:3], 3)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: int | slice | Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        pictures = self.images[part][..., :3].cpu()
        check_finite(pictures, "the clip's pictures")
        return (pictures.float() * 255).round_().clamp_(0, 255).byte()


def heard_by_judges(audio: dict[str, Any]) -> Tensor:
    """AUDIO as judges take it: the first clip, (S,) at their rate, mono."""
    return resample(audio["waveform"][:1].float().mean(1).cpu(), audio["sample_rate"], SAMPLE_RATE)[0]


def _public(clip: JudgedClip) -> ClipScores:
    """The public judges' scores; the pack's own give the loudness alone.

    Raises:
        ValueError: none of them is there.
    """
    judges = _public_judges()
    if len(judges.missing) == 3:
        raise ValueError("Check Clip: no public judge is there.\n" + "\n".join(judges.missing.values()))
    bare = replace(clip, speech="", frames=None, reference=None)
    found = judges.judge(clip.sound, clip.speech, clip.frames, clip.fps, clip.reference)
    scores = replace(judge_clip(bare, pack_judges()), whisper=found.words, wavlm=found.speaker)
    if found.sync is None:
        return scores
    return replace(scores, sync_c=found.sync.confidence, lag=found.sync.offset, fps=syncnet.FPS)


def _lines(found: Verdict) -> list[str]:
    heard = f"; heard: {found.heard}" if found.heard else ""
    shown = [
        (f"score {found.score:.2f}", found.score),
        (f"{found.word_error:.0%} of the words wrong{heard}", found.word_error),
        (f"lip sync {found.sync:.2f}", found.sync),
        (f"lips {found.lag_s:+.2f} s after the sound", found.lag_s),
        (f"voice {found.speaker:.2f} alike", found.speaker),
        (f"{found.loudness:.1f} LUFS", found.loudness),
    ]
    lines = [line for line, value in shown if not math.isnan(value)]
    return [*lines, "the clip is silent, or shorter than 0.4 s"] if math.isnan(found.loudness) else lines


def _asked(clip: JudgedClip, judges: str) -> dict[str, str]:
    """What of a `Verdict` has to be judged, and what to say of it where it is not."""
    missing = _public_judges().missing if judges == PUBLIC else {}
    no_words = missing.get("words", NO_WORDS) if judges == PUBLIC else _unknown_words(clip.speech)
    asked = {
        "word_error": (clip.speech, f"words are not judged: {no_words}"),
        "sync": (clip.frames is not None, f"lips are not judged: {missing.get('sync', TOO_SHORT)}"),
        "speaker": (clip.reference is not None, f"the voice is not judged: {missing.get('speaker', TOO_SHORT)}"),
    }
    return {name: why for name, (is_asked, why) in asked.items() if is_asked}


def _unknown_words(speech: str) -> str:
    """Why the pack's judge cannot look for the words of a speech."""
    known = pack_judges().phonemes.lexicon
    unknown = sorted({word for word in spoken_words(speech) if word not in known})
    return f"the pack's judge does not know {', '.join(unknown)}" if unknown else NO_WORDS
