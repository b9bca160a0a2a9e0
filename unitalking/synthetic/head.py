"""The still parts of a drawn head: skin, ears, nose, lines of age, glasses, earrings."""

from __future__ import annotations

import numpy as np
from PIL import Image

from . import hair, outlines
from .canvas import Canvas, darker, ellipse, lighter, mirrored, mix, placed, ribbon, smooth
from .draws import draw
from .look import Look
from .palette import GOLD

# Where the features lie; the mouth is at the same place in every face, which the pixel judge relies on.
EYE_X, EYE_Y = 0.086, 0.432
BROW_Y = 0.366
MOUTH_Y = 0.612


def head_width(look: Look) -> float:
    """Half the width of the face."""
    return 0.200 * look.face


def draw_head(canvas: Canvas, look: Look) -> None:
    """Everything of a head that stays the same while it speaks, eyes and mouth missing."""
    hair.draw_behind(canvas, look)
    if look.hair not in ("long straight", "long wavy", "bob", "shoulder length", "head scarf"):
        _ears(canvas, look)
    outline = smooth(mirrored(_head_half(look)))
    canvas.fill(outline, look.skin_color)
    head = canvas.mask(outline)
    _skin(canvas, look, head)
    _nose(canvas, look, head)
    _lines(canvas, look, head)
    hair.draw_beard(canvas, look, head)
    hair.draw_front(canvas, look, head)
    if look.earrings and look.hair not in ("head scarf", "curly", "afro"):
        for side in (-1, 1):
            x = 0.5 + side * (head_width(look) + 0.018)
            canvas.fill(ellipse(x, 0.548, 0.014, 0.014), darker(GOLD, 0.3))
            canvas.fill(ellipse(x - 0.002, 0.546, 0.010, 0.010), GOLD)
    if look.glasses == "sunglasses on the head":
        _raised_sunglasses(canvas)


def draw_glasses(canvas: Canvas, look: Look) -> None:
    """The frame, over the eyes."""
    if look.glasses not in ("round", "square"):
        return
    width = 0.0105
    for side in (-1, 1):
        x = 0.5 + side * (EYE_X + 0.003)
        if look.glasses == "round":
            rim = ellipse(x, EYE_Y + 0.003, 0.068, 0.064)
        else:
            rim = smooth([(x + side * across, EYE_Y + 0.004 + down) for across, down in outlines.SQUARE_LENS])
        canvas.line(np.concatenate([rim, rim[:2]]), look.frame_paint, width)
        outer = x + side * 0.068
        canvas.line([(outer, EYE_Y - 0.012), (0.5 + side * head_width(look), EYE_Y - 0.014)], look.frame_paint, width)
    canvas.line(smooth([(0.479, EYE_Y), (0.5, EYE_Y - 0.010), (0.521, EYE_Y)], closed=False), look.frame_paint, width)


def _head_half(look: Look) -> list[tuple[float, float]]:
    shape = zip(outlines.HEAD_HALF, outlines.JAW_HALF, strict=True)
    return [((x + wider * look.jaw) * look.face, y) for (x, y), wider in shape]


def _ears(canvas: Canvas, look: Look) -> None:
    for side in (-1, 1):
        ear = placed([(head_width(look) + x, y) for x, y in outlines.EAR], side)
        canvas.fill(smooth(ear), mix(look.skin_color, look.skin_shadow, 0.35))
        canvas.blob(0.5 + side * (head_width(look) + 0.014), 0.462, 0.016, 0.042, look.skin_shadow, 0.9)


def _skin(canvas: Canvas, look: Look, head: Image.Image) -> None:
    shadow, light = look.skin_shadow, lighter(look.skin_color, 0.45)
    width = head_width(look)
    for side in (-1, 1):
        canvas.blob(0.5 + side * (width + 0.01), 0.47, 0.085, 0.30, shadow, 0.75 if side > 0 else 0.45, head)
        canvas.blob(0.5 + side * EYE_X, EYE_Y - 0.022, 0.075, 0.050, shadow, 0.35, head)
        canvas.blob(0.5 + side * 0.122, 0.545, 0.072, 0.056, mix(look.skin_color, (220, 66, 62), 0.5), 0.55, head)
    canvas.blob(0.5, 0.76, 0.17, 0.075, shadow, 0.7, head)
    canvas.blob(0.46, 0.31, 0.13, 0.075, light, 0.5, head)
    canvas.blob(0.5, 0.700, 0.045, 0.026, light, 0.3, head)
    if look.freckles:
        generator = draw("freckles", look.identity)
        color = mix(shadow, (150, 80, 40), 0.4)
        for _ in range(26):
            x, y = generator.gauss(0.5, 0.075), generator.gauss(0.515, 0.022)
            canvas.fill(ellipse(x, y, 0.0042, 0.0042), mix(look.skin_color, color, 0.6))


def _nose(canvas: Canvas, look: Look, head: Image.Image) -> None:
    width, shadow = 0.036 * look.nose, look.skin_shadow
    canvas.blob(0.5 + width * 0.7, 0.485, 0.026, 0.070, shadow, 0.55, head)
    canvas.blob(0.497, 0.44, 0.014, 0.085, lighter(look.skin_color, 0.5), 0.5, head)
    under = [
        (0.5 - width, 0.531),
        (0.5 - width * 0.6, 0.546),
        (0.5, 0.550),
        (0.5 + width * 0.6, 0.546),
        (0.5 + width, 0.531),
    ]
    canvas.fill(ribbon(under, [0.002, 0.009, 0.010, 0.009, 0.002]), mix(shadow, darker(look.skin_color, 0.6), 0.3))
    canvas.blob(0.497, 0.520, 0.022 * look.nose, 0.022, lighter(look.skin_color, 0.55), 0.55, head)


def _lines(canvas: Canvas, look: Look, head: Image.Image) -> None:
    if look.age != "old":
        return
    color = mix(look.skin_color, look.skin_shadow, 0.75)
    for side in (-1, 1):
        fold = placed([(0.050, 0.540), (0.082, 0.566), (0.112, 0.604)], side)
        canvas.fill(ribbon(fold, [0.002, 0.008, 0.002]), color)
        bag = placed([(0.050, 0.478), (0.086, 0.490), (0.122, 0.476)], side)
        canvas.fill(ribbon(bag, [0.0, 0.007, 0.0]), color)
    if look.hair not in ("fringe", "head scarf"):
        for y, half in ((0.300, 0.085), (0.325, 0.100)):
            wave = [
                (0.5 - half, y),
                (0.5 - half * 0.4, y - 0.005),
                (0.5 + half * 0.3, y - 0.001),
                (0.5 + half, y - 0.003),
            ]
            canvas.fill(ribbon(wave, [0.0, 0.006, 0.006, 0.0]), color)


def _raised_sunglasses(canvas: Canvas) -> None:
    for side in (-1, 1):
        canvas.fill(ellipse(0.5 + side * 0.078, 0.205, 0.066, 0.044), (30, 30, 36))
        canvas.blob(0.5 + side * 0.078 - 0.02, 0.190, 0.036, 0.020, (150, 170, 190), 0.7)
    canvas.line([(0.47, 0.198), (0.53, 0.198)], (30, 30, 36), 0.014)
