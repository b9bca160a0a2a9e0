"""Driving Video and Driving Audio: one stream is given, the other is generated in time with it (TV2A, A2V)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from comfy_api.latest import InputImpl, io
from torch import Tensor
from torch.nn import functional

from ..unitalking import timeline
from ..unitalking.checkpoint.codec_id import understands
from ..unitalking.config import UniTalkingConfig
from ..unitalking.portrait import FIT_MODES, fit_pictures
from ..unitalking.samples import NO_SAMPLE, clip_choices
from ..unitalking.speech_timing import LEAD_S
from ..unitalking.voice import resample
from .assets import load_clip
from .check import lips_speak
from .checks import check_finite
from .constants import CATEGORY
from .latents import empty_latent, foreign_picture, held, snap_size
from .messages import say, speaking_config_of
from .vae import AudioVAE

SILENT = 1e-3  # -60 dBFS
HEARD_S = Fraction(5, 1000)  # shorter than any sound of a word
LOWEST_FPS, HIGHEST_FPS = 1, 240


class Part(NamedTuple):
    """What of a given clip is used.

    Attributes:
        frames: of the model's clip.
        start_s: where it begins in what was given.
        notes: what a person should know.
    """

    frames: int
    start_s: Fraction
    notes: tuple[str, ...]


def left_from(given_s: Fraction, start_s: float, what: str) -> tuple[Fraction, Fraction]:
    """Where to begin, exactly, and how much of what was given is left from there on, in seconds.

    Raises:
        ValueError: nothing is left.
    """
    start = Fraction(start_s).limit_denominator(10**6)
    if given_s <= start:
        raise ValueError(
            f"{what} lasts {float(given_s):.2f} s, start_s is {start_s:g}: nothing is left. Choose an earlier start."
        )
    return start, given_s - start


def part_of(config: UniTalkingConfig, given_s: Fraction, start_s: float, what: str, *, whole: bool) -> Part:
    """The longest clip that fits into what was given, from `start_s` on.

    Args:
        config: the model's lengths.
        given_s: how long it is.
        start_s: where to begin.
        what: for messages.
        whole: what is over the last valid length counts as well, and is filled up (sound); else it is cut (pictures).

    Raises:
        ValueError: nothing is left after `start_s`, or less than the model's shortest clip.
    """
    start, left = left_from(given_s, start_s, what)
    frames = timeline.clip_within(left, config.fps, config.time_stride)
    if whole:
        frames = timeline.frames_for(float(left), config.fps, config.time_stride)
    if config.lengths:
        fitting = [length for length, _ in config.lengths if whole or length <= frames]
        frames = min((length for length in fitting if length >= frames), default=max(fitting, default=0))
    if frames < 1 + config.time_stride:
        shortest = min((length for length, _ in config.lengths), default=1 + config.time_stride)
        raise ValueError(
            f"{what} has {float(left):.2f} s from {start_s:g} s on, this model's shortest clip is {shortest} pictures "
            f"({shortest / config.fps:.2f} s): give a longer one."
        )
    used, notes = min(frames, config.longest_frames), []
    unused = left - timeline.duration_s(used, config.fps)
    # Pictures that do not fill another step of the codec are not worth a word; sound may hold one.
    if unused >= (HEARD_S if whole else timeline.duration_s(config.time_stride, config.fps)):
        notes.append(
            f"{used / config.fps:.2f} s from {start_s:g} s on are used, the last {float(unused):.2f} s are not: this "
            f"model makes at most {config.longest_frames} pictures at once. For the rest run again with a later "
            "start_s."
        )
    return Part(used, start, tuple(notes))


class DrivingVideo(io.ComfyNode):
    """Holds a whole clip's pictures: their sound is generated."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingDrivingVideo",
            display_name="Driving Video",
            category=CATEGORY,
            description="Gives a silent or badly dubbed clip speech in time with its lips. The pictures stay as they "
            "are: wire images and fps into Save MP4, and the sound from Decode AV.",
            search_aliases=["dub", "dubbing", "video to audio", "lip sync", "TV2A", "foley"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model; gives rates, sizes and lengths."),
                io.Vae.Input("vae", tooltip="The picture codec, from Load UniTalking Model."),
                io.Video.Input("video", optional=True, tooltip="The clip, from Load Video. Its own sound is not used."),
                io.Image.Input("images", optional=True, tooltip="Its pictures, instead of a VIDEO."),
                io.Combo.Input(
                    "sample_clip",
                    options=clip_choices(),
                    default="question",
                    tooltip="Built-in clip of a drawn person who speaks, used when nothing is wired.",
                ),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=LOWEST_FPS,
                    max=HIGHEST_FPS,
                    step=0.001,
                    tooltip="Pictures per second of images. A VIDEO brings its own. Other rates than the model's are "
                    "converted for the model alone.",
                ),
                _start_input("video"),
                *_size_inputs(),
                io.Combo.Input(
                    "fit",
                    options=list(FIT_MODES),
                    default="crop",
                    tooltip="How pictures of another shape are shown to the model: crop cuts the edges, pad adds "
                    "borders, stretch distorts. What is saved is not changed.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The clip with its pictures given; wire it into Joint Flow Sampler, which makes the sound.",
                ),
                io.Image.Output(
                    display_name="images", tooltip="The pictures that were used, unchanged; wire them into Save MP4."
                ),
                io.Float.Output(display_name="fps", tooltip="Pictures per second of images; wire it into Save MP4."),
                io.Int.Output(
                    display_name="frames", tooltip="How many pictures the clip has for the model, at its own rate."
                ),
                io.Float.Output(
                    display_name="starts_at",
                    tooltip="Lets the speech begin with the lips, in seconds; wire it into starts_at of Text Prompt. "
                    "0: as planned.",
                ),
                io.Float.Output(
                    display_name="ends_at",
                    tooltip="When the lips stop speaking, in seconds of the clip; wire it into ends_at of Text Prompt. "
                    "0: as planned.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        sample_clip: str,
        fps: float,
        start_s: float,
        width: int,
        height: int,
        fit: str,
        video: Any = None,
        images: Tensor | None = None,
    ) -> io.NodeOutput:
        """Cuts, converts, encodes and holds."""
        config = speaking_config_of(model, "Driving Video")
        if video is not None and images is not None:
            raise ValueError("Driving Video: a video and images are wired: wire one of them.")
        sample: tuple[str, ...] = ()
        if video is None and images is None:
            if sample_clip == NO_SAMPLE:
                raise ValueError("Driving Video: no video. Wire a VIDEO, or images, or choose a sample clip.")
            video, sample = load_clip(sample_clip), (sample_used("video", sample_clip),)
        rate = timeline.rational(fps) if video is None else Fraction(video.get_frame_rate())
        checked_rate(rate, "Driving Video")
        given_s = Fraction(len(images)) / rate if video is None else video_lasts(video)
        what = "Driving Video: the video"
        part = part_of(config, given_s, start_s, what, whole=False)
        if video is None:
            images = images[round(part.start_s * rate) :]
        else:
            images, _ = used_part(video, part.start_s, timeline.duration_s(part.frames, config.fps))
            # A file says how long its longest stream is.
            found_s = part.start_s + Fraction(len(images)) / rate
            part = part._replace(frames=min(part.frames, part_of(config, found_s, start_s, what, whole=False).frames))
        lasts = timeline.duration_s(part.frames, config.fps)
        images = images[: math.ceil(lasts * rate)]  # none of the sound is cut off
        shown = timeline.shown_pictures(part.frames, config.fps, rate, len(images))
        size, notes = snap_size(config, width, height, part.frames)
        pictures, fitted = fit_pictures(images[shown], *size[:2], fit)
        foreign = foreign_picture(vae, pictures[:1])
        notes = (*sample, *part.notes, *notes, *fitted, *foreign)
        starts_at = ends_at = 0.0
        if config.text_encoder is not None and not foreign:
            starts_at, ends_at, seen = _told_by_lips(pictures, config.fps)
            notes += (seen,)
        if images.shape[1:3] != pictures.shape[1:3]:
            notes += (f"{images.shape[2]}x{images.shape[1]} was scaled to {size[0]}x{size[1]} for the model.",)
        if rate != timeline.rational(config.fps):
            notes += (f"{float(rate):g} pictures per second were converted to {config.fps:g} for the model.",)
        encoded = encode_pictures(vae, pictures, "Driving Video")
        latent = hold_stream(empty_latent(config, *size), "tv2a", encoded, config)
        summary = f"{part.frames} frames ({float(lasts):.2f} s) of {float(given_s):.2f} s"
        say(cls, "\n".join([summary, *notes]))
        return io.NodeOutput(latent, images, float(rate), part.frames, starts_at, ends_at)


