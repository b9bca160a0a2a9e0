"""The judges' networks: small convolutions over what is heard, and one over what is seen.

B clips, M mel bands, F mel frames, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..codec.checks import positive_integer, positive_integers
from ..codec.video_vae import ChannelNorm
from .sound import MELS

KERNEL = 5
MARGIN = 8  # frames of silence around every clip, so that its ends look like pauses
PICTURE_CHANNELS = 3


@dataclass(frozen=True)
class ListenerConfig:
    """A stack of residual convolutions over mel frames.

    Attributes:
        dim: width, D.
        dilations: one residual block each.
        stride: mel frames per step of the stack.
        outputs: values per mel frame (phonemes, openness), or of the whole clip (speaker).
    """

    dim: int
    dilations: tuple[int, ...]
    stride: int
    outputs: int

    def __post_init__(self) -> None:
        for name in ("dim", "stride", "outputs"):
            positive_integer(f"ListenerConfig.{name}", getattr(self, name))
        positive_integers("ListenerConfig.dilations", self.dilations)


class TimeBlock(nn.Module):
    """x + pointwise(act(conv(norm(x)))) along time; (B, D, F) -> (B, D, F)."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim)
        self.conv = nn.Conv1d(dim, dim, KERNEL, padding=dilation * (KERNEL // 2), dilation=dilation)
        self.out = nn.Conv1d(dim, dim, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.out(functional.silu(self.conv(self.norm(hidden))))


class Listener(nn.Module):
    """The stack that all sound judges share in kind, not in weights; (B, M, F) -> (B, D, ceil(F / stride))."""

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.stride = config.stride
        self.stem = nn.Conv1d(MELS, config.dim, KERNEL, padding=KERNEL // 2)
        self.down = nn.Conv1d(config.dim, config.dim, config.stride, stride=config.stride)
        self.blocks = nn.ModuleList(TimeBlock(config.dim, dilation) for dilation in config.dilations)
        self.norm = ChannelNorm(config.dim)

    def forward(self, mel: Tensor) -> Tensor:
        mel = functional.pad(mel, (0, -mel.shape[2] % self.stride))
        hidden = self.down(functional.silu(self.stem(mel)))
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)


class FrameJudge(nn.Module):
    """`outputs` values for every mel frame: phoneme scores, or the mouth's opening."""

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.config = config
        self.listener = Listener(config)
        self.head = nn.Conv1d(config.dim, config.stride * config.outputs, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) -> (B, F, outputs)."""
        return self.scores(self.listener(functional.pad(mel, (MARGIN, MARGIN))), mel.shape[2])

    def scores(self, hidden: Tensor, frames: int) -> Tensor:
        """What the head makes of the stack's output, (B, D, steps) -> (B, frames, outputs)."""
        scores = self.head(hidden).unflatten(1, (self.config.outputs, self.config.stride))
        return scores.permute(0, 3, 2, 1).flatten(1, 2)[:, MARGIN : MARGIN + frames]


class ClipJudge(nn.Module):
    """One embedding of length 1 for a whole clip: attention-weighted mean and spread over time (the speaker)."""

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.config = config
        self.listener = Listener(config)
        self.attention = nn.Conv1d(config.dim, 1, 1)
        self.head = nn.Linear(2 * config.dim, config.outputs)
        # Without it all clips start out in one direction, and classes by cosine never come apart.
        self.centre = nn.BatchNorm1d(config.outputs, affine=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) -> (B, outputs); silent frames (all zero) have no weight."""
        hidden = self.listener(mel).float()
        heard = functional.max_pool1d(mel.amax(dim=1, keepdim=True), self.config.stride, ceil_mode=True) > 0
        scores = self.attention(hidden).float()[:, :, : heard.shape[2]].masked_fill(~heard, -1e4)
        weights = scores.softmax(dim=2)
        mean = (weights * hidden).sum(dim=2)
        spread = (weights * (hidden - mean[:, :, None]).square()).sum(dim=2).clamp_min(1e-5).sqrt()
        return functional.normalize(self.centre(self.head(torch.cat((mean, spread), dim=1)).float()), dim=1)
