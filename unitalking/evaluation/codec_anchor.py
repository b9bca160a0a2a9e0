"""Real clips through a model's own codec: what a perfect generator with this codec would score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import resample

from ..checkpoint.files import read_model
from ..checkpoint.parts import build_part
from ..codec.audio_codec import AudioCodec
from ..codec.video_vae import TIME_STRIDE, VideoVAE
from .clips import JudgedClip
from .griffin_lim import griffin_lim
from .sound import SAMPLE_RATE, mel_features

Vocoder = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Codec:
    """The codecs of a bundle; None for a part that it lacks."""

    sound: AudioCodec | None
    picture: VideoVAE | None

    @torch.no_grad()
    def sound_through(self, sound: Tensor, vocoder: Vocoder | None = None) -> Tensor:
        """(S,) at 16 kHz through the audio VAE and the vocoder, (S,) again.

        Args:
            sound: the waveform.
            vocoder: mel (1, M, F) -> waveform (1, F * hop) instead of the codec's own.
        """
        if self.sound is None:
            return sound
        rate = self.sound.config.sample_rate
        latents = self.sound.encode(resample(sound[None], SAMPLE_RATE, rate))
        made = self.sound.decode(latents) if vocoder is None else vocoder(self.sound.vae.decode(latents))
        decoded = resample(made.float(), rate, SAMPLE_RATE)[0]
        return functional.pad(decoded, (0, max(0, len(sound) - len(decoded))))[: len(sound)]

    @torch.no_grad()
    def frames_through(self, frames: Tensor) -> Tensor:
        """(F, H, W, 3) uint8 through the video VAE; a clip of another length than 4n + 1 repeats its last frame."""
        if self.picture is None:
            return frames
        missing = -(len(frames) - 1) % TIME_STRIDE
        filled = torch.cat((frames, frames[-1:].expand(missing, -1, -1, -1)))
        scaled = filled.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        decoded = self.picture.decode(self.picture.encode(scaled))[0].permute(1, 2, 3, 0)
        return ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)[: len(frames)]


def load_codec(path: Path) -> Codec:
    """The codecs of a one-file model, in fp32 on the CPU.

    Raises:
        CheckpointError: not such a file.
        ValueError: parts that do not fit the config.
    """
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        model = read_model(tensors, opened.metadata(), path.name)
    parts: dict[str, nn.Module | None] = {"audio_vae": None, "video_vae": None}
    for name in parts:
        if name in model.parts:
            part = build_part(model.config, name, dtype=torch.float32)
            part.load_state_dict({key: value.float() for key, value in model.parts[name].items()})
            parts[name] = part.eval().requires_grad_(False)
    return Codec(parts["audio_vae"], parts["video_vae"])


def through_codec(clip: JudgedClip, codec: Codec, vocoder: Vocoder | None = None) -> JudgedClip:
    """The clip as the codec gives it back; what was asked for stays as it is."""
    frames = None if clip.frames is None else codec.frames_through(clip.frames)
    return replace(clip, sound=codec.sound_through(clip.sound, vocoder), frames=frames)


def mel_distance(sound: Tensor, other: Tensor) -> float:
    """Mean absolute difference of two waveforms' log-mel frames, in natural logarithms; each (S,) at 16 kHz."""
    shorter = min(len(sound), len(other))
    one, two = (mel_features(waveform[None, :shorter]) for waveform in (sound, other))
    return float((one - two).abs().mean()) * 2.302585


def griffin_lim_of(codec: Codec) -> Vocoder:
    """Griffin-Lim on the codec's own mel frames, in place of its vocoder."""
    if codec.sound is None:
        raise ValueError("the bundle has no audio codec, so there is no mel to turn into a waveform.")
    config = codec.sound.config.mel
    return lambda mel: griffin_lim(mel, config)
