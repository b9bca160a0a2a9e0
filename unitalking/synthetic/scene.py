"""What does not move in a drawn clip: the room, the neck and the clothes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from . import outlines
from .canvas import Canvas, Color, darker, ellipse, lighter, mirrored, mix, placed, smooth
from .draws import between, draw
from .look import Look


def draw_room(canvas: Canvas, look: Look) -> None:
    """The background, all of the picture."""
    wall = look.wall_paint
    if look.scene == "gradient":
        canvas.gradient(lighter(wall, 0.45), darker(wall, 0.30))
    elif look.scene in ("window", "hills"):
        _landscape(canvas, look)
    else:
        canvas.gradient(lighter(wall, 0.08), darker(wall, 0.06))
        canvas.blob(0.40, 0.34, 0.62, 0.62, lighter(wall, 0.5), 0.35)
    if look.scene == "wall":
        canvas.fill([(0, 0.70), (1, 0.70), (1, 1), (0, 1)], darker(wall, 0.35))
        canvas.line([(0, 0.70), (1, 0.70)], lighter(wall, 0.4), 0.012)
    elif look.scene == "shelf":
        _shelf(canvas, look)
    elif look.scene == "curtain":
        for index in range(9):
            canvas.blob(0.02 + index * 0.12, 0.5, 0.055, 1.4, darker(wall, 0.5), 0.45)


def draw_body(canvas: Canvas, look: Look) -> None:
    """Neck and clothes, on a transparent picture."""
    neck = smooth(mirrored(outlines.NECK_HALF))
    canvas.fill(neck, mix(look.skin_color, look.skin_shadow, 0.35))
    mask = canvas.mask(neck)
    canvas.blob(0.5, 0.745, 0.15, 0.11, look.skin_shadow, 1.0, mask)
    shirt = look.shirt_paint if look.collar != "suit" else (240, 240, 238)
    if look.collar == "hoodie":
        canvas.fill(smooth(mirrored(outlines.HOOD_HALF)), darker(look.shirt_paint, 0.30))
        canvas.fill(neck[neck[:, 1] < 0.885], mix(look.skin_color, look.skin_shadow, 0.5))
    top = np.asarray(placed(outlines.NECKLINES[look.collar]))
    neckline = smooth([tuple(point) for point in top], closed=False)
    shoulder = smooth([tuple(top[-1]), *placed(outlines.SHOULDER)], closed=False)
    right = np.concatenate([neckline, shoulder, [(0.94, 1.05)]])
    body = np.concatenate([right, (right * (-1, 1) + (1, 0))[::-1]])
    canvas.fill(body, shirt)
    inside = canvas.mask(body)
    if look.collar != "suit":
        _pattern(canvas, look, inside)
    for side in (-1, 1):
        canvas.blob(0.5 + side * 0.27, 1.0, 0.05, 0.12, darker(shirt, 0.5), 0.45, inside)
    canvas.blob(0.27, 0.905, 0.15, 0.05, lighter(shirt, 0.5), 0.35, inside)
    _collar(canvas, look, inside, neckline)


def _collar(canvas: Canvas, look: Look, inside: Image.Image, neckline: np.ndarray) -> None:
    shirt = look.shirt_paint
    if look.collar == "shirt":
        _flaps(canvas, lighter(shirt, 0.3))
        canvas.line([(0.5, 0.91), (0.5, 1.02)], darker(shirt, 0.3), 0.007)
    elif look.collar == "suit":
        tie = [(0.485, 0.905), (0.515, 0.905), (0.527, 0.93), (0.520, 1.03), (0.480, 1.03), (0.473, 0.93)]
        canvas.fill(tie, look.accent_paint)
        for side in (-1, 1):
            jacket = smooth(placed([(0.118, 0.805), *outlines.SHOULDER], side), closed=False)
            canvas.fill(np.concatenate([jacket, [(0.5 + side * 0.44, 1.05), (0.5 + side * 0.06, 1.05)]]), shirt)
            canvas.fill(placed(outlines.LAPEL, side), darker(shirt, 0.22))
        _flaps(canvas, (250, 250, 248))
    elif look.collar == "turtleneck":
        roll = smooth(mirrored(outlines.ROLL_HALF))
        canvas.fill(roll, lighter(shirt, 0.10))
        canvas.blob(0.5, 0.765, 0.12, 0.03, darker(shirt, 0.5), 0.6, canvas.mask(roll))
        edge = smooth([(0.388, 0.838), (0.5, 0.862), (0.612, 0.838)], closed=False)
        canvas.line(edge, darker(shirt, 0.35), 0.007)
    elif look.collar == "hoodie":
        for side in (-1, 1):
            canvas.line([(0.5 + side * 0.05, 0.89), (0.5 + side * 0.056, 0.985)], lighter(shirt, 0.6), 0.010)
    else:
        line = np.concatenate([(neckline * (-1, 1) + (1, 0))[::-1], neckline])
        canvas.line(line, darker(shirt, 0.28), 0.014)


def _flaps(canvas: Canvas, color: Color) -> None:
    for side in (-1, 1):
        flap = placed(outlines.COLLAR_FLAP, side)
        canvas.fill([(x, y + 0.010) for x, y in flap], darker(color, 0.35))
        canvas.fill(flap, color)


def _pattern(canvas: Canvas, look: Look, inside: Image.Image) -> None:
    if look.pattern == "plain":
        return
    overlay = Canvas.empty(canvas.image.width)
    color = look.accent_paint
    if look.pattern == "striped":
        for y in np.arange(0.83, 1.03, 0.052):
            overlay.fill([(0, y), (1, y), (1, y + 0.024), (0, y + 0.024)], color)
    else:
        for row, y in enumerate(np.arange(0.85, 1.03, 0.048)):
            for x in np.arange(0.02 + 0.03 * (row % 2), 1.0, 0.06):
                overlay.fill(ellipse(x, y, 0.013, 0.013), color)
    canvas.image.paste(
        overlay.image, (0, 0), Image.composite(inside, Image.new("L", inside.size), overlay.image.getchannel("A"))
    )


def _landscape(canvas: Canvas, look: Look) -> None:
    generator = draw("landscape", look.identity)
    sky = (150, 204, 240) if look.scene == "window" else lighter(look.wall_paint, 0.35)
    canvas.gradient(mix(sky, (80, 150, 220), 0.15), lighter(sky, 0.5))
    for _ in range(3):
        x, y, width = generator.random(), between(generator, 0.06, 0.30), between(generator, 0.10, 0.20)
        canvas.blob(x, y, width, width * 0.35, (255, 255, 255), 0.8)
    hill = between(generator, 0.55, 0.68)
    canvas.fill(ellipse(0.15, hill + 0.42, 0.62, 0.42), mix((92, 158, 92), look.wall_paint, 0.25))
    canvas.fill(ellipse(0.92, hill + 0.45, 0.62, 0.42), mix((66, 130, 84), look.wall_paint, 0.25))
    if look.scene == "window":
        wall = look.wall_paint
        frame = lighter(wall, 0.55)
        for left, right in ((0.0, 0.07), (0.93, 1.0)):
            canvas.fill([(left, 0), (right, 0), (right, 1), (left, 1)], wall)
        canvas.fill([(0, 0), (1, 0), (1, 0.05), (0, 0.05)], wall)
        canvas.fill([(0, 0.78), (1, 0.78), (1, 1), (0, 1)], wall)
        for line in (
            [(0.07, 0.05), (0.93, 0.05), (0.93, 0.78), (0.07, 0.78), (0.07, 0.05)],
            [(0.5, 0.05), (0.5, 0.78)],
            [(0.07, 0.36), (0.93, 0.36)],
        ):
            canvas.line(line, frame, 0.020)


def _shelf(canvas: Canvas, look: Look) -> None:
    generator = draw("shelf", look.identity)
    wood = mix((150, 104, 66), look.wall_paint, 0.25)
    for y in (0.26, 0.56, 0.86):
        for left, right in ((0.0, 0.27), (0.73, 1.0)):
            x = left + 0.01
            while x < right - 0.03:
                width, height = between(generator, 0.024, 0.044), between(generator, 0.13, 0.21)
                hue = [(170, 70, 62), (72, 112, 158), (92, 142, 96), (214, 168, 86), (122, 92, 140), (226, 214, 190)]
                canvas.fill([(x, y - height), (x + width, y - height), (x + width, y), (x, y)], generator.choice(hue))
                x += width + 0.004
            canvas.fill([(left, y), (right, y), (right, y + 0.022), (left, y + 0.022)], wood)
