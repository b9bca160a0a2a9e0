"""SyncNet: how well lips and sound fit, by the public `syncnet_v2.model`.

N windows, T video frames at 25 fps. A window is 5 frames of a 224 x 224 face and the 20 cepstra (0.2 s) beside it.

Source: Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016), with the layer sizes and names of the
published weights. Sync-D is the mean distance of the two embeddings at the best offset, Sync-C the median over offsets
minus that minimum.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..clips import Frames
from .mfcc import mfcc

WEIGHTS = "syncnet_v2.model"
FPS = 25
SIZE = 224
WINDOW_FRAMES = 5
WINDOW_CEPSTRA = 20
CEPSTRA_PER_FRAME = 4
SAMPLES_PER_FRAME = 640
LARGEST_OFFSET = 10
EMBEDDING = 1024
DISTANCE_EPS = 1e-6
BATCH = 20


@dataclass(frozen=True)
class SyncScore:
    """SyncNet's verdict on a clip.

    Attributes:
        confidence: Sync-C, higher is better.
        distance: Sync-D, lower is better.
        offset: frames at 25 fps by which the sound is early: shown later, it would fit best.
    """

    confidence: float
    distance: float
    offset: int


class SyncNet(nn.Module):
    """Two towers into one space; parameter names are those of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_layer(nn.Conv2d(1, 64, 3, padding=1)),
            nn.MaxPool2d(1, 1),
            *_layer(nn.Conv2d(64, 192, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_layer(nn.Conv2d(192, 384, 3, padding=1)),
            *_layer(nn.Conv2d(384, 256, 3, padding=1)),
            *_layer(nn.Conv2d(256, 256, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_layer(nn.Conv2d(256, 512, (5, 4))),
        )
        self.netcnnlip = nn.Sequential(
            *_layer(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_layer(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_layer(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_layer(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer(nn.Conv3d(256, 512, (1, 6, 6))),
        )
        self.netfcaud = _embedding()
        self.netfclip = _embedding()

    def hear(self, cepstra: Tensor) -> Tensor:
        """(N, 1, 13, 20) -> (N, 1024)."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))

    def see(self, faces: Tensor) -> Tensor:
        """(N, 3, 5, 224, 224), blue, green, red in 0 .. 255 -> (N, 1024)."""
        return self.netfclip(self.netcnnlip(faces).flatten(1))

    def score(self, frames: Frames, fps: float, waveform: Tensor) -> SyncScore | None:
        """The verdict on a clip; None where there are fewer than 6 frames of 1/25 s of picture and sound.

        Args:
            frames: (F, H, W, 3) uint8, red, green, blue: the face with a margin, of any size.
            fps: of the frames.
            waveform: (S,) at 16 kHz, in [-1, 1].
        """
        shown = at_25_fps(len(frames), fps)
        windows = min(len(shown), len(waveform) // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if windows < 1:
            return None
        cepstra = torch.from_numpy(mfcc(waveform.numpy())).float()
        seen, heard = [], []
        with torch.no_grad():
            for start in range(0, windows, BATCH):
                part = range(start, min(windows, start + BATCH))
                faces = _faces(frames[shown[start : part.stop + WINDOW_FRAMES - 1]])
                seen.append(self.see(faces.unfold(1, WINDOW_FRAMES, 1).movedim(1, 0).movedim(-1, 2)))
                heard.append(self.hear(torch.stack([_cepstra_of(cepstra, frame) for frame in part])[:, None]))
        return compare(torch.cat(seen), torch.cat(heard))


def compare(seen: Tensor, heard: Tensor) -> SyncScore:
    """The verdict from the embeddings of all windows, each (N, D); beyond the clip's ends the sound's are zero."""
    padded = functional.pad(heard, (0, 0, LARGEST_OFFSET, LARGEST_OFFSET))
    shifted = (padded[start : start + len(seen)] for start in range(2 * LARGEST_OFFSET + 1))
    distances = torch.stack([(seen - each + DISTANCE_EPS).norm(dim=1).mean() for each in shifted])
    smallest, place = distances.min(dim=0)
    return SyncScore(float(distances.median() - smallest), float(smallest), LARGEST_OFFSET - int(place))


def load_syncnet(folder: Path) -> SyncNet:
    """SyncNet with the weights in `folder / "syncnet_v2.model"`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or weights that do not fit.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the published weights of SyncNet, `{WEIGHTS}`.")
    network = SyncNet()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not the published weights of SyncNet ({str(error).splitlines()[0]}).") from error
    return network.eval()


def at_25_fps(frames: int, fps: float) -> Tensor:
    """Which of so many frames is shown at each 1/25 s, (round(frames / fps * 25),)."""
    count = max(1, round(frames / fps * FPS))
    return torch.from_numpy(np.floor(np.arange(count) / FPS * fps + 0.5).astype(np.int64).clip(0, frames - 1))


def _faces(frames: Tensor) -> Tensor:
    """What SyncNet sees of (T, H, W, 3) uint8: (3, T, 224, 224), in OpenCV's order of colours."""
    faces = frames.flip(-1).permute(0, 3, 1, 2).float()
    return functional.interpolate(faces, (SIZE, SIZE), mode="bilinear", antialias=True).transpose(0, 1)


def _cepstra_of(cepstra: Tensor, frame: int) -> Tensor:
    start = frame * CEPSTRA_PER_FRAME
    part = cepstra[:, start : start + WINDOW_CEPSTRA]
    return functional.pad(part, (0, WINDOW_CEPSTRA - part.shape[1]))


def _layer(convolution: nn.Conv2d | nn.Conv3d) -> Sequence[nn.Module]:
    norm = nn.BatchNorm3d if isinstance(convolution, nn.Conv3d) else nn.BatchNorm2d
    return convolution, norm(convolution.out_channels), nn.ReLU()


def _embedding() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING))
