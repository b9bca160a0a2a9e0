"""Trains the judge that hears how far a mouth is open, on the tracks that the drawn mouths follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..synthetic.visemes import mouth_track
from .judges import at_picture_times
from .lessons import Course, Recording, autocast, choose, generator, heard, learn
from .networks import FrameJudge, ListenerConfig
from .sound import FRAMES_PER_S, WARP
from .sync import correlation

CONFIG = ListenerConfig(dim=128, dilations=(1, 2, 1, 2), stride=1, outputs=1)
COURSE = Course(steps=700, batch=32, rate=2e-3)
FPS = 24
CHECK_EVERY = 200


def true_track(recording: Recording, times: np.ndarray) -> np.ndarray:
    """The opening that is drawn for a recording at some times, in seconds."""
    return mouth_track(recording.speech.phonemes, times)[0]


def openness_correlations(judge: FrameJudge, recordings: Sequence[Recording]) -> list[float]:
    """Correlation of each clip's heard and true opening at 24 pictures per second."""
    found = []
    for each in recordings:
        frames = int(each.mel.shape[1] / FRAMES_PER_S * FPS)
        with torch.no_grad():
            track = at_picture_times(judge(each.mel.float()[None])[0, :, 0].float(), frames, FPS)
        found.append(correlation(track.numpy(), true_track(each, np.arange(frames) / FPS)))
    return found


def train_openness(
    recordings: list[Recording], held_out: list[Recording], course: Course = COURSE
) -> tuple[FrameJudge, float]:
    """A judge, and the seconds that it took."""
    torch.manual_seed(course.seed)
    judge = FrameJudge(CONFIG)

    def loss_of(step: int) -> Tensor:
        chosen = choose(recordings, course, step)
        mel = heard(chosen, generator(course.seed, step), WARP)
        times = (np.arange(mel.shape[2]) + 0.5) / FRAMES_PER_S
        wanted = torch.from_numpy(np.stack([true_track(each, times) for each in chosen])).float()
        with autocast():
            track = judge(mel)[:, :, 0]
        return functional.mse_loss(track.float(), wanted)

    def check() -> str:
        found = openness_correlations(judge, held_out)
        return f"correlation with the truth, held out: mean {np.mean(found):.4f}, worst {min(found):.3f}"

    return judge, learn("openness", judge, loss_of, course, check, CHECK_EVERY)
