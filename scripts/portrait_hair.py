"""Hair, head scarf and beards of the drawn portraits."""

from __future__ import annotations

import math
import random

import portrait_outlines as outlines
from PIL import Image
from portrait_canvas import Canvas, Color, Point, darker, ellipse, lighter, mirrored, placed, ribbon, smooth
from portrait_look import Look


def draw_behind(canvas: Canvas, look: Look) -> None:
    """What lies behind the neck and the head."""
    if look.hair in outlines.BACK_HALF:
        mask = canvas.mask(smooth(mirrored(outlines.BACK_HALF[look.hair])))
        canvas.paint_gradient(mask, darker(look.hair_color, 0.30), darker(look.hair_color, 0.50), (0.3, 0.9))
    elif look.hair == "afro":
        mask = _cloud(canvas, look)
        canvas.paint(mask, darker(look.hair_color, 0.25))
        _curls(canvas, look, mask, count=900, center=(0.5, 0.285), reach=(0.25, 0.24))
    elif look.hair == "bun":
        mask = canvas.mask(smooth(mirrored(outlines.BUN_HALF)))
        _paint_hair(canvas, look, mask, [placed(line) for line in outlines.BUN_FLOW], 350)


def draw_front(canvas: Canvas, look: Look, head: Image.Image) -> None:
    """What lies over the forehead, the temples and the shoulders."""
    if look.hair == "bald":
        shine = canvas.soft(ellipse((0.455, 0.208), 0.055, 0.026, angle=-0.25), blur=0.016)
        canvas.paint(canvas.both(shine, head), lighter(look.skin, 0.75), 0.45)
    elif look.hair == "buzz":
        _buzz(canvas, look, head)
    elif look.hair in ("curly", "afro"):
        _curly(canvas, look)
    elif look.hair == "scarf":
        _scarf(canvas, look)
    elif look.hair in outlines.CURTAINS:
        _curtains(canvas, look)
    else:
        _cap(canvas, look)


def draw_beard(canvas: Canvas, look: Look, head: Image.Image) -> None:
    """Stubble, a moustache, or a full beard; drawn before the mouth."""
    if look.beard == "none":
        return
    drop = 0.030 * look.mouth_open
    if look.beard == "moustache":
        mask = canvas.feather(canvas.mask(smooth(mirrored(outlines.MOUSTACHE_HALF))), 0.003)
    else:
        mask = canvas.both(head, canvas.feather(canvas.mask(_beard_area(look)), 0.006))
        lips = ellipse((0.5, 0.608 + drop * 0.8), 0.050, 0.012 + drop)
        mask = canvas.without(mask, canvas.feather(canvas.mask(lips), 0.004))
    canvas.paint(mask, darker(look.hair_color, 0.10), 0.34 if look.beard == "stubble" else 0.92)
    if look.beard == "stubble":
        return
    colors = [darker(look.hair_color, 0.5), lighter(look.hair_color, 0.25)]
    flow = [placed(line) for line in outlines.BEARD_FLOW]
    canvas.strands(mask, flow, colors, count=1500, seed=look.seed + 9)
    chin = canvas.soft(ellipse((0.5, 0.70 + drop), 0.08, 0.02), blur=0.02)
    canvas.paint(canvas.both(chin, mask), darker(look.hair_color, 0.6), 0.5)


def _beard_area(look: Look) -> list[Point]:
    edge = outlines.BEARD_EDGE_BALD_HALF if look.hair == "bald" else outlines.BEARD_EDGE_HALF
    upper = placed(smooth(edge, closed=False))
    return [*upper, *[(1 - x, y) for x, y in reversed(upper)], (0.2, 0.9), (0.8, 0.9)]


def _paint_hair(canvas: Canvas, look: Look, mask: Image.Image, flow: list[list[Point]], count: int) -> None:
    color = look.hair_color
    canvas.paint_gradient(mask, lighter(color, 0.06), darker(color, 0.30), (0.08, 0.75))
    edge = canvas.without(mask, canvas.feather(mask, 0.012))
    canvas.paint(edge, darker(color, 0.55), 0.65)
    gloss = canvas.soft(ribbon([(0.36, 0.215), (0.43, 0.152), (0.53, 0.142)], [0.01, 0.034, 0.01]), blur=0.018)
    canvas.paint(canvas.both(gloss, mask), lighter(color, 0.55), 0.38)
    strands = [darker(color, 0.45), lighter(color, 0.22), darker(color, 0.2)]
    canvas.strands(mask, flow, strands, count=count, seed=look.seed)


def _cap(canvas: Canvas, look: Look) -> None:
    crown = outlines.CROWN_HALF
    outer = [(-dx, y) for dx, y in reversed(crown[1:])] + crown
    outline = smooth(outer, closed=False) + smooth(outlines.HAIRLINES[look.hair], closed=False)
    mask = canvas.mask(placed(outline))
    if look.hair == "bun":
        flow = outlines.SWEPT_BACK_FLOW
    else:
        flow = _parted_flow(-0.075 if look.hair == "side_part" else -0.02)
    _paint_hair(canvas, look, mask, [placed(line) for line in flow], 1500)


def _parted_flow(part: float) -> list[list[Point]]:
    lines = []
    for index in range(9):
        angle = -1.45 + 2.9 * index / 8
        bend = (part * 0.3 + 0.142 * math.sin(angle), 0.155 + 0.035 * abs(math.sin(angle)))
        lines.append([(part * 0.8, 0.118), bend, (0.195 * math.sin(angle), 0.36 - 0.12 * math.cos(angle))])
    return lines


