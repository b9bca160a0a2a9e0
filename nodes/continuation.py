"""Continue AV and Join AV: the next clip goes on from the end of the last one, and both become one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional

from ..unitalking import timeline
from ..unitalking.config import UniTalkingConfig
from ..unitalking.joining import join_pictures, join_sounds
from ..unitalking.portrait import fit_pictures
from ..unitalking.voice import resample
from .checks import check_finite
from .constants import CATEGORY
from .driving import check_codec, encode_pictures, encode_sound
from .latents import empty_latent, held, snap_size
from .messages import say, speaking_config_of

DEFAULT_OVERLAP = 9
OVERLAP_TOOLTIP = "Pictures that both clips have, 4n+1: what the next one continues from. 9 are 0.4 s at 24 fps."


class Continue(io.ComfyNode):
    """Room for the next clip, whose beginning is the end of the last one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingContinue",
            display_name="Continue AV",
            category=CATEGORY,
            description="The next clip starts from the last pictures and the last sound of this one, so that face, "
            "voice and movement go on. Join AV puts them together.",
            search_aliases=["extend", "longer video", "continuation", "next clip", "chain"],
            inputs=[
                io.Model.Input("model", tooltip="The UniTalking model; gives rates, sizes and lengths."),
                io.Vae.Input("vae", tooltip="The picture codec, from Load UniTalking Model."),
                io.Vae.Input("audio_vae", tooltip="The sound codec, from Load UniTalking Model."),
                io.Image.Input("images", tooltip="Pictures of the clip so far, from Decode AV."),
                io.Audio.Input("audio", tooltip="Its sound, from Decode AV."),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="Pictures of the next speech: wire planned_frames of Text Prompt. The overlap is added.",
                ),
                _overlap_input(),
                io.Boolean.Input(
                    "one_face",
                    default=True,
                    tooltip="The first of the given pictures is the clip's very first one, so that a chain of clips "
                    "keeps the face that it began with. Off where the camera or the face has moved far since.",
                    optional=True,  # graphs saved before it was there have no value
                    advanced=True,
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The next clip with its beginning given; wire it into Joint Flow Sampler.",
                ),
                io.Float.Output(
                    display_name="held_s",
                    tooltip="Seconds of its beginning that are given; wire it into starts_at of Text Prompt.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        audio_vae: Any,
        images: Tensor,
        audio: dict[str, Any] | None,
        frames: int,
        overlap: int,
        one_face: bool = True,
    ) -> io.NodeOutput:
        """Takes the end, encodes it anew and holds it."""
        config = speaking_config_of(model, "Continue AV")
        check_codec(audio_vae, model, "Continue AV")
        overlap = _checked(overlap, len(images), config)
        _check_size(images, config)
        if audio is None:
            raise ValueError("Continue AV: the clip has no sound: wire audio of Decode AV.")
        check_finite(audio["waveform"], "the clip's sound")
        _check_length(len(images), audio, config.fps)
        wanted = overlap - 1 + (frames or config.trained.frames)
        size, notes = snap_size(config, images.shape[2], images.shape[1], wanted)
        if overlap >= size[2]:
            raise ValueError(
                f"Continue AV: overlap is {overlap}, the next clip has {size[2]} pictures in all: choose a smaller "
                "overlap or more frames, so that something follows."
            )
        tail = tail_of(audio, len(images), overlap, config.fps)
        sound = encode_beginning(audio_vae, tail, audio["sample_rate"], overlap, config)
        given = images[-overlap:]
        if one_face and overlap > 1:
            # Every clip loses some detail of those that it starts from, the first picture none.
            given = torch.cat([images[:1], given[1:]])
        pictures, _ = fit_pictures(given, *size[:2], "crop")  # grey or see-through ones become RGB
        encoded = encode_pictures(vae, pictures, "Continue AV")
        latent = hold_beginning(empty_latent(config, *size), encoded, sound, config, "Continue AV")
        seconds = float(timeline.duration_s(overlap, config.fps))
        say(cls, "\n".join([f"{overlap} frames ({seconds:.2f} s) are given, {size[2] - overlap} follow", *notes]))
        return io.NodeOutput(latent, seconds)


