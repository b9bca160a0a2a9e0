"""What a model is: every size, rate and default, as frozen data.

Field names are those of public checkpoints and of the reference files where those have one. A config never holds
tensors; latent statistics travel as tensors beside the weights (`checkpoint`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import timeline

FORMAT_VERSION = 1
FUSIONS = ("joint", "cross")
AUDIO_STEMS = ("linear", "conv")
PROMPT_STYLES = ("tagged", "plain", "ovi_1.0", "ovi_1.1")


def _above_zero(data: object, *names: str) -> None:
    for name in names:
        if not getattr(data, name) > 0:
            raise ValueError(f"{name}: got {getattr(data, name)}, expected a number above 0.")


@dataclass(frozen=True)
class Sampling:
    """Sampling defaults of a model (Wan2.2's and Ovi's; the paper does not say).

    Attributes:
        skipped_block: the block that the negative pass leaves out in both streams (skip-layer guidance, Ovi); 0: none.
        guidance_lips: how strictly the sound keeps to pictures that are given; 1: as trained.
        voice_tone: how much of the difference in tone between the decoded sound and its voice is made up; 0: none.
    """

    steps: int = 50
    sigma_shift: float = 5.0
    guidance_video: float = 4.0
    guidance_audio: float = 3.0
    skipped_block: int = 0
    guidance_lips: float = 1.0
    voice_tone: float = 0.0

    def __post_init__(self) -> None:
        _above_zero(self, "steps", "sigma_shift")
        if not 0 <= self.voice_tone <= 1:
            raise ValueError(f"voice_tone: got {self.voice_tone}, expected a number from 0 to 1.")
        if self.skipped_block < 0:
            raise ValueError(f"skipped_block: got {self.skipped_block}, expected a block's number, or 0 for none.")


@dataclass(frozen=True)
class Trained:
    """The range a model was trained in: what widgets default to and what tooltips and warnings quote.

    Attributes:
        description: what the model is, as in "a small model of drawn faces"; ends no sentence.
        characters: all that its texts were written with, small letters for both; "": any.
    """

    width: int = 704
    height: int = 704
    frames: int = 121
    max_area: int = 704 * 1280
    max_frames: int = 241
    description: str = ""
    characters: str = ""

    def __post_init__(self) -> None:
        _above_zero(self, "width", "height", "frames", "max_area", "max_frames")


@dataclass(frozen=True)
class UniTalkingConfig:
    """One model: two streams of one size, their latents, rates and defaults.

    Sizes and defaults are the full model's (UniTalking Sec. 3, Wan2.2-TI2V-5B); everything the paper leaves open is
    listed in `docs/design.md` and is ours.

    Attributes:
        fusion: how the streams meet: `joint`, one softmax over both streams' tokens (UniTalking); `cross`, each
            stream's cross-attention attends to the other's tokens as well (Ovi).
        joint_blocks: in the first so many blocks the streams meet, in the rest they do not; None: in all.
        in_dim, out_dim: channels of the video latent.
        audio_channels: channels of the audio latent; 0: the model has no sound stream (Wan2.2).
        patch_size: (time, height, width) of a video token, in latent cells.
        audio_stem: how audio latents become tokens: `linear`, each by itself; `conv`, with its neighbours (Ovi).
        rope_theta: base of the rotary frequencies on each axis.
        time_scale: multiplies the time positions of both streams. Small models on short clips resolve time finer with
            more than 1; then an audio latent is a good unit (1 / `position_scale`).
        audio_position_scale: position of audio latent 1 on the video's time axis; None: from the rates.
        extra_positions: (rows, columns) of learned spatial positions, with a projection of absolute time; None: off.
        reference_tokens: audio latents of the voice reference; 0: the model takes no voice.
        reference_streams: the streams whose cross-attention has reference keys and values.
        video_stride: (time, height, width) pictures and pixels of one video latent cell.
        sample_rate, hop: of the audio codec; one audio latent is 2 * hop samples.
        lengths: (frames, audio latents) of the only clips that the model makes; (): any 4n+1 frames, and the audio
            latents that cover them.
        text_encoder, video_vae, audio_codec: configs of the parts that a bundle carries, None where it has none.
    """

    format_version: int = FORMAT_VERSION
    name: str = ""
    fusion: str = "joint"
    joint_blocks: int | None = None
    dim: int = 3072
    ffn_dim: int = 14336
    num_heads: int = 24
    num_layers: int = 30
    in_dim: int = 48
    out_dim: int = 48
    audio_channels: int = 40
    patch_size: tuple[int, int, int] = (1, 2, 2)
    audio_stem: str = "linear"
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    eps: float = 1e-6
    rope_theta: float = 10000.0
    time_scale: float = 1.0
    audio_position_scale: float | None = None
    extra_positions: tuple[int, int] | None = None
    reference_tokens: int = 257
    reference_streams: tuple[str, ...] = ("audio",)
    video_stride: tuple[int, int, int] = (4, 16, 16)
    fps: float = 24
    sample_rate: int = 44100
    hop: int = 512
    lengths: tuple[tuple[int, int], ...] = ()
    prompt_style: str = "tagged"
    sampling: Sampling = field(default_factory=Sampling)
    trained: Trained = field(default_factory=Trained)
    text_encoder: Mapping[str, Any] | None = None
    video_vae: Mapping[str, Any] | None = None
    audio_codec: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(
                f"format_version: got {self.format_version}, this version of the pack reads {FORMAT_VERSION}; "
                "update the pack or convert the file."
            )
        self._one_of("fusion", FUSIONS)
        self._one_of("audio_stem", AUDIO_STEMS)
        self._one_of("prompt_style", PROMPT_STYLES)
        for name in ("dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "out_dim", "text_dim"):
            self._at_least(name, 1)
        self._at_least("audio_channels", 0)
        for name in ("text_len", "freq_dim", "sample_rate", "hop"):
            self._at_least(name, 1)
        _above_zero(self, "eps", "rope_theta", "time_scale", "fps")
        self._at_least("reference_tokens", 0)
        if self.dim % self.num_heads or self.head_dim % 2:
            raise ValueError(
                f"dim, num_heads: got {self.dim} and {self.num_heads}; dim must be num_heads times an even number."
            )
        if self.freq_dim % 2:
            raise ValueError(f"freq_dim: got {self.freq_dim}, expected an even number.")
        if self.joint_blocks is not None and not 0 <= self.joint_blocks <= self.num_layers:
            raise ValueError(f"joint_blocks: got {self.joint_blocks}, expected 0 to num_layers = {self.num_layers}.")
        unknown = set(self.reference_streams) - {"video", "audio"}
        if unknown:
            raise ValueError(f"reference_streams: got {sorted(unknown)}, expected 'video', 'audio' or both.")
        token = [stride * patch for stride, patch in zip(self.video_stride[1:], self.patch_size[1:], strict=True)]
        if len(set(token)) > 1 or min(token) < 1:
            raise ValueError(
                f"video_stride, patch_size: got {self.video_stride} and {self.patch_size}, which make tokens of "
                f"{token[0]}x{token[1]} pixels; they must be square."
            )
        if self.patch_size[0] != 1:
            raise ValueError(f"patch_size: got {self.patch_size}; a token spans one latent frame, so time must be 1.")

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise ValueError(f"{name}: got {getattr(self, name)!r}, this version implements {', '.join(known)}.")

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise ValueError(f"{name}: got {getattr(self, name)}, expected at least {least}.")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.num_heads

    @property
    def time_stride(self) -> int:
        """Pictures per video latent (all but the first)."""
        return self.video_stride[0]

    @property
    def longest_frames(self) -> int:
        """Pictures of the longest clip: of those that the model makes, or that it was trained on."""
        return max((frames for frames, _ in self.lengths), default=self.trained.max_frames)

    @property
    def samples_per_latent(self) -> int:
        """Samples of one audio latent: the audio VAE halves the mel frames."""
        return 2 * self.hop

    @property
    def audio_latents_per_s(self) -> float:
        """Audio latents per second."""
        return self.sample_rate / self.samples_per_latent

    def audio_latents(self, frames: int) -> int:
        """Audio latents of a clip of so many frames: the model's own table first, else those that cover them."""
        return dict(self.lengths).get(frames) or timeline.audio_latents(
            frames, self.fps, self.sample_rate, self.samples_per_latent
        )

    @property
    def side_multiple(self) -> int:
        """Pixels that width and height must be a multiple of: one token."""
        return self.video_stride[1] * self.patch_size[1]

    @property
    def position_scale(self) -> float:
        """Position of audio latent 1 on the video's time axis."""
        if self.audio_position_scale is not None:
            return self.audio_position_scale
        rates = (self.fps, self.time_stride, self.sample_rate, self.samples_per_latent)
        return float(timeline.position_scale(*rates))

    def is_joint(self, block: int) -> bool:
        """Whether the two streams meet in block number `block`."""
        return self.joint_blocks is None or block < self.joint_blocks
