"""Batches of short stretches of pictures for the video VAE. B clips of this process, F frames, H W pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..codec.video_vae import SPACE_STRIDE, TIME_STRIDE
from .draws import generator, uniform
from .settings import require


class Pictures(Protocol):
    """The pictures of one clip: frames (F, H, W, 3) uint8, and where its mouth is (left, top, right, bottom)."""

    frames: Tensor
    mouth_box: tuple[int, int, int, int]


class PictureClips(Protocol):
    """Clips by number, each the same whenever it is asked for."""

    def __len__(self) -> int: ...

    def clip(self, index: int) -> Pictures: ...


@dataclass(frozen=True)
class FrameSettings:
    """Which stretches of the clips are trained on.

    Attributes:
        frames: lengths that batches take in turn, 4 n + 1 frames.
        flip_share: share of the samples that are mirrored left to right.
        kept: frames of a clip that are kept in memory, spread as stretches of the longest length; 0: all.
    """

    frames: tuple[int, ...] = (9,)
    flip_share: float = 0.5
    kept: int = 0

    def __post_init__(self) -> None:
        fits = bool(self.frames) and all(count >= 1 and count % TIME_STRIDE == 1 for count in self.frames)
        require(fits, "frames.frames", self.frames, "numbers 4 n + 1")
        require(0 <= self.flip_share <= 1, "frames.flip_share", self.flip_share, "a share of the samples, 0 to 1")
        require(self.kept == 0 or self.kept >= max(self.frames), "frames.kept", self.kept, "0, or at least the longest")


class FrameBatch(NamedTuple):
    """Stretches of clips, and the noise of their latents.

    Attributes:
        keys: which clips these are.
        frames: (B, 3, F, H, W) uint8.
        mouth: 1 at the mouth, 0 elsewhere, (B, 1, 1, H, W).
        noise: standard normal, (B, C, (F + 3) / 4, H / 16, W / 16).
    """

    keys: tuple[str, ...]
    frames: Tensor
    mouth: Tensor
    noise: Tensor


class KeptPictures:
    """Clips that are drawn once, when first asked for; 49 kB a frame of 128 x 128."""

    def __init__(self, clips: PictureClips, kept: int) -> None:
        self.clips, self.kept = clips, kept
        self._clips: dict[int, tuple[Tensor, tuple[int, int, int, int]]] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int) -> tuple[Tensor, tuple[int, int, int, int]]:
        """Frames (F, H, W, 3) of clip `index`, its middle `kept` ones if it has more, and the box of its mouth."""
        if index not in self._clips:
            clip = self.clips.clip(index)
            spare = max(0, clip.frames.shape[0] - self.kept) if self.kept else 0
            frames = clip.frames[spare // 2 : clip.frames.shape[0] - (spare - spare // 2)]
            self._clips[index] = (frames.clone(), clip.mouth_box)
        return self._clips[index]


class FrameBatches:
    """Stretches of random clips, a function of seed, batch number and place in the whole batch.

    Args:
        clips: kept in memory.
        settings: of the stretches.
        size: samples of a micro-batch over all processes.
        seed: of the run.
        latent_channels: C.
    """

    def __init__(
        self, clips: KeptPictures, settings: FrameSettings, size: int, seed: int, latent_channels: int
    ) -> None:
        self.clips, self.settings, self.size, self.seed = clips, settings, size, seed
        self.latent_channels = latent_channels

    def batch(self, index: int, rank: int, ranks: int) -> FrameBatch:
        """The share of process `rank` of `ranks` in micro-batch `index`."""
        count = self.settings.frames[index % len(self.settings.frames)]
        share = self.size // ranks
        drawn = [self._draw(index, sample, count) for sample in range(rank * share, (rank + 1) * share)]
        keys, frames, mouths, noise = zip(*drawn, strict=True)
        return FrameBatch(keys, torch.stack(frames), torch.stack(mouths), torch.stack(noise))

    def _draw(self, index: int, sample: int, count: int) -> tuple[str, Tensor, Tensor, Tensor]:
        random = generator(self.seed, index, sample)
        number = int(uniform(random) * len(self.clips))
        place, mirrored = uniform(random), uniform(random) < self.settings.flip_share
        frames, box = self.clips.clip(number)
        pictures, mouth = _stretch(frames, count, place), mouth_mask(frames, box)
        if mirrored:
            pictures, mouth = pictures.flip(-1), mouth.flip(-1)
        height, width = (side // SPACE_STRIDE for side in frames.shape[1:3])
        shape = (self.latent_channels, (count - 1) // TIME_STRIDE + 1, height, width)
        return str(number), pictures.contiguous(), mouth, torch.randn(shape, generator=random)


def _stretch(frames: Tensor, count: int, place: float) -> Tensor:
    """`count` frames (3, count, H, W) at `place` in [0, 1) of what can be chosen; a shorter clip ends with a still."""
    spare = frames.shape[0] - count
    if spare < 0:
        frames, spare = torch.cat((frames, frames[-1:].expand(-spare, -1, -1, -1))), 0
    start = int(place * (spare + 1))
    return frames[start : start + count].permute(3, 0, 1, 2)


def mouth_mask(frames: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """1 inside the box (left, top, right, bottom), (1, 1, H, W)."""
    left, top, right, bottom = box
    mask = torch.zeros(1, 1, *frames.shape[1:3])
    mask[..., top:bottom, left:right] = 1
    return mask


def first_frames(clips: PictureClips, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` frames of every clip, (N, 3, count, H, W) uint8, and their mouths (N, 1, 1, H, W)."""
    found = [clips.clip(index) for index in range(len(clips))]
    masks = [mouth_mask(clip.frames, clip.mouth_box) for clip in found]
    return torch.stack([_stretch(clip.frames, count, 0.0) for clip in found]), torch.stack(masks)