def _curtains(canvas: Canvas, look: Look) -> None:
    half, flow = outlines.CURTAINS[look.hair]
    face = canvas.mask(ellipse((0.5, 0.44), 0.19, 0.30))
    for side in (-1, 1):
        outline = smooth(placed(half, side))
        mask = canvas.mask(outline)
        shadow = canvas.soft([(x - side * 0.010, y + 0.006) for x, y in outline], blur=0.012)
        canvas.paint(canvas.both(shadow, canvas.without(face, mask)), look.skin_shadow, 0.40)
        _paint_hair(canvas, look, mask, [placed(line, side) for line in flow], 900 if look.hair == "bob" else 1300)


def _cloud(canvas: Canvas, look: Look) -> Image.Image:
    generator = random.Random(look.seed)
    parts = [ellipse((0.5, 0.285), 0.232, 0.222)]
    for index in range(40):
        angle = 2 * math.pi * index / 40
        radius = generator.uniform(0.018, 0.030)
        parts.append(
            ellipse((0.5 + 0.225 * math.cos(angle), 0.285 + 0.215 * math.sin(angle)), radius, radius, steps=20)
        )
    return canvas.mask(*parts)


def _curly(canvas: Canvas, look: Look) -> None:
    generator = random.Random(look.seed + 2)
    size = (0.022, 0.036) if look.hair == "curly" else (0.012, 0.020)
    parts = [smooth(mirrored(outlines.CURLY_CAP_HALF))]
    for index in range(46):
        angle = math.pi * (1.06 - 1.12 * index / 45)
        for radius_x, radius_y in ((0.186, 0.205), (0.168, 0.135)):
            center = (0.5 + radius_x * math.cos(angle), 0.345 - radius_y * math.sin(angle))
            radius = generator.uniform(*size)
            parts.append(ellipse(center, radius, radius, steps=20))
    mask = canvas.mask(*parts)
    canvas.paint_gradient(mask, look.hair_color, darker(look.hair_color, 0.30), (0.08, 0.45))
    light = canvas.soft(ellipse((0.44, 0.165), 0.08, 0.03, angle=-0.3), blur=0.025)
    canvas.paint(canvas.both(light, mask), lighter(look.hair_color, 0.4), 0.4)
    _curls(canvas, look, mask, count=420, center=(0.5, 0.25), reach=(0.22, 0.17))


def _curls(canvas: Canvas, look: Look, mask: Image.Image, *, count: int, center: Point, reach: Point) -> None:
    generator = random.Random(look.seed + 5)
    colors: list[tuple[Color, float]] = [(darker(look.hair_color, 0.55), 0.55), (lighter(look.hair_color, 0.28), 0.34)]
    for color, opacity in colors:
        arcs = []
        for _ in range(count):
            x = center[0] + generator.uniform(-1, 1) * reach[0]
            y = center[1] + generator.uniform(-1, 1) * reach[1]
            radius, start = generator.uniform(0.006, 0.012), generator.uniform(0, 2 * math.pi)
            turns = [start + turn for turn in (0.0, 1.2, 2.4, 3.6)]
            path = [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]
            arcs.append(ribbon(path, [0.0, 0.0030, 0.0030, 0.0]))
        canvas.paint(canvas.both(canvas.mask(*arcs), mask), color, opacity)


def _buzz(canvas: Canvas, look: Look, head: Image.Image) -> None:
    area = [*placed(smooth(outlines.HAIRLINES["buzz"], closed=False)), (0.2, 0.05), (0.8, 0.05)]
    cap = canvas.both(head, canvas.feather(canvas.mask(area), 0.005))
    canvas.paint(cap, look.hair_color, 0.86)
    shine = canvas.soft(ellipse((0.45, 0.195), 0.06, 0.022, angle=-0.25), blur=0.018)
    canvas.paint(canvas.both(shine, cap), lighter(look.hair_color, 0.5), 0.35)


def _scarf(canvas: Canvas, look: Look) -> None:
    opening = smooth(mirrored(outlines.SCARF_FACE_HALF))
    face = canvas.mask(opening)
    cloth = canvas.without(canvas.mask(smooth(mirrored(outlines.SCARF_HALF))), face)
    lit = canvas.soft([(x, y + 0.012) for x, y in opening], blur=0.012)
    canvas.paint(canvas.without(face, lit), look.skin_shadow, 0.6)
    color = look.hair_color
    canvas.paint_gradient(cloth, lighter(color, 0.10), darker(color, 0.25), (0.1, 0.95))
    canvas.paint(canvas.without(cloth, canvas.feather(cloth, 0.014)), darker(color, 0.5), 0.55)
    for fold in outlines.SCARF_FOLDS:
        line = placed(fold)
        dark = canvas.soft(ribbon(line, [0.0, 0.010, 0.010, 0.0]), blur=0.005)
        canvas.paint(canvas.both(dark, cloth), darker(color, 0.5), 0.55)
        bright = canvas.soft(ribbon([(x - 0.012, y - 0.004) for x, y in line], [0.0, 0.008, 0.008, 0.0]), blur=0.005)
        canvas.paint(canvas.both(bright, cloth), lighter(color, 0.4), 0.35)
