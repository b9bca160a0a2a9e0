"""The parts of a drawn face that move: eyes, brows and mouth, for one state each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .canvas import Canvas, Point, darker, ellipse, lighter, mix, ribbon, smooth
from .head import BROW_Y, EYE_X, EYE_Y, MOUTH_Y
from .look import Look
from .palette import EYE_WHITE, MOUTH_INSIDE, TEETH, TONGUE

# At full openness, in units of the picture's side.
OPENING = 0.088
JAW_DROP = 0.046
_MOUTH_HALF = 0.100
# From the inner to the outer corner: (across, upper lid, lower lid).
_LIDS = [
    (-0.044, 0.004, 0.004),
    (-0.024, -0.019, 0.014),
    (0.002, -0.027, 0.019),
    (0.026, -0.020, 0.014),
    (0.046, -0.003, -0.003),
]
_CLOSED = 0.011


def draw_eyes(canvas: Canvas, look: Look, blink: float, gaze: Point, lift: float) -> None:
    """Both eyes and brows.

    Args:
        canvas: of the head.
        look: whose.
        blink: 0 (open) to 1 (closed).
        gaze: (right, down), each -1 to 1.
        lift: of the brows, 0 to 1.
    """
    for side in (-1, 1):
        _draw_eye(canvas, look, side, blink, gaze)
        _draw_brow(canvas, look, side, lift)


def _draw_eye(canvas: Canvas, look: Look, side: int, blink: float, gaze: Point) -> None:
    center_x, scale = 0.5 + side * EYE_X, 1.02 * look.eyes
    across, upper, lower = _lids()
    inside = np.abs(across) < 0.04
    tilt = -0.006 * look.slant * across / 0.046
    upper = np.where(inside, upper + (_CLOSED - upper) * blink, upper)
    lower = np.where(inside, np.maximum(lower, upper), lower)
    x = center_x + side * across * scale
    top = list(zip(x.tolist(), (EYE_Y + (upper + tilt) * scale).tolist(), strict=True))
    bottom = list(zip(x.tolist(), (EYE_Y + (lower + tilt) * scale).tolist(), strict=True))
    line = mix(darker(look.skin_color, 0.85), (34, 20, 22), 0.5)
    if blink < 0.85:
        over, under = smooth(top, closed=False), smooth(bottom, closed=False)
        canvas.fill(np.concatenate([over, [top[-1]], under[::-1]]), EYE_WHITE)
        center = (center_x + 0.014 * gaze[0], EYE_Y - 0.003 + 0.007 * gaze[1])
        _draw_iris(canvas, look, center, (over[::side], under[::side]))
    heavy = 0.013 if look.gender == "woman" else 0.010
    canvas.fill(ribbon(top, [heavy * 0.4, heavy, heavy * 1.1, heavy, heavy * 0.5]), line)
    if look.gender == "woman":
        tip = top[-1]
        lash = [top[-2], tip, (tip[0] + side * 0.014, tip[1] - 0.012)]
        canvas.fill(ribbon(lash, [heavy * 0.9, heavy * 0.9, 0.0]), line)
    if blink < 0.5:
        crease = [(px, py - 0.015 * scale) for px, py in top[1:-1]]
        canvas.fill(ribbon(crease, [0.002, 0.006, 0.002]), mix(look.skin_color, look.skin_shadow, 0.8))


@lru_cache(maxsize=1)
def _lids() -> tuple[np.ndarray, ...]:
    return tuple(np.array(_LIDS).T)


def _draw_iris(canvas: Canvas, look: Look, center: Point, lids: tuple[np.ndarray, np.ndarray]) -> None:
    """Iris, pupil and light, cut to what lies between the lids, both given from left to right."""
    upper, lower = lids

    def cut(shape: np.ndarray) -> np.ndarray:
        low = np.interp(shape[:, 0], upper[:, 0], upper[:, 1])
        high = np.interp(shape[:, 0], lower[:, 0], lower[:, 1])
        return np.stack([shape[:, 0], np.clip(shape[:, 1], low, np.maximum(low, high))], 1)

    x, y = center
    radius = 0.0235 * look.eyes
    canvas.fill(cut(ellipse(x, y, radius, radius)), darker(look.iris_paint, 0.45))
    canvas.fill(cut(ellipse(x, y, radius * 0.80, radius * 0.80)), look.iris_paint)
    canvas.fill(cut(ellipse(x, y, radius * 0.46, radius * 0.46)), (18, 14, 18))
    canvas.fill(cut(ellipse(x - 0.007, y - 0.008, 0.0062, 0.0062)), (255, 255, 255))


def _draw_brow(canvas: Canvas, look: Look, side: int, lift: float) -> None:
    path = [(0.034, 0.010), (0.070, -0.006), (0.106, -0.010), (0.140, 0.010)]
    points = [(0.5 + side * x, BROW_Y + y - 0.016 * lift) for x, y in path]
    widths = [0.015 * look.brows * share for share in (0.8, 1.1, 0.9, 0.2)]
    color = darker(look.skin_color, 0.66) if look.hair in ("head scarf",) else look.beard_paint
    canvas.fill(ribbon(points, widths), mix(color, darker(look.skin_color, 0.7), 0.25))


def draw_mouth(canvas: Canvas, look: Look, openness: float, width: float) -> None:
    """The mouth, from closed to wide open.

    Args:
        canvas: of the head, its jaw already dropped.
        look: whose.
        openness: 0 to 1; the height of the dark inside grows with it in proportion.
        width: -1 (rounded, "oo") to 1 (spread, "ee").
    """
    half = _MOUTH_HALF * look.mouth * (1 + (0.07 * width if width > 0 else 0.30 * width) - 0.07 * openness)
    pout = 1 + 0.25 * max(-width, 0.0)
    upper_lip, lower_lip = 0.019 * look.lips * pout, 0.025 * look.lips * pout
    lift = 0.014 * look.smile * (1 - 0.6 * openness) * (1 + min(width, 0.0))
    top, bottom = MOUTH_Y - 0.10 * OPENING * openness, MOUTH_Y + 0.90 * OPENING * openness
    corner = MOUTH_Y - lift + 0.40 * OPENING * openness
    inner_top = _bow(0.92 * half, corner, (0.55, top + 0.003 * (1 - openness)), top + 0.004 * (1 - openness))
    inner_bottom = _bow(0.92 * half, corner, (0.62, bottom - 0.10 * OPENING * openness), bottom + 0.002)
    outer_top = _bow(half, corner, (0.55, top - upper_lip * 0.75), top - upper_lip * 1.08)
    outer_top[:, 1] += 0.35 * upper_lip * _dip()
    outer_bottom = _bow(half, corner, (0.58, bottom + lower_lip * 0.70), bottom + lower_lip)
    lip = look.lip_paint
    canvas.fill(np.concatenate([outer_top, outer_bottom[::-1]]), lip)
    canvas.fill(np.concatenate([outer_top, inner_top[::-1]]), darker(lip, 0.16))
    shine = ellipse(0.492, bottom + lower_lip * 0.52, half * 0.36, lower_lip * 0.17)
    canvas.fill(shine, lighter(lip, 0.30))
    if openness < 0.06:
        seam = [
            (0.5 + x * half, y)
            for x, y in ((-0.98, corner), (-0.5, top + 0.003), (0, top + 0.004), (0.5, top + 0.003), (0.98, corner))
        ]
        canvas.fill(ribbon(seam, [0.003, 0.008, 0.009, 0.008, 0.003]), darker(lip, 0.50))
        return
    canvas.fill(np.concatenate([inner_top, inner_bottom[::-1]]), MOUTH_INSIDE)
    height = inner_bottom[:, 1] - inner_top[:, 1]
    across = 0.92 * np.abs(_across()[0])
    if openness > 0.35:
        tongue = height * 0.34 * (openness - 0.2) * np.clip(1 - (across / 0.62) ** 2, 0, 1)
        raised = np.stack([inner_bottom[:, 0], inner_bottom[:, 1] - tongue], 1)
        canvas.fill(np.concatenate([raised, inner_bottom[::-1]]), TONGUE)
    teeth = np.minimum(height * 0.30, 0.017) * (across < 0.74)
    lowered = np.stack([inner_top[:, 0], inner_top[:, 1] + teeth], 1)
    canvas.fill(np.concatenate([inner_top, lowered[::-1]]), TEETH)


def _bow(half: float, corner: float, between: tuple[float, float], middle: float) -> np.ndarray:
    """A symmetric line from corner to corner of the mouth, (33, 2): an even polynomial of fourth degree.

    Args:
        half: half its width.
        corner, middle: its heights there.
        between: (share of the half width, height) of one more point.
    """
    across, square = _across()
    share, height = between[0] ** 2, between[1] - middle
    fourth = (height - share * (corner - middle)) / (share**2 - share)
    second = corner - middle - fourth
    return np.stack([0.5 + half * across, middle + square * (second + fourth * square)], 1)


@lru_cache(maxsize=1)
def _across() -> tuple[np.ndarray, np.ndarray]:
    across = np.linspace(-1, 1, 33)
    return across, across**2


@lru_cache(maxsize=1)
def _dip() -> np.ndarray:
    """The notch in the middle of the upper lip."""
    return np.clip(1 - (_across()[0] / 0.25) ** 2, 0, 1) ** 2