class DrivingAudio(io.ComfyNode):
    """Holds a whole clip's sound: its picture is generated."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingDrivingAudio",
            display_name="Driving Audio",
            category=CATEGORY,
            description="Makes a face speak a recording of yours. Portrait Image behind it says whose. Wire audio into "
            "Save MP4: those are your own samples.",
            search_aliases=["audio to video", "lip sync", "talking photo", "A2V", "audio driven"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model; gives rates, sizes and lengths."),
                io.Vae.Input("audio_vae", tooltip="The sound codec, from Load UniTalking Model."),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The recording of one person speaking. Type its words in Text Prompt.",
                ),
                io.Combo.Input(
                    "sample_recording",
                    options=clip_choices(),
                    default="question",
                    tooltip="The sound of a built-in clip, used when nothing is wired.",
                ),
                _start_input("recording"),
                *_size_inputs(),
                io.Float.Input(
                    "noise",
                    default=0.0,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Noise on the sound that the model sees, not on what is saved, as a share of its spread. "
                    "A recording that is cleaner than what the model was trained on can be read too literally; 0.05 to "
                    "0.1 hides such detail.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The clip with its sound given; wire it into Portrait Image, or straight into Joint Flow "
                    "Sampler.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The part of the recording that was used, unchanged; wire it into Save MP4.",
                ),
                io.Int.Output(
                    display_name="frames",
                    tooltip="How many pictures the clip has: it lasts as long as that part of the recording.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        audio_vae: Any,
        sample_recording: str,
        start_s: float,
        width: int,
        height: int,
        noise: float,
        audio: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        """Cuts, resamples, encodes and holds."""
        config = speaking_config_of(model, "Driving Audio")
        check_codec(audio_vae, model, "Driving Audio")
        notes = []
        if audio is None:
            if sample_recording == NO_SAMPLE:
                raise ValueError("Driving Audio: no recording. Wire an AUDIO, or choose a sample.")
            audio = load_clip(sample_recording).get_components().audio
            notes.append(sample_used("audio", sample_recording))
        if len(audio["waveform"]) > 1:
            notes.append(f"The AUDIO has {len(audio['waveform'])} recordings; only the first is used.")
        waveform, rate = audio["waveform"][:1], audio["sample_rate"]
        if not waveform.numel():
            raise ValueError("Driving Audio: the AUDIO is empty: wire a recording.")
        check_finite(waveform, "the recording")
        given_s = Fraction(waveform.shape[-1], rate)
        part = part_of(config, given_s, start_s, "Driving Audio: the recording", whole=True)
        start = round(part.start_s * rate)
        own = waveform[..., start : start + timeline.samples_kept(part.frames, config.fps, rate)]
        notes += part.notes
        if float(own.abs().max()) < SILENT:
            notes.append("This part of the recording is silent: the lips will hardly move.")
        size, more = snap_size(config, width, height, part.frames)
        latent = empty_latent(config, *size)
        encoded = encode_sound(audio_vae, own, rate, latent["samples"].unbind()[1].shape[2])
        if noise:
            spread = model.model.latent_format.audio.std.to(encoded)[None, :, None]
            drawn = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(0))
            encoded = encoded + noise * spread * drawn.to(encoded)
        say(cls, "\n".join([f"{part.frames} frames for {own.shape[-1] / rate:.2f} s of sound", *notes, *more]))
        latent = hold_stream(latent, "a2v", encoded, config)
        return io.NodeOutput(latent, {"waveform": own, "sample_rate": rate}, part.frames)


def check_codec(audio_vae: Any, model: Any, node: str) -> None:
    """Refuses a sound codec that is not the MODEL's.

    Raises:
        ValueError: what is wired instead.
    """
    if not isinstance(audio_vae, AudioVAE):
        raise ValueError(f"{node}: the VAE is not a UniTalking audio codec: wire audio_vae from Load UniTalking Model.")
    if not understands(audio_vae.codec_id, model.model.codec_id):
        raise ValueError(
            f"{node}: the audio codec (sample rate-channels-samples-digest {audio_vae.codec_id}) is not this model's "
            f"({model.model.codec_id}): wire audio_vae of the same Load UniTalking Model."
        )


def encode_pictures(vae: Any, pictures: Tensor, node: str) -> Tensor:
    """A clip's pictures (F, H, W, 3) as latents (1, C, n, h, w).

    Raises:
        ValueError: the sound codec, or something that is none.
    """
    if getattr(vae, "latent_channels", None) is None or isinstance(vae, AudioVAE):
        raise ValueError(f"{node}: the VAE is no picture codec: wire vae from Load UniTalking Model.")
    return vae.encode(pictures)


def encode_sound(audio_vae: AudioVAE, waveform: Tensor, sample_rate: int, latents: int) -> Tensor:
    """A clip's sound (1, channels, S) as so many latents (1, C, L), mixed to mono, filled up with silence."""
    config = audio_vae.config
    mono = resample(waveform.float().mean(1), sample_rate, config.sample_rate)[:, : latents * config.samples_per_latent]
    mono = functional.pad(mono, (0, latents * config.samples_per_latent - mono.shape[1]))
    return audio_vae.encode(mono[:, :, None])[:, :, :latents]


