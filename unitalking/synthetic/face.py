"""A drawn talking face: the still parts are painted once, what moves is pasted and the head is turned per frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from .canvas import BEHIND, FRONT, SUPERSAMPLE, Canvas
from .features import JAW_DROP, draw_eyes, draw_mouth
from .head import draw_glasses, draw_head
from .look import Look
from .scene import draw_body, draw_room

# What moves, in units of the picture or of the person: the head (left, right; the second one for much hair), the eyes
# and the lower face (left, top, right, bottom).
_HEAD_SPANS = ((0.203125, 0.796875), (0.125, 0.875))
_EYES_BOX = (0.27, 0.325, 0.73, 0.515)
_JAW_BOX = (0.315, 0.560, 0.685, 0.880)
_CHIN_Y = 0.745
# How far shift and tilt carry the edge of the head.
_REACH = 0.05
# Where the neck holds the head.
_PIVOT = (0.5, 0.80)
_PAD = 0.09
# People are drawn this much larger than their coordinates say, about the middle.
ZOOM = 1.12
TILT_STEP_DEG = 0.25
# States of the face that are told apart; each is painted once per clip.
_OPENNESS_STEPS, _WIDTH_STEPS, _GAZE_STEPS, _LID_STEPS = 18, 3, 4, 3


def zoomed(place: float) -> float:
    """Where a coordinate of the person lies in the picture."""
    return 0.5 + (place - 0.5) * ZOOM


@dataclass(frozen=True)
class Pose:
    """What a face does in one frame.

    Attributes:
        openness, width: of the mouth, 0 to 1 and -1 (rounded) to 1 (spread).
        blink: 0 (open) to 1 (closed).
        gaze: (right, down), -1 to 1.
        lift: of the brows, 0 to 1.
        shift: of the head, (right, down), in units of the picture's side, at most 0.04.
        tilt_deg: of the head, clockwise, at most 8.
    """

    openness: float = 0.0
    width: float = 0.0
    blink: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    lift: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    tilt_deg: float = 0.0


class Face:
    """A person as drawn at one size.

    Args:
        look: who.
        size: side of the pictures in pixels.
    """

    def __init__(self, look: Look, size: int) -> None:
        self.look, self.size = look, size
        self._side = size * SUPERSAMPLE
        room, body, head = Canvas.empty(self._side), self._canvas(), self._canvas()
        draw_room(room, look)
        draw_body(body, look)
        draw_head(head, look)
        self._head = _packed(head.image)
        covered = np.asarray(body.image)[..., 3] > 0
        room.image.paste(body.image, (0, 0), body.image)
        self._still = _packed(room.image)
        self._still_small = _reduced(self._still)
        # A pixel of the head is seen if its layer is above what covers it there.
        self._threshold = np.where(covered, np.uint32(FRONT << 24), np.uint32(BEHIND << 24))
        self._mouths: dict[tuple[int, int], np.ndarray] = {}
        self._eyes: dict[tuple[float, tuple[float, float], float], np.ndarray] = {}
        pad = round(_PAD * self._side)
        self._padded = np.pad(self._head, pad)
        self._shown: tuple[object, object] = (None, None)
        self._moving = self._moving_part()

    def frames(self, poses: list[Pose]) -> np.ndarray:
        """One picture per pose, (len(poses), size, size, 3) uint8."""
        pictures = np.repeat(self._still_small[None], len(poses), axis=0)
        left, right, bottom = self._moving
        part = np.s_[: bottom * SUPERSAMPLE, left * SUPERSAMPLE : right * SUPERSAMPLE]
        still, threshold = self._still[part], self._threshold[part]
        for picture, pose in zip(pictures, poses, strict=True):
            self._show(pose)
            seen = self._turned(pose)
            picture[:bottom, left:right] = _reduced(np.where(seen >= threshold, seen, still))
        return pictures

    def _moving_part(self) -> tuple[int, int, int]:
        """The picture's pixels that the head can reach: left, right, bottom."""
        reach = _REACH * self._side
        columns = np.flatnonzero(self._head.any(0))
        rows = np.flatnonzero(self._head.any(1))
        free = min(columns[0], self._side - 1 - columns[-1]) - reach
        span = _HEAD_SPANS[0 if free > _HEAD_SPANS[0][0] * self._side else 1]
        bottom = min(rows[-1] + ZOOM * JAW_DROP * self._side + reach, self._side)
        return round(span[0] * self.size), round(span[1] * self.size), math.ceil(bottom / SUPERSAMPLE)

    def _show(self, pose: Pose) -> None:
        """Puts eyes and mouth of a pose on the head."""
        mouth = (round(pose.openness * _OPENNESS_STEPS), round(pose.width * _WIDTH_STEPS))
        gaze = tuple(round(place * _GAZE_STEPS) / _GAZE_STEPS for place in pose.gaze)
        eyes = (round(pose.blink * _LID_STEPS) / _LID_STEPS, gaze, round(pose.lift * _LID_STEPS) / _LID_STEPS)
        if mouth != self._shown[0]:
            if mouth not in self._mouths:
                self._mouths[mouth] = self._lower_face(mouth[0] / _OPENNESS_STEPS, mouth[1] / _WIDTH_STEPS)
            self._paste(_JAW_BOX, self._mouths[mouth])
        if eyes != self._shown[1]:
            if eyes not in self._eyes:
                self._eyes[eyes] = self._upper_face(*eyes)
            self._paste(_EYES_BOX, self._eyes[eyes])
        self._shown = (mouth, eyes)

    def _paste(self, box: tuple[float, float, float, float], patch: np.ndarray) -> None:
        left, top, _, _ = self._pixels(box)
        pad = round(_PAD * self._side)
        self._padded[pad + top : pad + top + patch.shape[0], pad + left : pad + left + patch.shape[1]] = patch

    def _lower_face(self, openness: float, width: float) -> np.ndarray:
        """Jaw and mouth: everything from the mouth to the chin is stretched, and squeezed again below."""
        left, top, right, bottom = self._pixels(_JAW_BOX)
        chin, drop = zoomed(_CHIN_Y) * self._side, ZOOM * JAW_DROP * openness * self._side
        rows = np.arange(top, bottom)
        source = np.interp(rows, [top, chin + drop, bottom], [top, chin, bottom])
        patch = self._head[np.round(source).astype(int), left:right]
        return self._drawn_on(patch, (left, top), lambda canvas: draw_mouth(canvas, self.look, openness, width))

    def _upper_face(self, blink: float, gaze: tuple[float, float], lift: float) -> np.ndarray:
        left, top, right, bottom = self._pixels(_EYES_BOX)

        def paint(canvas: Canvas) -> None:
            draw_eyes(canvas, self.look, blink, gaze, lift)
            draw_glasses(canvas, self.look)

        return self._drawn_on(self._head[top:bottom, left:right], (left, top), paint)

    def _drawn_on(self, patch: np.ndarray, corner: tuple[int, int], paint: object) -> np.ndarray:
        image = _image(patch)
        paint(self._canvas(image, corner))
        return _packed(image)

    def _turned(self, pose: Pose) -> np.ndarray:
        """The head moved and tilted, its nearest pixels, where it can be."""
        pad = round(_PAD * self._side)
        stride = self._padded.shape[1]
        left, right, bottom = self._moving
        span = (left * SUPERSAMPLE, right * SUPERSAMPLE)
        places = _turn_map(self._side, pad, round(pose.tilt_deg / TILT_STEP_DEG), span)[: bottom * SUPERSAMPLE]
        across, down = (round(distance * self._side) for distance in pose.shift)
        return self._padded.ravel()[places - (down * stride + across)]

    def _canvas(self, image: Image.Image | None = None, corner: tuple[int, int] = (0, 0)) -> Canvas:
        """A picture of the person, or the part of it whose corner lies at these pixels."""
        scale = self._side * ZOOM
        origin = tuple(0.5 - 0.5 / ZOOM + place / scale for place in corner)
        return Canvas(image or Image.new("RGBA", (self._side, self._side)), scale, origin)

    def _pixels(self, box: tuple[float, ...]) -> tuple[int, ...]:
        return tuple(round(zoomed(place) * self._side) for place in box)


