"""Encode Voice Reference and Text Prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..unitalking import timeline
from ..unitalking.codec.tone import reference_frames
from ..unitalking.config import PROMPT_STYLES, UniTalkingConfig
from ..unitalking.domain import unlearned
from ..unitalking.prompt import OVI_STYLES, compose_prompt, missing_tags, silent_prompt
from ..unitalking.samples import NO_SAMPLE, voice_choices
from ..unitalking.speech_timing import LEAD_S, SPEECH_OPEN, TAIL_S, speech_duration_s
from ..unitalking.text_cleaning import clean_text
from ..unitalking.voice import analyse_voice, resample
from .assets import load_voice
from .clip import speech_s
from .constants import AUDIO_CONTEXT_KEY, CATEGORY, TURNS_KEY, VOICE_KEY, VOICE_TYPE
from .messages import as_html, config_of, say
from .vae import AudioVAE
from .voice import Voice, VoiceTurns, check_voice

VoiceSocket = io.Custom(VOICE_TYPE)
LONGEST_VOICE_S = 10.0
SHOWN_CHARACTERS = 8


class EncodeVoiceReference(io.ComfyNode):
    """A voice clip -> VOICE, with a report on whether the clip is any good."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingEncodeVoiceReference",
            display_name="Encode Voice Reference",
            category=CATEGORY,
            description="Takes the voice of a 3-5 s clip. The report says what was used and whether it is good enough.",
            search_aliases=["voice cloning", "speaker", "timbre", "reference audio"],
            inputs=[
                io.Vae.Input("audio_vae", tooltip="The sound codec, from Load UniTalking Model."),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="Clip of one person speaking, 3-5 s, any sample rate and channels. Without one the sample "
                    "voice below is used.",
                ),
                io.Combo.Input(
                    "sample_voice",
                    options=voice_choices(),
                    tooltip="Built-in synthetic voice, used when no audio is wired.",
                ),
                io.Boolean.Input(
                    "trim",
                    default=True,
                    tooltip="Cut silence at both ends and take the stretch with the most speech. Off: the clip from "
                    "its start.",
                ),
            ],
            outputs=[
                VoiceSocket.Output(
                    display_name="voice", tooltip="The voice, for Text Prompt and Decode AV, Voice Turn or Save Voice."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="What was used of the clip and whether it is good enough, as the node shows it.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,  # what it shows comes back when the host takes it from its cache
        )

    @classmethod
    def execute(
        cls, audio_vae: Any, sample_voice: str, trim: bool, audio: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        """Measures, trims, resamples and encodes the clip."""
        if not isinstance(audio_vae, AudioVAE):
            raise ValueError(
                "Encode Voice Reference: the VAE is not a UniTalking audio codec: wire audio_vae from Load UniTalking "
                "Model."
            )
        if audio is None and sample_voice == NO_SAMPLE:
            raise ValueError("Encode Voice Reference: no voice. Wire an AUDIO, or choose a sample voice.")
        audio = load_voice(sample_voice) if audio is None else audio
        voice = encode_voice(audio_vae, audio, trim=trim)
        say(cls, voice.report)
        return io.NodeOutput(voice, voice.report, ui=ui.PreviewText(as_html(voice.report)))


def encode_voice(audio_vae: AudioVAE, audio: dict[str, Any], *, trim: bool) -> Voice:
    """AUDIO -> Voice: the best stretch that the model's reference holds, at the codec's rate.

    Raises:
        ValueError: an empty or silent clip, or one with NaN.
    """
    config = audio_vae.config
    filled_s = config.reference_tokens / config.audio_latents_per_s
    window_s = min(filled_s, LONGEST_VOICE_S) if filled_s else LONGEST_VOICE_S
    rates = {"sample_rate": audio["sample_rate"], "codec_sample_rate": config.sample_rate}
    clip = analyse_voice(audio["waveform"], **rates, trim=trim, window_s=window_s)
    waveform = resample(clip.waveform, audio["sample_rate"], config.sample_rate)
    latents = audio_vae.encode(waveform[None, :, None])
    frames = reference_frames(waveform, audio_vae.mel)
    return Voice(latents, audio_vae.codec_id, config.sample_rate, clip.report.text(), frames)


class TextPrompt(io.ComfyNode):
    """Speech, scene and sound -> conditioning of both streams."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingTextPrompt",
            display_name="Text Prompt",
            category=CATEGORY,
            description="What is said, what is seen, what is heard. Brackets are text here, not weights.",
            search_aliases=["prompt", "speech", "text to speech", "script"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model; gives the prompt style and lengths."),
                io.Clip.Input("clip", tooltip="The text encoder, from Load UniTalking Model."),
                io.String.Input(
                    "speech",
                    multiline=True,
                    default="Hello, it is good to meet you.",
                    tooltip="The words to be spoken, and nothing else. One speaker, or the turns of Voice Turn.",
                ),
                io.String.Input(
                    "scene",
                    multiline=True,
                    default="",
                    tooltip="What is seen: the person, the place, the light. The pack's own model knows drawn faces: "
                    "age, hair, skin, glasses, beard, clothes and background, by colours and simple words.",
                ),
                io.String.Input(
                    "sound",
                    multiline=True,
                    default="",
                    tooltip="What is heard besides the words: tone of voice, room, background. The pack's own model "
                    "knows the low, medium or high voice of a man or a woman. May stay empty.",
                ),
                io.String.Input(
                    "negative_picture",
                    multiline=True,
                    default="",
                    tooltip="What the picture should not look like, e.g. jitter, bad hands, blur, distortion. For "
                    "full-size models; leave it empty with the pack's own.",
                    advanced=True,
                ),
                io.String.Input(
                    "negative_sound",
                    multiline=True,
                    default="",
                    tooltip="What the sound should not be like, e.g. robotic, muffled, echo, distorted. For full-size "
                    "models; leave it empty with the pack's own.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "prompt_style",
                    options=["auto", *PROMPT_STYLES],
                    default="auto",
                    tooltip="How the fields are joined. auto: as the model was trained. tagged: speech between <S> "
                    "and <E>. plain: running text. ovi_1.0, ovi_1.1: Ovi's two generations, whose tags you may also "
                    "write yourself, into scene.",
                    advanced=True,
                ),
                VoiceSocket.Input(
                    "voice",
                    optional=True,
                    tooltip="The voice to speak with, from Encode Voice Reference; several of them from Voice Turn.",
                ),
                io.Float.Input(
                    "starts_at",
                    default=0.0,
                    min=-LEAD_S,
                    max=60.0,
                    step=0.001,
                    optional=True,
                    tooltip="Seconds of the clip that are given before this is spoken: wire held_s of Continue AV, or "
                    "starts_at of Driving Video.",
                    advanced=True,
                ),
                io.Float.Input(
                    "ends_at",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=0.001,
                    optional=True,
                    tooltip="When the last word ends, in seconds of the clip: wire ends_at of Style Reference or "
                    "Driving Video. 0: as planned.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="positive",
                    tooltip="What to make, with the voice; wire it into Joint Flow Sampler or Joint Guider.",
                ),
                io.Conditioning.Output(
                    display_name="negative",
                    tooltip="What to keep away from; wire it into Joint Flow Sampler or Joint Guider.",
                ),
                io.String.Output(
                    display_name="prompt", tooltip="The whole text as the model reads it, to look at or to save."
                ),
                io.Int.Output(
                    display_name="planned_frames",
                    tooltip="Pictures that the speech needs, 4n+1; wire it into frames of Empty AV Latent or Continue "
                    "AV.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,  # what it shows comes back when the host takes it from its cache
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        speech: str,
        scene: str,
        sound: str,
        negative_picture: str,
        negative_sound: str,
        prompt_style: str,
        voice: Voice | VoiceTurns | None = None,
        starts_at: float = 0.0,
        ends_at: float = 0.0,
    ) -> io.NodeOutput:
        """Encodes the prompt for both streams and plans the clip's length from the speech."""
        config = config_of(model, "Text Prompt")
        if ends_at and ends_at <= starts_at + LEAD_S:
            raise ValueError(
                f"Text Prompt: ends_at is {ends_at:g} s, but the first word begins at {starts_at + LEAD_S:g} s "
                f"(starts_at and {LEAD_S:g} s): choose a later ends_at, or 0 for as planned."
            )
        if voice is not None:
            check_voice(voice, model.model.codec_id, "Text Prompt")
        style = config.prompt_style if prompt_style == "auto" else prompt_style
        prompt = compose_prompt(speech, scene, sound, style)
        if config.text_encoder is not None:
            # The small model's own encoder takes a text without tags for speech.
            prompt = prompt if speech.strip() or not prompt else silent_prompt(scene, style, sound)
            negative_picture = negative_picture.strip() and silent_prompt(negative_picture, style)
            negative_sound = negative_sound.strip() and silent_prompt("", style, negative_sound)
        notes = list(missing_tags(prompt, style))
        if style not in OVI_STYLES and not speech.strip():
            notes.append("no speech: nothing will be said")
        notes += unlearned_text(speech + scene + sound, config)
        positive = encode_text(clip, prompt, config, "prompt", notes, starts_at, ends_at)
        negative = encode_text(clip, negative_picture, config, "negative for the picture", notes)
        unheard = encode_text(clip, negative_sound, config, "negative for the sound", notes)
        planned_s = speech_s(clip, compose_prompt(speech))
        spoken = prompt if SPEECH_OPEN in prompt else speech
        frames = planned_frames(speech_duration_s(spoken) if planned_s is None else planned_s, config, notes)
        given, every = {AUDIO_CONTEXT_KEY: positive[0][0]}, {}
        if isinstance(voice, VoiceTurns):
            ends_s = (speech_duration_s(speech) if planned_s is None else planned_s) - TAIL_S
            ends_s = ends_at - starts_at if ends_at else ends_s
            every[TURNS_KEY] = voice.starts_s(speech, ends_s, starts_at)
            given[VOICE_KEY] = tuple(turn.voice.latents for turn in voice.turns)
            notes.append("voices begin at " + ", ".join(f"{start:.2f} s" for start in every[TURNS_KEY]))
        elif voice is not None:
            given[VOICE_KEY] = voice.latents
        shown = "\n".join([prompt or "(empty prompt)", f"{frames} frames planned", *notes])
        say(cls, shown)
        return io.NodeOutput(
            [[context, {**more, **given, **every}] for context, more in positive],
            [[context, {**more, AUDIO_CONTEXT_KEY: unheard[0][0], **every}] for context, more in negative],
            prompt,
            frames,
            ui=ui.PreviewText(as_html(shown)),
        )


def unlearned_text(text: str, config: UniTalkingConfig) -> tuple[str, ...]:
    """A sentence where a text has characters that the model has not learned, with what it knows."""
    found = unlearned(text, config.trained.characters)
    if not found:
        return ()
    shown = " ".join(found[:SHOWN_CHARACTERS]) + (" ..." if len(found) > SHOWN_CHARACTERS else "")
    return (
        f"this model has not learned {shown} and will guess: it is {config.trained.description}, whose texts are "
        f"written with {config.trained.characters}; write numbers as words, other languages need a full-size model",
    )


def encode_text(
    clip: Any,
    text: str,
    config: UniTalkingConfig,
    name: str,
    notes: list[str],
    starts_at: float = 0.0,
    ends_at: float = 0.0,
) -> list:
    """Conditioning of a text: weights off, cut to the model's length with the end token kept, which is noted.

    UMT5 gets its text cleaned, as it was trained; a model's own encoder of bytes gets it as it is, and knows when it is
    spoken: not before `starts_at` seconds, the last word until `ends_at` where that is not 0.

    Raises:
        ValueError: no text encoder is wired.
    """
    if clip is None:
        raise ValueError("Text Prompt: no text encoder is wired: connect clip of Load UniTalking Model.")
    if config.text_encoder is None:
        text = clean_text(text)
    timed = {} if config.text_encoder is None else {"start_s": starts_at, "end_s": ends_at}
    tokens = clip.tokenize(text, disable_weights=True, **timed)
    for chunks in tokens.values():
        for row in chunks:
            extra = len(row) - config.text_len
            if extra > 0:
                notes.append(f"{name}: {extra} tokens too long, cut to {config.text_len}")
                row[config.text_len - 1 : -1] = []
    return clip.encode_from_tokens_scheduled(tokens)


def planned_frames(seconds: float, config: UniTalkingConfig, notes: list[str]) -> int:
    """Frames that a speech needs, at least one second, at most what the model was trained on (noted)."""
    needed = timeline.frames_for(max(seconds, 1.0), config.fps, config.time_stride)
    longest = config.longest_frames
    fitting = [frames for frames, _ in config.lengths if frames >= needed]
    if needed > longest:
        notes.append(
            f"the speech needs about {needed} frames, this model was trained on up to {longest}: split it over "
            "several clips"
        )
    return min(fitting) if fitting else min(needed, longest)
