"""Decode AV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.utils
import torch
from comfy_api.latest import InputImpl, Types, io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..unitalking import timeline
from ..unitalking.codec.mel import MelConfig
from ..unitalking.codec.tone import matched
from .checks import check_finite
from .conditioning import VoiceSocket
from .constants import CATEGORY, DEFAULT_FPS, LATENT_KEY
from .messages import say
from .vae import AudioVAE
from .voice import Voice, VoiceTurns, check_voice

# Latent cells of a tile and of its overlap; 16 pixels each for Wan2.2's codec.
TILE, OVERLAP = 16, 4
TILE_FRAMES, OVERLAP_FRAMES = 16, 4
# Stops what hangs on the pictures of a clip without any, and nothing else.
NO_PICTURE = ExecutionBlocker("Decode AV: this clip has sound alone. Wire audio into Save Audio.")


class Decode(io.ComfyNode):
    """LATENT -> pictures, sound and video, one list item per clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingDecode",
            display_name="Decode AV",
            category=CATEGORY,
            description="Turns a clip into pictures and sound of exactly the same length. The loudness is left alone.",
            search_aliases=["vae decode", "decode audio"],
            inputs=[
                io.Latent.Input("latent", tooltip="The clip, from a sampler."),
                io.Vae.Input("vae", tooltip="The picture codec, from Load UniTalking Model."),
                io.Vae.Input("audio_vae", tooltip="The sound codec, from Load UniTalking Model."),
                io.Boolean.Input(
                    "tiled",
                    default=False,
                    tooltip="Decode the picture in tiles: less memory, slower, faint seams are possible.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=120.0,
                    step=0.001,
                    tooltip="Pictures per second. 0: what the clip was made for (24 where it does not say).",
                    advanced=True,
                ),
                VoiceSocket.Input(
                    "voice",
                    optional=True,
                    tooltip="The voice that Text Prompt was given: the sound is brought to its tone. Without it the "
                    "sound stays as it was decoded.",
                ),
                io.Float.Input(
                    "voice_tone",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="How much of the difference in tone between sound and voice is made up, by one filter for "
                    "the whole clip. 0: the model's own value (0.75 for the pack's own, none for full-size models). "
                    "To leave the sound alone, do not wire voice.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    is_output_list=True,
                    tooltip="The pictures, clip by clip; wire them into Save MP4 or an upscaler.",
                ),
                io.Audio.Output(
                    display_name="audio",
                    is_output_list=True,
                    tooltip="The sound, clip by clip, exactly as long as the pictures; wire it into Save MP4.",
                ),
                io.Video.Output(
                    display_name="video",
                    is_output_list=True,
                    tooltip="Picture and sound in one, clip by clip, for all that takes a VIDEO, such as Save MP4.",
                ),
                io.Float.Output(
                    display_name="fps", tooltip="Pictures per second; wire it into Save MP4, Join AV or Check Clip."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        latent: dict[str, Any],
        vae: Any,
        audio_vae: Any,
        tiled: bool,
        fps: float,
        voice: Voice | VoiceTurns | None = None,
        voice_tone: float = 0.0,
    ) -> io.NodeOutput:
        """Decodes clip by clip."""
        video, audio = streams_of(latent)
        tone = None if audio is None or voice is None else tone_of(voice, audio_vae, voice_tone)
        if isinstance(tone, str):
            say(cls, f"Decode AV: {tone}")
            tone = None
        fps = fps or float(latent.get(LATENT_KEY, {}).get("fps", DEFAULT_FPS))
        about = latent.get(LATENT_KEY, {})
        frames, cut = about.get("frames"), about.get("cut", 0)
        images, sounds, clips = [], [], []
        count = (audio if video is None else video).shape[0]
        # Its updates are also where the host cancels.
        bar = comfy.utils.ProgressBar(2 * count)
        for index in range(count):
            pictures = None if video is None else decode_pictures(vae, video[index : index + 1], tiled=tiled)
            bar.update(1)
            length = frames if pictures is None else pictures.shape[0]
            sound = None if audio is None else decode_sound(audio_vae, audio[index : index + 1], length, fps)
            bar.update(1)
            if cut:
                pictures, sound = without_beginning(pictures, sound, cut, fps)
            if tone is not None:
                sound = tone.given_to(sound)
            images.append(NO_PICTURE if pictures is None else pictures)
            # Nothing, as the host has it for a silent video: Save MP4 and Create Video take that.
            sounds.append(sound)
            clips.append(NO_PICTURE if pictures is None else _video(pictures, sound, fps))
        return io.NodeOutput(images, sounds, clips, fps)


def streams_of(latent: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
    """Picture and sound latents of a LATENT, None for a stream of length 0.

    Raises:
        ValueError: a latent of an image model.
    """
    samples = latent["samples"]
    parts = list(samples.unbind()) if getattr(samples, "is_nested", False) else [samples]
    if len(parts) > 2 or parts[0].ndim != 5 or (len(parts) == 2 and parts[1].ndim != 3):
        shapes = " and ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(f"Decode AV: the LATENT has shape {shapes}, expected picture and sound from a sampler.")
    audio = parts[1] if len(parts) > 1 and parts[1].shape[2] else None
    return (parts[0] if parts[0].shape[2] else None), audio


def decode_pictures(vae: Any, video: Tensor, *, tiled: bool) -> Tensor:
    """Latents of one clip (1, C, F, H, W) -> pictures (frames, height, width, 3) in [0, 1].

    Raises:
        ValueError: another codec, or NaN.
    """
    channels = getattr(vae, "latent_channels", None)
    if channels != video.shape[1]:
        raise ValueError(
            f"Decode AV: the VAE decodes latents of {channels} channels, the clip has {video.shape[1]}: use vae of the "
            "same Load UniTalking Model."
        )
    check_finite(video, "the picture's latents")
    if tiled:
        sizes = {"tile_x": TILE, "tile_y": TILE, "overlap": OVERLAP}
        pictures = vae.decode_tiled(video, **sizes, tile_t=TILE_FRAMES, overlap_t=OVERLAP_FRAMES)
    else:
        pictures = vae.decode(video)
    check_finite(pictures, "the decoded picture", codec=vae)
    return pictures[0]


def decode_sound(audio_vae: Any, audio: Tensor, frames: int | None, fps: float) -> dict[str, Any]:
    """Latents of one clip (1, C, L) -> AUDIO of exactly the pictures' length, loudness untouched.

    Args:
        audio_vae: the codec.
        audio: latents.
        frames: pictures that the sound belongs to; None: all that was decoded.
        fps: pictures per second.

    Raises:
        ValueError: another codec, or NaN.
    """
    channels = getattr(audio_vae, "latent_channels", None)
    if channels != audio.shape[1]:
        raise ValueError(
            f"Decode AV: the audio VAE decodes latents of {channels} channels, the clip has {audio.shape[1]}: use "
            "audio_vae of the same Load UniTalking Model."
        )
    check_finite(audio, "the sound's latents")
    waveform = audio_vae.decode(audio).movedim(-1, 1)  # (1, channels, samples)
    check_finite(waveform, "the decoded sound", codec=audio_vae)
    rate = audio_vae.audio_sample_rate
    kept = waveform.shape[-1] if frames is None else timeline.samples_kept(frames, fps, rate)
    missing = max(0, kept - waveform.shape[-1])
    return {"waveform": torch.nn.functional.pad(waveform[..., :kept], (0, missing)), "sample_rate": rate}


@dataclass(frozen=True)
class Tone:
    """What a sound is brought to: `frames` of a voice as `codec.tone` makes them, by `strength`, heard by `mel`."""

    frames: Tensor
    mel: MelConfig
    strength: float

    def given_to(self, sound: dict[str, Any]) -> dict[str, Any]:
        """An AUDIO of one clip, whose channels are alike, in this tone."""
        waveform = sound["waveform"]  # (1, channels, samples)
        toned = matched(waveform[0].mean(0), self.frames.to(waveform.device), self.mel, self.strength)
        return {**sound, "waveform": toned.expand_as(waveform).contiguous()}


def tone_of(voice: Voice | VoiceTurns, audio_vae: Any, strength: float) -> Tone | str | None:
    """What the sound is brought to, why it stays as it is, or None where the model asks for nothing.

    Raises:
        ValueError: no audio codec of ours, or a voice of another one.
    """
    if not isinstance(audio_vae, AudioVAE):
        raise ValueError(
            "Decode AV: the VAE is not a UniTalking audio codec, so voice cannot be used: wire audio_vae from Load "
            "UniTalking Model, or leave voice unwired."
        )
    check_voice(voice, audio_vae.codec_id, "Decode AV")
    strength = strength or audio_vae.config.sampling.voice_tone
    if not strength:
        return None
    if isinstance(voice, VoiceTurns):
        return "the sound keeps its tone: voice has several voices, and one filter cannot be all of theirs."
    if voice.frames is None:
        return "the sound keeps its tone: the voice's file is older than that; encode its clip again and save it."
    return Tone(voice.frames, audio_vae.mel, strength)


def without_beginning(
    pictures: Tensor | None, sound: dict[str, Any] | None, frames: int, fps: float
) -> tuple[Tensor | None, dict[str, Any] | None]:
    """A clip's pictures (F, H, W, 3) and AUDIO without its first `frames` pictures and their sound."""
    if pictures is not None:
        pictures = pictures[frames:]
    if sound is not None:
        begin = timeline.samples_kept(frames, fps, sound["sample_rate"])
        sound = {**sound, "waveform": sound["waveform"][..., begin:]}
    return pictures, sound


def _video(pictures: Tensor, sound: dict[str, Any] | None, fps: float) -> Any:
    components = Types.VideoComponents(images=pictures, audio=sound, frame_rate=timeline.rational(fps))
    return InputImpl.VideoFromComponents(components)