class Join(io.ComfyNode):
    """Two clips -> one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingJoin",
            display_name="Join AV",
            category=CATEGORY,
            description="Puts a clip and its continuation together: no picture or sample twice, none missing, colours "
            "and loudness of the first.",
            search_aliases=["concat", "append", "stitch", "merge video"],
            inputs=[
                io.Image.Input("images", tooltip="Pictures of the clip so far."),
                io.Audio.Input("audio", tooltip="The sound of the clip so far."),
                io.Image.Input("next_images", tooltip="Pictures of its continuation, from Decode AV."),
                io.Audio.Input("next_audio", tooltip="The continuation's sound, from Decode AV."),
                io.Float.Input("fps", default=24.0, min=1.0, max=240.0, step=0.001, tooltip="Wire fps of Decode AV."),
                _overlap_input(),
                io.Boolean.Input(
                    "one_scene",
                    default=True,
                    tooltip="The continuation gets the mean colour of the clip so far, so that a chain of clips does "
                    "not drift. Off where the light or the camera changes.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    tooltip="The pictures of both clips as one; wire them into Save MP4, or into Continue AV for more.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    tooltip="The sound of both clips as one, as long as the pictures; wire it where they go.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        audio: dict[str, Any],
        next_images: Tensor,
        next_audio: dict[str, Any],
        fps: float,
        overlap: int,
        one_scene: bool,
    ) -> io.NodeOutput:
        """Joins pictures and sounds."""
        if audio is None or next_audio is None:
            raise ValueError("Join AV: a clip without sound cannot be joined: wire audio of Decode AV for both.")
        rate = audio["sample_rate"]
        first = audio["waveform"][0]
        second = resample(next_audio["waveform"][0], next_audio["sample_rate"], rate)
        if second.shape[0] != first.shape[0]:
            second = second.mean(0, keepdim=True).expand(first.shape[0], -1)
        pictures = join_pictures(images, next_images, overlap, one_scene=one_scene)
        sound = join_sounds(first, second.to(first), (len(images), len(next_images)), overlap, fps, rate)
        return io.NodeOutput(pictures, {"waveform": sound[None], "sample_rate": rate})


def hold_beginning(
    latent: dict[str, Any], encoded: Tensor, sound: Tensor, config: UniTalkingConfig, node: str
) -> dict[str, Any]:
    """The LATENT with its first latents of both streams set and held.

    Args:
        latent: nested, of the whole clip.
        encoded: video latents (1, C, k + 1, H, W).
        sound: audio latents (1, C, n), those that the given pictures determine fully.
        config: the model's rates.
        node: for the message.

    Raises:
        ValueError: latents of another codec.
    """
    video, audio = (part.clone() for part in latent["samples"].unbind())
    if encoded.shape[1] != video.shape[1] or encoded.shape[3:] != video.shape[3:]:
        raise ValueError(
            f"{node}: the VAE gives latents of shape {tuple(encoded.shape)}, the clip has {tuple(video.shape)}: "
            "use vae of the same Load UniTalking Model."
        )
    count = encoded.shape[2]
    video[:, :, :count], audio[:, :, : sound.shape[2]] = encoded.to(video), sound.to(audio)
    return held(latent, (video, audio), "infill", config, ((0, count),))


def encode_beginning(
    audio_vae: Any, waveform: Tensor, sample_rate: int, frames: int, config: UniTalkingConfig
) -> Tensor:
    """The sound (1, channels, S) of so many frames as the latents (1, C, n) that it determines fully."""
    rates = (config.fps, config.sample_rate, config.samples_per_latent)
    sound = encode_sound(audio_vae, waveform, sample_rate, timeline.audio_latents(frames, *rates))
    return sound[:, :, : timeline.audio_latents_within(frames, *rates)]


def tail_of(audio: dict[str, Any], frames: int, overlap: int, fps: float) -> Tensor:
    """The sound of a clip's last `overlap` of so many frames, (1, channels, S): by the pictures' time, silence where
    it ends before them."""
    rate = audio["sample_rate"]
    begin, end = (timeline.samples_kept(count, fps, rate) if count else 0 for count in (frames - overlap, frames))
    tail = audio["waveform"][:1, :, begin:end]
    return functional.pad(tail, (0, end - begin - tail.shape[-1]))


def _check_size(images: Tensor, config: UniTalkingConfig) -> None:
    height, width = images.shape[1:3]
    if height % config.side_multiple or width % config.side_multiple:
        raise ValueError(
            f"Continue AV: the pictures are {width}x{height}, expected sides that are multiples of "
            f"{config.side_multiple}: continue what Decode AV gave, and enlarge or crop the joined clip."
        )


def _check_length(frames: int, audio: dict[str, Any], fps: float) -> None:
    """Pictures of another rate would have their sound at another time."""
    seen_s = timeline.duration_s(frames, fps)
    heard_s = Fraction(audio["waveform"].shape[-1], audio["sample_rate"])
    if abs(seen_s - heard_s) > timeline.duration_s(1, fps):
        raise ValueError(
            f"Continue AV: the clip's {frames} pictures last {float(seen_s):.2f} s at the model's {fps:g} per second, "
            f"its sound {float(heard_s):.2f} s: wire images and audio as Decode AV gives them with fps 0, and change "
            "the rate of the joined clip."
        )


def _checked(overlap: int, available: int, config: UniTalkingConfig) -> int:
    if overlap > available:
        raise ValueError(f"Continue AV: overlap is {overlap}, the clip has {available} pictures: choose a smaller one.")
    if timeline.snap_frames(overlap, config.time_stride) != overlap:
        raise ValueError(
            f"Continue AV: overlap is {overlap}, expected {config.time_stride}n+1, e.g. "
            f"{timeline.snap_frames(overlap, config.time_stride)}: the picture codec encodes nothing else."
        )
    return overlap


def _overlap_input() -> io.Input:
    return io.Int.Input("overlap", default=DEFAULT_OVERLAP, min=1, max=1001, step=4, tooltip=OVERLAP_TOOLTIP)
