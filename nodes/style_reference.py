"""Style Reference: a clip of somebody goes before the new one, which takes voice and manner from it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from comfy_api.latest import io

from ..unitalking import timeline
from ..unitalking.config import UniTalkingConfig
from ..unitalking.portrait import FIT_MODES, fit_pictures
from ..unitalking.samples import NO_SAMPLE, clip_choices
from ..unitalking.speech_timing import LEAD_S, TAIL_S
from ..unitalking.voice_frames import HOP_S, analyse_frames
from .assets import load_clip
from .checks import check_finite
from .clip import planned_s
from .constants import CATEGORY, LATENT_KEY
from .continuation import encode_beginning, hold_beginning
from .driving import check_codec, checked_rate, encode_pictures, left_from, sample_used, used_part, video_lasts
from .latents import empty_latent, foreign_picture, snap_size
from .messages import say, speaking_config_of

NAME = "Style Reference"
# How much slower or faster than planned somebody may speak; beyond that the transcript is another one.
PACES = (0.6, 1.7)
ONSET_S = 0.1  # lips open before a word is heard


class StyleReference(io.ComfyNode):
    """A clip and its words, held before the clip that is made."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingStyleReference",
            display_name=NAME,
            category=CATEGORY,
            description="Somebody goes on speaking: the new clip has the face, the voice and the way of moving of a "
            "short reference clip. Decode AV leaves the reference out.",
            search_aliases=["one-shot", "in-context", "mimic", "manner", "OmniTalker"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model; gives rates, sizes and lengths."),
                io.Clip.Input("clip", tooltip="The text encoder, from Load UniTalking Model."),
                io.Vae.Input("vae", tooltip="The picture codec, from Load UniTalking Model."),
                io.Vae.Input("audio_vae", tooltip="The sound codec, from Load UniTalking Model."),
                io.Video.Input("video", optional=True, tooltip="The reference clip with its sound, from Load Video."),
                io.Combo.Input(
                    "sample_clip",
                    options=clip_choices(),
                    default="manner",
                    tooltip="Built-in clip of a drawn person, used when no video is wired.",
                ),
                io.String.Input(
                    "transcript",
                    multiline=True,
                    default="",
                    tooltip="What is said in the used part of the reference clip, word for word.",
                ),
                io.String.Input("speech", multiline=True, default="", tooltip="What is said in the new clip."),
                io.Float.Input(
                    "start_s",
                    default=0.0,
                    min=0.0,
                    max=36_000.0,
                    step=0.01,
                    tooltip="Where in the reference clip to begin, in seconds.",
                ),
                io.Combo.Input(
                    "fit",
                    options=list(FIT_MODES),
                    default="crop",
                    tooltip="How pictures of another shape are shown to the model.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The clip with the reference at its beginning; wire it into Joint Flow Sampler.",
                ),
                io.String.Output(
                    display_name="speech",
                    tooltip="The words of reference and new clip; wire it into speech of Text Prompt.",
                ),
                io.Float.Output(
                    display_name="ends_at",
                    tooltip="When the last word ends at the pace of the reference, in seconds; wire it into ends_at of "
                    "Text Prompt.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The sound of the reference, as far as it was used; wire it into Encode Voice Reference.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        vae: Any,
        audio_vae: Any,
        sample_clip: str,
        transcript: str,
        speech: str,
        start_s: float,
        fit: str,
        video: Any = None,
    ) -> io.NodeOutput:
        """Cuts, encodes and holds the reference, and plans when all of it is spoken."""
        config = speaking_config_of(model, NAME)
        check_codec(audio_vae, model, NAME)
        _check_words(transcript, speech)
        notes: list[str] = []
        if video is None:
            if sample_clip == NO_SAMPLE:
                raise ValueError(f"{NAME}: no clip. Wire a VIDEO, or choose a sample clip.")
            video = load_clip(sample_clip)
            notes.append(sample_used("video", sample_clip))
        rate, given_s = checked_rate(Fraction(video.get_frame_rate()), NAME), video_lasts(video)
        words = f"{_sentence(transcript)} {speech.strip()}"
        given_words_s, all_words_s = planned_s(clip, transcript), planned_s(clip, words)
        start, left = left_from(given_s, start_s, f"{NAME}: the clip")
        available = _frames_within(left, config)
        held = min(available, _most_held(config, given_words_s, all_words_s))
        given, audio = used_part(video, start, timeline.duration_s(held, config.fps))
        # A file says how long its longest stream is.
        seen = _frames_within(Fraction(len(given)) / rate, config)
        if min(held, seen) < available:
            why = "have pictures" if seen < held else "fit beside the new speech"
            notes.append(
                f"only the first {min(held, seen) / config.fps:.2f} s of the clip {why}: transcript must hold their "
                "words and no others, or give another clip"
            )
        held = min(held, seen)
        lasts = timeline.duration_s(held, config.fps)
        audio = _checked_sound(audio, lasts)
        pace = _pace(audio, given_words_s - TAIL_S - LEAD_S)
        # The new speech begins a pause after the old one: nothing of that time may be given.
        begins_s = LEAD_S + (all_words_s - planned_s(clip, speech)) * pace - ONSET_S
        held = max(min(held, timeline.clip_within(begins_s, config.fps, config.time_stride)), 1)
        lasts = timeline.duration_s(held, config.fps)
        audio = _checked_sound(audio, lasts)
        ends_s = LEAD_S + (all_words_s - TAIL_S - LEAD_S) * pace
        wanted = min(timeline.frames_for(ends_s + TAIL_S, config.fps, config.time_stride), config.longest_frames)
        wanted = min((frames for frames, _ in config.lengths if frames >= wanted), default=wanted)
        size, changed = snap_size(config, 0, 0, wanted)
        shown = timeline.shown_pictures(held, config.fps, rate, len(given))
        pictures, fitted = fit_pictures(given[shown], *size[:2], fit)
        sound = encode_beginning(audio_vae, audio["waveform"], audio["sample_rate"], held, config)
        encoded = encode_pictures(vae, pictures, NAME)
        latent = hold_beginning(empty_latent(config, *size), encoded, sound, config, NAME)
        # What is held ends at a latent's end, up to a few pictures before; the old speech sounds on from there, and a
        # little into the time in which lips already open.
        cut = max(held, min(math.floor((begins_s + ONSET_S / 2) * config.fps), size[2] - 1))
        latent[LATENT_KEY] = {**latent[LATENT_KEY], "cut": cut}
        notes += [*changed, *fitted, *foreign_picture(vae, pictures[:1])]
        summary = f"{float(lasts):.2f} s of {float(given_s):.2f} s are the reference, {size[2] - cut} frames follow"
        say(cls, "\n".join([summary, f"spoken at {1 / pace:.2f} times the planned pace", *notes]))
        return io.NodeOutput(latent, words, ends_s, audio)


def _sentence(words: str) -> str:
    """Words with a stop behind them, so that a pause follows."""
    return words.strip() if words.strip()[-1] in ".!?…。！？" else f"{words.strip()}."


def _check_words(transcript: str, speech: str) -> None:
    if not transcript.strip():
        raise ValueError(f"{NAME}: transcript is empty: write what is said in the reference clip.")
    if not speech.strip():
        raise ValueError(f"{NAME}: speech is empty: write what is said in the new clip.")


def _frames_within(seconds: Fraction, config: UniTalkingConfig) -> int:
    """The longest clip within so much of the reference, which has to be more than a picture."""
    frames = timeline.clip_within(seconds, config.fps, config.time_stride)
    shortest = 1 + config.time_stride
    if frames < shortest:
        raise ValueError(
            f"{NAME}: the clip has {float(seconds):.2f} s of pictures from start_s on, expected at least "
            f"{shortest / config.fps:.2f} s: give a longer one, or begin earlier."
        )
    return frames


def _most_held(config: UniTalkingConfig, given_s: float, all_s: float) -> int:
    """How much of the reference may be held, so that the new speech fits behind it into one clip.

    Args:
        config: the model's lengths.
        given_s: how long a clip of the reference's words is planned to be.
        all_s: the same of all words.
    """
    longest_s, new_s = config.longest_frames / config.fps, max(all_s - given_s, 0)
    # However slowly somebody speaks: the words of both share the clip as they share the plan.
    spoken_s = given_s - LEAD_S - TAIL_S
    if spoken_s <= 0:
        raise ValueError(f"{NAME}: transcript has no words: write what is said in the reference clip.")
    shared_s = LEAD_S + (longest_s - LEAD_S - TAIL_S) * spoken_s / (spoken_s + new_s)
    pictures = math.floor(min(longest_s - new_s, shared_s) * config.fps)
    most = (pictures - 1) // config.time_stride * config.time_stride + 1
    if most < 1 + config.time_stride:
        raise ValueError(
            f"{NAME}: the new speech takes about {new_s:.1f} s, this model makes {longest_s:.1f} s at once, reference "
            "included: write less, or split it over several clips."
        )
    return most


def _checked_sound(audio: dict[str, Any] | None, lasts: Fraction) -> dict[str, Any]:
    if audio is None:
        raise ValueError(f"{NAME}: the clip has no sound: give one in which somebody speaks.")
    check_finite(audio["waveform"], "the reference clip's sound")
    samples = round(lasts * audio["sample_rate"])
    return {**audio, "waveform": audio["waveform"][:1, :, :samples]}


def _pace(audio: dict[str, Any], words_s: float) -> float:
    """How much longer than planned the reference takes to say its words.

    Raises:
        ValueError: a silent clip, or one that cannot say these words.
    """
    frames = analyse_frames(audio["waveform"][0].float().mean(0), audio["sample_rate"])
    if frames is None:
        raise ValueError(f"{NAME}: the clip is silent: give one in which somebody speaks.")
    lasts_s, heard_s = audio["waveform"].shape[-1] / audio["sample_rate"], frames.speech_span()[1] * HOP_S
    pace = (heard_s - LEAD_S) / words_s
    if not PACES[0] <= pace <= PACES[1]:
        raise ValueError(
            f"{NAME}: the used part of the clip ({lasts_s:.2f} s) speaks for {heard_s:.1f} s, its transcript takes "
            f"about {words_s:.1f} s: write exactly the words of that part."
        )
    return pace