@lru_cache(maxsize=64)
def _turn_map(side: int, pad: int, tilt_steps: int, span: tuple[int, int]) -> np.ndarray:
    """For each pixel in a span of columns, where it comes from in the padded head (flat index)."""
    angle = np.radians(tilt_steps * TILT_STEP_DEG)
    cos, sin = np.cos(angle), np.sin(angle)
    pivot_x, pivot_y = (zoomed(place) * side for place in _PIVOT)
    x = np.arange(*span)[None] - pivot_x
    y = np.arange(side)[:, None] - pivot_y
    from_x = np.round(pivot_x + cos * x + sin * y).astype(np.int64)
    from_y = np.round(pivot_y - sin * x + cos * y).astype(np.int64)
    margin = round(0.045 * side)
    limit = side + pad - margin - 1
    from_x, from_y = from_x.clip(margin - pad, limit), from_y.clip(margin - pad, limit)
    return (from_y + pad) * (side + 2 * pad) + from_x + pad


def _packed(image: Image.Image) -> np.ndarray:
    """(h, w) uint32, alpha in the highest byte."""
    return np.ascontiguousarray(np.asarray(image)).view(np.dtype("<u4"))[..., 0]


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels)[..., None].view(np.uint8)).copy()


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """The mean of each square of SUPERSAMPLE pixels a side, (h, w, 3) uint8."""
    even, odd = pixels & 0x00FF00FF, (pixels >> 8) & 0x00FF00FF
    count = SUPERSAMPLE**2
    means = []
    for lanes in (even, odd):
        rows = lanes[0::2] + lanes[1::2]
        total = rows[:, 0::2] + rows[:, 1::2]
        means.append((total & 0xFFFF) // count)
        means.append((total >> 16) // count)
    red, blue, green, _ = means
    return np.stack([red, green, blue], -1).astype(np.uint8)