def hold_stream(latent: dict[str, Any], task: str, encoded: Tensor, config: UniTalkingConfig) -> dict[str, Any]:
    """The LATENT with one whole stream set to `encoded` and held.

    Args:
        latent: nested, of the right shapes.
        task: "tv2a" or "a2v".
        encoded: of that stream.
        config: the model's rates.

    Raises:
        ValueError: latents of another codec.
    """
    streams = list(latent["samples"].unbind())
    given = 0 if task == "tv2a" else 1
    if encoded.shape != streams[given].shape:
        raise ValueError(
            f"The codec gives latents of shape {tuple(encoded.shape)}, the clip has {tuple(streams[given].shape)}: use "
            "the codec of the same Load UniTalking Model."
        )
    streams[given] = encoded.to(streams[given])
    return held(latent, tuple(streams), task, config)


def sample_used(socket: str, name: str) -> str:
    """What to say where nothing came: a wired clip without a stream gives nothing, too."""
    return f"{socket}: nothing is wired, or what is wired has none, so the sample {name} is used."


def _told_by_lips(pictures: Tensor, fps: float) -> tuple[float, float, str]:
    """For Text Prompt, when drawn lips begin and end to speak, 0 and 0 where they do not; and a note of it."""
    span = lips_speak(pictures, fps)
    if span is None:
        return 0.0, 0.0, "The lips hardly move: the speech is timed as planned."
    begins, ends = span
    return begins - LEAD_S, ends, f"The lips speak from {begins:.2f} to {ends:.2f} s."


