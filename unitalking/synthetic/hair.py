"""Hair, head scarf and beards of a drawn head."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from . import outlines
from .canvas import BEHIND, FRONT, Canvas, Point, darker, ellipse, lighter, mirrored, mix, placed, ribbon, smooth
from .draws import between, draw
from .look import Look


def draw_behind(canvas: Canvas, look: Look) -> None:
    """What lies behind the neck and the head."""
    color = darker(look.hair_paint, 0.34)
    if look.hair == "afro":
        _cloud(canvas, look, darker(look.hair_paint, 0.12), BEHIND)
    elif look.hair == "curly" and look.gender == "woman":
        canvas.fill(smooth(mirrored(outlines.BACK_HALF["curly"])), color, BEHIND)
        _curls(canvas, look, color, (0.5, 0.37), (0.235, 0.20), BEHIND)
    elif look.hair in outlines.BACK_HALF and look.hair != "curly":
        canvas.fill(smooth(mirrored(outlines.BACK_HALF[look.hair])), color, BEHIND)
    elif look.hair == "ponytail":
        tail = smooth(placed(outlines.PONYTAIL, 1 if look.slant > 0 else -1))
        canvas.fill(tail, darker(look.hair_paint, 0.15), BEHIND)
        canvas.blob(
            0.5 + (0.27 if look.slant > 0 else -0.27),
            0.34,
            0.05,
            0.22,
            lighter(look.hair_paint, 0.3),
            0.35,
            canvas.mask(tail),
        )
    elif look.hair == "bun":
        canvas.fill(smooth(mirrored(outlines.BUN_HALF)), darker(look.hair_paint, 0.12), BEHIND)
        canvas.blob(0.47, 0.07, 0.05, 0.035, lighter(look.hair_paint, 0.4), 0.5)


def draw_front(canvas: Canvas, look: Look, head: Image.Image) -> None:
    """What lies over the forehead, the temples and the shoulders."""
    if look.hair == "bald":
        canvas.blob(0.45, 0.235, 0.085, 0.045, lighter(look.skin_color, 0.75), 0.5, head)
    elif look.hair == "receding":
        _tufts(canvas, look, head)
    elif look.hair == "head scarf":
        _scarf(canvas, look)
    elif look.hair in outlines.CURTAINS:
        _curtains(canvas, look, head)
    else:
        _cap(canvas, look, head)


def draw_beard(canvas: Canvas, look: Look, head: Image.Image) -> None:
    """Stubble, a moustache, a goatee or a full beard; the mouth comes on top of it."""
    color = look.beard_paint
    if look.beard in ("stubble", "full beard"):
        edge = smooth(placed(outlines.BEARD_HALF), closed=False)
        right = np.concatenate([edge, [placed(outlines.BEARD_HALF)[-1]]])
        area = np.concatenate([right, (right * (-1, 1) + (1, 0))[::-1], [(0.1, 0.9), (0.9, 0.9)]])
        mask = canvas.mask(area)
        opacity = 0.30 if look.beard == "stubble" else 1.0
        shaded = Image.composite(mask, Image.new("L", mask.size), head).point(lambda value: round(value * opacity))
        canvas.image.paste((*color, FRONT), (0, 0), shaded)
        if look.beard == "full beard":
            canvas.blob(0.5, 0.76, 0.13, 0.07, darker(color, 0.5), 0.6, head)
            canvas.blob(0.40, 0.60, 0.05, 0.05, lighter(color, 0.4), 0.25, head)
    elif look.beard == "goatee":
        canvas.fill(smooth(mirrored(outlines.GOATEE_HALF)), color)
    if look.beard in ("moustache", "goatee"):
        canvas.fill(smooth(mirrored(outlines.MOUSTACHE_HALF)), color)


def _cap(canvas: Canvas, look: Look, head: Image.Image) -> None:
    color = look.hair_paint
    hairline = smooth(placed(outlines.HAIRLINES[look.hair]), closed=False)
    if look.hair in ("curly", "afro"):
        reach = (0.215, 0.215) if look.hair == "curly" else (0.205, 0.20)
        _curls(canvas, look, color, (0.5, 0.335), reach, FRONT)
    if look.hair == "buzz cut":
        area = np.concatenate([hairline, [(0.1, 0.05), (0.9, 0.05)]])
        mask = Image.composite(canvas.mask(area), Image.new("L", canvas.image.size), head)
        canvas.image.paste((*mix(color, look.skin_color, 0.18), FRONT), (0, 0), mask)
        canvas.blob(0.45, 0.215, 0.09, 0.035, lighter(color, 0.5), 0.4, mask)
        return
    canvas.blob(0.5, 0.295, 0.20, 0.07, look.skin_shadow, 0.4, head)
    crown = outlines.CROWN_HALF
    edge = outlines.SWEEP if look.hair == "swept up" else [(-x, y) for x, y in reversed(crown[1:])] + crown
    outer = smooth(placed(edge), closed=False)
    outline = np.concatenate([outer, hairline])
    canvas.fill(outline, color)
    mask = canvas.mask(outline)
    if look.hair == "swept up":
        for shift in (-0.10, -0.03, 0.05, 0.12):
            lock = [(0.5 + shift, 0.215), (0.51 + shift * 1.2, 0.16), (0.53 + shift * 1.3, 0.11)]
            canvas.fill(ribbon(lock, [0.0, 0.010, 0.0]), darker(color, 0.35))
    _gloss(canvas, look, mask)
    if look.hair == "side parted":
        part = [(0.412, 0.205), (0.43, 0.16), (0.47, 0.125)]
        canvas.fill(ribbon(part, [0.010, 0.009, 0.0]), darker(color, 0.45))
        sweep = [(0.42, 0.235), (0.52, 0.245), (0.64, 0.295)]
        canvas.fill(ribbon(sweep, [0.0, 0.010, 0.0]), darker(color, 0.3))
    elif look.hair == "fringe":
        for x in (-0.11, -0.055, 0.0, 0.055, 0.11):
            canvas.fill(ribbon([(0.5 + x, 0.345), (0.5 + x * 0.9, 0.27)], [0.008, 0.0]), darker(color, 0.4))
    elif look.hair in ("bun", "ponytail"):
        for x in (-0.09, 0.0, 0.09):
            strand = [(0.5 + x * 1.15, 0.225), (0.5 + x * 0.9, 0.17), (0.5 + x * 0.3, 0.125)]
            canvas.fill(ribbon(strand, [0.0, 0.008, 0.0]), darker(color, 0.35))


def _gloss(canvas: Canvas, look: Look, mask: Image.Image) -> None:
    color = look.hair_paint
    canvas.blob(0.5, 0.42, 0.30, 0.20, darker(color, 0.55), 0.5, mask)
    canvas.blob(0.43, 0.17, 0.13, 0.055, lighter(color, 0.5), 0.55, mask)


def _tufts(canvas: Canvas, look: Look, head: Image.Image) -> None:
    canvas.blob(0.45, 0.235, 0.085, 0.045, lighter(look.skin_color, 0.75), 0.4, head)
    for side in (-1, 1):
        canvas.fill(smooth(placed(outlines.SIDE_TUFT, side)), look.hair_paint)


def _curtains(canvas: Canvas, look: Look, head: Image.Image) -> None:
    color = look.hair_paint
    canvas.blob(0.5, 0.250, 0.17, 0.07, look.skin_shadow, 0.4, head)
    for side in (-1, 1):
        canvas.blob(0.5 + side * 0.19, 0.46, 0.05, 0.20, look.skin_shadow, 0.45, head)
    for side in (-1, 1):
        outline = smooth(placed(outlines.CURTAINS[look.hair], side))
        canvas.fill(outline, color)
        mask = canvas.mask(outline)
        canvas.blob(0.5 + side * 0.24, 0.70, 0.12, 0.40, darker(color, 0.5), 0.55, mask)
        canvas.blob(0.5 + side * 0.12, 0.185, 0.11, 0.06, lighter(color, 0.5), 0.5, mask)
        strand = placed([(0.03, 0.17), (0.135, 0.225), (0.212, 0.37), (0.222, 0.56)], side)
        canvas.fill(ribbon(strand, [0.0, 0.008, 0.009, 0.0]), darker(color, 0.32))
    canvas.fill(ribbon([(0.5, 0.105), (0.5, 0.15), (0.5, 0.20)], [0.003, 0.007, 0.004]), darker(color, 0.5))


def _cloud(canvas: Canvas, look: Look, color: tuple[int, int, int], layer: int) -> None:
    canvas.fill(ellipse(0.5, 0.315, 0.262, 0.245), color, layer)
    _curls(canvas, look, color, (0.5, 0.315), (0.258, 0.24), layer)


def _curls(canvas: Canvas, look: Look, color: tuple[int, int, int], center: Point, reach: Point, layer: int) -> None:
    """A row of round locks along an arch from ear to ear."""
    generator = draw("curls", look.identity)
    count = 17
    for index in range(count):
        angle = math.pi * (1.10 - 1.20 * index / (count - 1))
        x, y = center[0] + reach[0] * math.cos(angle), center[1] - reach[1] * math.sin(angle)
        radius = between(generator, 0.030, 0.042)
        canvas.fill(ellipse(x, y, radius, radius), color, layer)
    for index in range(10):
        angle = math.pi * (1.0 - (index + 0.5) / 10)
        x = center[0] + reach[0] * 0.86 * math.cos(angle)
        y = center[1] - reach[1] * 0.86 * math.sin(angle)
        canvas.blob(x - 0.006, y - 0.008, 0.026, 0.022, lighter(color, 0.5), 0.45)


def _scarf(canvas: Canvas, look: Look) -> None:
    color = look.hair_paint
    opening = smooth(mirrored(outlines.SCARF_FACE_HALF))
    outer = smooth(mirrored(outlines.SCARF_HALF))
    # One outline that runs around the cloth, down to the opening and around that.
    cloth = np.concatenate([outer, outer[:1], opening[:1], opening[::-1]])
    canvas.fill(cloth, color)
    mask = canvas.mask(cloth)
    canvas.blob(0.42, 0.17, 0.14, 0.06, lighter(color, 0.5), 0.5, mask)
    canvas.blob(0.5, 0.80, 0.20, 0.08, darker(color, 0.5), 0.6, mask)
    for side in (-1, 1):
        fold = placed([(0.10, 0.165), (0.196, 0.30), (0.200, 0.55), (0.12, 0.74)], side)
        canvas.fill(ribbon(fold, [0.0, 0.010, 0.010, 0.0]), darker(color, 0.3))
    canvas.fill(ribbon([(0.33, 0.85), (0.48, 0.905), (0.66, 0.86)], [0.0, 0.012, 0.0]), darker(color, 0.3))
