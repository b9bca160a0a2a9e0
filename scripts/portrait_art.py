"""Draws frontal portraits from a description: `draw_portrait(Look(...), size)`.

Used by `make_assets.py` for the sample portraits; every field of a `Look` may vary freely (mouth, gaze and tilt from
frame to frame), so the same code can draw talking faces.
"""

from __future__ import annotations

import portrait_features as features
import portrait_hair as hair
import portrait_outlines as outlines
from PIL import Image
from portrait_canvas import Canvas, Point, darker, ellipse, lighter, mirrored, mix, placed, ribbon, smooth
from portrait_look import Look


def draw_portrait(look: Look, size: int, *, supersample: int = 4) -> Image.Image:
    """A frontal portrait, the face in the middle.

    Args:
        look: the person, and the state of mouth, eyes and head.
        size: side of the picture in pixels.
        supersample: pixels painted per finished pixel and side; lines thinner than a painted pixel come out bolder.

    Returns:
        An RGB image of size x size, the same for the same arguments.
    """
    canvas = Canvas(size, supersample=supersample, tilt_deg=look.tilt_deg, pivot=(0.5, 0.70))
    _background(canvas, look)
    canvas.tilted = True
    hair.draw_behind(canvas, look)
    canvas.tilted = False
    _neck(canvas, look)
    _shirt(canvas, look)
    canvas.tilted = True
    head = canvas.mask(head_outline(look))
    _ears(canvas, look)
    _skin(canvas, look, head)
    features.draw_nose(canvas, look, head)
    features.draw_lines(canvas, look)
    hair.draw_beard(canvas, look, head)
    features.draw_mouth(canvas, look)
    for side in (-1, 1):
        features.draw_eye(canvas, look, side)
        features.draw_brow(canvas, look, side)
    hair.draw_front(canvas, look, head)
    features.draw_glasses(canvas, look)
    features.draw_earrings(canvas, look)
    return canvas.finished()


def head_outline(look: Look) -> list[Point]:
    """The outline of the head; the chin follows the open mouth."""
    half = []
    for (dx, y), jaw in zip(outlines.HEAD_HALF, outlines.JAW_HALF, strict=True):
        half.append(((dx + jaw * look.jaw) * look.face_width, y + max(y - 0.52, 0.0) * 0.16 * look.mouth_open))
    return smooth(mirrored(half))


def _background(canvas: Canvas, look: Look) -> None:
    everything = canvas.mask([(-1, -1), (2, -1), (2, 2), (-1, 2)])
    canvas.paint_gradient(everything, lighter(look.background, 0.18), darker(look.background, 0.22), (0.0, 1.0))
    canvas.paint(canvas.soft(ellipse((0.42, 0.36), 0.30, 0.32), blur=0.12), lighter(look.background, 0.55), 0.55)


def _neck(canvas: Canvas, look: Look) -> None:
    width = 0.082 + 0.016 * look.jaw
    half = [
        (width, 0.56),
        (width, 0.69),
        (width + 0.010, 0.755),
        (0.128, 0.800),
        (0.155, 0.85),
        (0.14, 0.96),
        (0.0, 0.99),
    ]
    neck = canvas.mask(smooth(mirrored(half)))
    canvas.paint(neck, mix(look.skin, darker(look.skin, 0.4), 0.25))
    shadow = canvas.soft(smooth(mirrored([(0.0, 0.50), (0.13, 0.60), (0.09, 0.745), (0.0, 0.785)])), blur=0.016)
    canvas.paint(canvas.both(shadow, neck), look.skin_shadow, 0.85)
    for side in (-1, 1):
        bone = canvas.soft(
            ribbon(placed([(0.02, 0.846), (0.07, 0.834), (0.125, 0.826)], side), [0, 0.012, 0]), blur=0.005
        )
        canvas.paint(canvas.both(bone, neck), look.skin_shadow, 0.55)
    light = canvas.soft(ellipse((0.40, 0.80), 0.02, 0.09), blur=0.015)
    canvas.paint(canvas.both(light, neck), lighter(look.skin, 0.3), 0.3)


