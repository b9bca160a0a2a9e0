"""How somebody in a clip moves: how far the head swings, how fast, and how often the eyes shut.

For drawn faces, whose eyes lie where all of them have theirs. Axes: F frames, H W pixels. Source: ours.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import cv2
import numpy as np
from torch import Tensor

HEAD_BOX = (0.15, 0.05, 0.85, 0.85)  # left, top, right, bottom as shares of the picture
EYE_BOX = (0.30, 0.34, 0.70, 0.50)
# Of the eyes' usual contrast: less is a shut eye.
_SHUT = 0.85
_STEP = 4
_STILL_PX = 0.02  # swings below this are the measure's own noise, at 128 pixels


@dataclass(frozen=True)
class Motion:
    """What is seen of a manner.

    Attributes:
        amount: standard deviation of the head's place, in percent of the picture's side.
        speed: mean speed of the head in amounts per second.
        blinks: how often the eyes shut, per second.
    """

    amount: float
    speed: float
    blinks: float

    @property
    def features(self) -> np.ndarray:
        """(3,) numbers in which people differ evenly: the first two as logarithms."""
        amount, speed, blinks = astuple(self)
        return np.array([np.log(amount), np.log(speed), blinks])


def head_motion(frames: Tensor, fps: float) -> Motion:
    """How the person of a clip moves.

    Args:
        frames: (F, H, W, 3) uint8, at least half a second.
        fps: frames per second.

    Raises:
        ValueError: a shorter clip.
    """
    if len(frames) < fps / 2:
        raise ValueError(f"{len(frames)} frames at {fps:g} per second: expected at least half a second.")
    grey = frames.float().mean(3).numpy()
    side = grey.shape[1]
    places = np.array([_moved(grey[0], each) for each in grey]) / side
    noise = _STILL_PX / 128
    amount = max(float(places.std(0).sum()), noise)
    # Over four frames: what a head moves in one is close to what can be told apart.
    path = np.linalg.norm(places[_STEP:] - places[:-_STEP], axis=1).mean() / _STEP * fps
    shut = _shut(grey)
    return Motion(100 * amount, max(float(path), noise) / amount, float((np.diff(shut) == 1).sum() * fps / len(grey)))


def _cut(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    height, width = picture.shape[-2:]
    left, top, right, bottom = box
    return picture[..., round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def _moved(first: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """How far the head is from its place in the first picture, in pixels."""
    before, after = (np.ascontiguousarray(_cut(each, HEAD_BOX), dtype=np.float32) for each in (first, other))
    window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F)
    return cv2.phaseCorrelate(before, after, window)[0]


def _shut(grey: np.ndarray) -> np.ndarray:
    """Whether the eyes are shut, (F,) 0 or 1: an open eye has white beside dark."""
    contrast = _cut(grey, EYE_BOX).reshape(len(grey), -1).std(1)
    return (contrast < _SHUT * np.median(contrast)).astype(int)
