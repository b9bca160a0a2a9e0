"""Where the sound looks in the picture, and where the picture looks in the sound (UniTalking's figure of its joint
attention). No ComfyUI.

Axes: T tokens (Tv of the picture, Ta of the sound), F latent frames, H W tokens of a frame, N heads, Dh their width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import UniTalkingConfig

# Rows of the picture at once: 0.4 GB of weights at full size.
ROWS = 256
# From dark to bright, in equal steps: a heat map that is readable in grey as well.
HEAT = ((0.0, 0.0, 0.02), (0.28, 0.05, 0.42), (0.73, 0.22, 0.33), (0.98, 0.55, 0.04), (0.99, 1.0, 0.64))
# Curves over it: a latent frame's own moment, and the one that it listens to most.
OWN, HEARD = (1.0, 1.0, 1.0), (0.1, 0.85, 1.0)
# Height and width of a latent frame and of an audio latent in the picture of who listens when.
CELL = (12, 4)


class AttentionMaps:
    """Adds up attention between the streams over blocks, as their calls come by.

    Args:
        grid: (F, H, W) tokens of the picture.
        sound: Ta.
        fusion: how the streams meet, "joint" or "cross".

    Attributes:
        to_picture: how much every audio latent looks at every token of the picture, (Ta, F, H, W), summed over calls.
        to_sound: how much every latent frame looks at every audio latent, (F, Ta), summed over calls.
        looks: calls that were added to each of them.
    """

    def __init__(self, grid: tuple[int, int, int], sound: int, fusion: str) -> None:
        self.grid, self.sound, self.fusion = grid, sound, fusion
        self.picture = grid[0] * grid[1] * grid[2]
        self.to_picture = torch.zeros(sound, *grid)
        self.to_sound = torch.zeros(grid[0], sound)
        self.looks = [0, 0]

    @torch.no_grad()
    def add(self, queries: Tensor, keys: Tensor, heads: int) -> None:
        """One call of attention between streams; calls of other lengths are left out.

        Args:
            queries, keys: (T, N * Dh). Of joint attention those of both streams, the picture's first; of the sound
                beside a given picture (TV2A) its own queries; of `cross` fusion one stream's queries, the other's keys.
            heads: N.
        """
        both, lengths = self.picture + self.sound, (len(queries), len(keys))
        looking, listening = ((self.sound, self.picture),), ((self.picture, self.sound),)
        if self.fusion == "joint":
            looking, listening = ((both, both), (self.sound, both)), ((both, both),)
        split = [part.unflatten(-1, (heads, -1)).transpose(0, 1).float() for part in (queries, keys)]  # (N, T, Dh)
        if lengths in looking:
            seen = self._weights(split[0][:, -self.sound :], split[1], slice(self.picture))
            self.to_picture += seen.unflatten(1, self.grid).cpu()
            self.looks[0] += 1
        if lengths in listening:
            heard = self._weights(split[0][:, : self.picture], split[1], slice(-self.sound, None))
            self.to_sound += heard.unflatten(0, (self.grid[0], -1)).mean(1).cpu()
            self.looks[1] += 1

    def _weights(self, queries: Tensor, keys: Tensor, wanted: slice) -> Tensor:
        """Softmax over all keys, mean over heads: (N, Tq, Dh), (N, Tk, Dh) -> (Tq, wanted keys)."""
        keys = keys.transpose(1, 2) * keys.shape[2] ** -0.5
        rows = [(part @ keys).softmax(-1)[..., wanted].mean(0) for part in queries.split(ROWS, dim=1)]
        return torch.cat(rows)

    def frames(self, config: UniTalkingConfig) -> Tensor:
        """Where the sound of each latent frame looks in that frame, (F, H, W); sums to 1 over a frame."""
        frames = self.grid[0]
        moments = (torch.arange(self.sound) * config.position_scale).round().long().clamp(max=frames - 1)
        found = torch.stack([self.to_picture[moments == frame, frame].sum(0) for frame in range(frames)])
        return found / found.sum((1, 2), keepdim=True).clamp_min(1e-12)


def heat(values: Tensor, height: int, width: int) -> Tensor:
    """Colours of maps (F, H, W) that are at most 1, (F, height, width, 3) in [0, 1]."""
    shown = F.interpolate(values[:, None].clamp(0, 1), size=(height, width), mode="bilinear")[:, 0]
    colours = torch.tensor(HEAT)
    place = shown * (len(HEAT) - 1)
    below = place.floor().long().clamp(max=len(HEAT) - 2)
    share = (place - below)[..., None]
    return colours[below] * (1 - share) + colours[below + 1] * share


def over(pictures: Tensor, values: Tensor, time_stride: int, first: int = 0) -> Tensor:
    """Pictures under the heat of the latent frame that each belongs to.

    Args:
        pictures: (n, height, width, 3).
        values: (F, H, W).
        time_stride: pictures of a latent frame.
        first: place of the first picture in the clip that the latent frames are of.
    """
    latent = (torch.arange(first, first + len(pictures)) + time_stride - 1) // time_stride
    shown = (values / values.amax().clamp_min(1e-12))[latent.clamp(max=len(values) - 1)]
    grey = pictures.mean(-1, keepdim=True)
    warm = F.interpolate(shown[:, None].clamp(0, 1), size=pictures.shape[1:3], mode="bilinear")[:, 0, :, :, None]
    return grey * 0.6 * (1 - warm) + heat(shown, *pictures.shape[1:3]) * warm


def timing(to_sound: Tensor, config: UniTalkingConfig) -> Tensor:
    """When the picture listens, (1, height, width, 3): latent frames downwards, audio latents to the right.

    Bright is what a frame listens to; one curve is its own moment (white), the other what it listens to most (blue).

    Args:
        to_sound: (F, Ta).
        config: the rates.
    """
    frames, sound = to_sound.shape
    shown = to_sound / to_sound.amax(1, keepdim=True).clamp_min(1e-12)
    drawn = heat(shown[None], CELL[0] * frames, CELL[1] * sound)
    for places, colour in ((torch.arange(frames) / config.position_scale, OWN), (to_sound.argmax(1), HEARD)):
        drawn[0, _curve((places + 0.5) * CELL[1], *drawn.shape[1:3])] = torch.tensor(colour)
    return drawn


def _curve(across: Tensor, height: int, width: int) -> Tensor:
    """The pixels of a line without gaps, (height, width); across: where it is in F rows of equal height, in pixels."""
    here = F.interpolate(across[None, None], size=height, mode="linear")[0, 0]
    following = torch.cat([here[1:], here[-1:]])
    left, right = torch.minimum(here, following) - 1, torch.maximum(here, following) + 1
    pixels = torch.arange(width) + 0.5
    return (pixels >= left[:, None]) & (pixels <= right[:, None])


def offset_s(to_sound: Tensor, config: UniTalkingConfig) -> tuple[float, float]:
    """How far from its own moment the picture listens most: mean and mean absolute offset of its frames, in seconds.

    Args:
        to_sound: (F, Ta).
        config: the rates.
    """
    latent_s = config.samples_per_latent / config.sample_rate
    frame_s = latent_s / config.position_scale
    apart = to_sound.argmax(1) * latent_s - torch.arange(len(to_sound)) * frame_s
    return float(apart.mean()), float(apart.abs().mean())