def _shirt(canvas: Canvas, look: Look) -> None:
    neckline = outlines.NECKLINES[look.collar]
    shoulder = [neckline[-1], (0.21, 0.822), (0.325, 0.866), (0.41, 1.02)]
    top = placed(smooth(neckline, closed=False))
    right = top + placed(smooth(shoulder, closed=False))
    body = canvas.mask([*right, *[(1 - x, y) for x, y in reversed(right)]])
    canvas.paint_gradient(body, lighter(look.shirt, 0.08), darker(look.shirt, 0.30), (0.78, 1.02))
    for side in (-1, 1):
        fold = canvas.soft(
            ribbon(placed([(0.27, 0.90), (0.235, 0.96), (0.24, 1.03)], side), [0.0, 0.012, 0.02]), blur=0.008
        )
        canvas.paint(canvas.both(fold, body), darker(look.shirt, 0.55), 0.6)
    light = canvas.soft(ellipse((0.28, 0.872), 0.11, 0.022, angle=-0.38), blur=0.022)
    canvas.paint(canvas.both(light, body), lighter(look.shirt, 0.5), 0.22)
    if look.collar == "shirt":
        _collar_flaps(canvas, look)
    elif look.collar == "turtleneck":
        _roll(canvas, look)
    else:
        line = [*[(1 - x, y) for x, y in reversed(top)], *top[1:]]
        path = [*line[::6], line[-1]]
        canvas.paint(canvas.both(canvas.mask(ribbon(path, [0.016] * len(path))), body), darker(look.shirt, 0.22))


def _collar_flaps(canvas: Canvas, look: Look) -> None:
    for side in (-1, 1):
        flap = placed(outlines.COLLAR_FLAP, side)
        canvas.paint(canvas.soft([(x, y + 0.010) for x, y in flap], blur=0.006), darker(look.shirt, 0.6), 0.5)
        canvas.paint(canvas.mask(flap), lighter(look.shirt, 0.22))


def _roll(canvas: Canvas, look: Look) -> None:
    roll = canvas.mask(smooth(mirrored(outlines.TURTLENECK_HALF)))
    canvas.paint_gradient(roll, darker(look.shirt, 0.25), lighter(look.shirt, 0.12), (0.72, 0.81))
    edge = ribbon([(0.395, 0.806), (0.5, 0.832), (0.605, 0.806)], [0.006] * 3)
    canvas.paint(canvas.soft(edge, blur=0.004), darker(look.shirt, 0.6), 0.7)


def _ears(canvas: Canvas, look: Look) -> None:
    if look.hair in outlines.BACK_HALF:
        return
    for side in (-1, 1):
        shift = 0.176 * look.face_width
        ear = canvas.mask(smooth(placed([(shift + dx, y) for dx, y in outlines.EAR], side)))
        canvas.paint(ear, mix(look.skin, look.skin_shadow, 0.30))
        hollow = canvas.soft(smooth(placed([(shift + dx, y) for dx, y in outlines.EAR_HOLLOW], side)), blur=0.004)
        canvas.paint(canvas.both(hollow, ear), look.skin_shadow, 0.7)


def _skin(canvas: Canvas, look: Look, head: Image.Image) -> None:
    canvas.paint(head, look.skin)
    light = lighter(look.skin, 0.45)
    lit = canvas.soft(ellipse((0.475, 0.40), 0.165 * look.face_width, 0.29), blur=0.045)
    canvas.paint(canvas.without(head, lit), look.skin_shadow, 0.60)
    for side in (-1, 1):
        socket = canvas.soft(ellipse((0.5 + side * 0.070, 0.405), 0.050, 0.026), blur=0.016)
        canvas.paint(canvas.both(socket, head), look.skin_shadow, 0.30)
        cheek = canvas.soft(ellipse((0.5 + side * 0.104, 0.525), 0.040, 0.030), blur=0.022)
        canvas.paint(canvas.both(cheek, head), mix(look.skin, (214, 70, 62), 0.42), 0.42)
        bone = canvas.soft(ellipse((0.5 + side * 0.098, 0.478), 0.036, 0.014, angle=side * -0.35), blur=0.014)
        canvas.paint(canvas.both(bone, head), light, 0.34 if side < 0 else 0.20)
    canvas.paint(canvas.both(canvas.soft(ellipse((0.47, 0.285), 0.085, 0.045), blur=0.035), head), light, 0.45)
    chin = canvas.soft(ellipse((0.495, 0.672 + 0.03 * look.mouth_open), 0.032, 0.018), blur=0.014)
    canvas.paint(canvas.both(chin, head), light, 0.28)
