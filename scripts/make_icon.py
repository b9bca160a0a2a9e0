"""Draws the pack's icon and banner for a registry's page: docs/pictures/icon.png and banner.jpg.

The icon is a talking head in profile; the banner has it beside results of the example workflows (workflows/*.jpg).
Usage: python scripts/make_icon.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import splev, splprep

ROOT = Path(__file__).resolve().parent.parent
PICTURES, WORKFLOWS = ROOT / "docs" / "pictures", ROOT / "workflows"
# A registry takes icons of at most 400x400 and shows banners as 21:9.
ICON_SIDE, BANNER_SIZE = 400, (1680, 720)
FINER = 4
JPEG_QUALITY = 88

DEEP, BRIGHT = (34, 28, 84), (150, 58, 128)
HEAD, PALE = (255, 255, 255), (235, 225, 240)
WAVES = ((255, 214, 110), (255, 170, 92), (255, 122, 92))
# Profile in the icon's square, (x, y) from 0 to 1: smooth pieces with a corner between each two.
PROFILE = (
    ((0.18, 1.02), (0.20, 0.86), (0.14, 0.70), (0.09, 0.46), (0.18, 0.22), (0.37, 0.13), (0.54, 0.22), (0.575, 0.36)),
    ((0.575, 0.36), (0.59, 0.42), (0.635, 0.51), (0.622, 0.535), (0.58, 0.545)),
    ((0.58, 0.545), (0.598, 0.57), (0.575, 0.592)),
    ((0.575, 0.592), (0.47, 0.635)),
    ((0.47, 0.635), (0.555, 0.695)),
    ((0.555, 0.695), (0.572, 0.718), (0.545, 0.74)),
    ((0.545, 0.74), (0.555, 0.80), (0.52, 0.84), (0.46, 0.845), (0.415, 0.88), (0.42, 1.02)),
)
EYE, EYE_RADIUS = (0.47, 0.415), 0.026
MOUTH, WAVE_RADII, WAVE_WIDTH, WAVE_ANGLE = (0.50, 0.64), (0.20, 0.30, 0.40), 0.042, 36
CORNER = 0.2
# Examples in two rows of the banner.
SHOWN = (("talking_portrait_voice", "talking_portrait_text"), ("dub_a_silent_video", "speech_only"))
TITLE, LINES = "UniTalking", ("Talking portraits in ComfyUI:", "picture and speech generated together")


def mark(side: int) -> Image.Image:
    """The head and its waves, on nothing: RGBA, square."""
    large = side * FINER
    picture = Image.new("RGBA", (large, large))
    draw = ImageDraw.Draw(picture)
    outline = [point for piece in PROFILE for point in _smooth(piece)]
    draw.polygon([(x * large, y * large) for x, y in outline], HEAD)
    _disc(draw, EYE, EYE_RADIUS, large, DEEP)
    for radius, colour in zip(WAVE_RADII, WAVES, strict=True):
        for angle in np.radians(np.linspace(-WAVE_ANGLE, WAVE_ANGLE, 200)):
            place = MOUTH[0] + radius * np.cos(angle), MOUTH[1] + radius * np.sin(angle)
            _disc(draw, place, WAVE_WIDTH / 2, large, colour)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def icon(side: int = ICON_SIDE) -> Image.Image:
    """The mark on a square with round corners, transparent around them."""
    picture = _gradient((side, side)).convert("RGBA")
    picture.alpha_composite(mark(side))
    corners = Image.new("L", (side * FINER, side * FINER))
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, side * FINER - 1, side * FINER - 1), CORNER * side * FINER, 255)
    picture.putalpha(corners.resize((side, side), Image.Resampling.LANCZOS))
    return picture


def banner() -> Image.Image:
    """The mark and the name at the left, thumbnails of examples at the right."""
    width, height = BANNER_SIZE
    picture = _gradient(BANNER_SIZE)
    side = height // len(SHOWN)
    for row, names in enumerate(SHOWN):
        for column, name in enumerate(names):
            with Image.open(WORKFLOWS / f"{name}.jpg") as thumbnail:
                shown = thumbnail.convert("RGB").resize((side, side))
            picture.paste(shown, (width - (len(names) - column) * side, row * side))
    head = mark(600)
    picture.paste(head, (-36, height - head.height), head)
    draw = ImageDraw.Draw(picture)
    draw.text((545, 250), TITLE, HEAD, ImageFont.load_default(80))
    for number, line in enumerate(LINES):
        draw.text((549, 372 + 36 * number), line, PALE, ImageFont.load_default(21))
    return picture


def _smooth(points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    spline, _ = splprep(np.array(points).T, s=0, k=min(3, len(points) - 1))
    x, y = splev(np.linspace(0, 1, 100), spline)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _disc(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], radius: float, side: int, colour: tuple[int, int, int]
) -> None:
    (x, y), r = place, radius
    draw.ellipse([(x - r) * side, (y - r) * side, (x + r) * side, (y + r) * side], colour)


def _gradient(size: tuple[int, int]) -> Image.Image:
    """From the upper left to the lower right."""
    x, y = np.meshgrid(np.linspace(0, 0.5, size[0]), np.linspace(0, 0.5, size[1]))
    share = (x + y)[..., None]
    return Image.fromarray((np.array(DEEP) * (1 - share) + np.array(BRIGHT) * share).round().astype(np.uint8))


def main(arguments: list[str]) -> int:
    """Write both pictures."""
    folder = Path(*arguments[:1] or [PICTURES])
    icon().save(folder / "icon.png", optimize=True)
    banner().save(folder / "banner.jpg", quality=JPEG_QUALITY)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