def video_lasts(video: Any) -> Fraction:
    """Length of a VIDEO in seconds."""
    return Fraction(video.get_duration()).limit_denominator(10**6)


def checked_rate(rate: Fraction, node: str) -> Fraction:
    """Pictures per second of a clip, if a node takes it.

    Raises:
        ValueError: a rate that no clip has.
    """
    if not LOWEST_FPS <= rate <= HIGHEST_FPS:
        raise ValueError(
            f"{node}: the video has {float(rate):g} pictures per second, expected {LOWEST_FPS} to {HIGHEST_FPS}: "
            "convert it first."
        )
    return rate


def used_part(video: Any, start_s: Fraction, lasts: Fraction) -> tuple[Tensor, dict[str, Any] | None]:
    """Pictures and sound of a VIDEO from `start_s` on; a file is read no further than `lasts` seconds."""
    if isinstance(video, InputImpl.VideoFromFile):
        spare_s = 1 / float(video.get_frame_rate())
        cut = video.as_trimmed(float(start_s), float(lasts) + spare_s, strict_duration=False)
        components = cut.get_components()
        return components.images, components.audio
    components = video.get_components()
    audio = components.audio
    if audio is not None:
        begin = round(start_s * audio["sample_rate"])
        audio = {**audio, "waveform": audio["waveform"][..., begin:]}
    return components.images[round(start_s * Fraction(components.frame_rate)) :], audio


def _start_input(what: str) -> io.Input:
    return io.Float.Input(
        "start_s", default=0.0, min=0.0, max=36_000.0, step=0.01, tooltip=f"Where in the {what} to begin, in seconds."
    )


def _size_inputs() -> list[io.Input]:
    limits = {"default": 0, "min": 0, "max": 8192, "step": 16, "advanced": True}
    return [
        io.Int.Input(side, tooltip=f"{side.capitalize()} that the model works at, 0 for its own.", **limits)
        for side in ("width", "height")
    ]
