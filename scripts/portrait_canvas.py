"""Drawing primitives of the sample portraits: smooth outlines, tapered strokes and soft shading over PIL.

Coordinates are those of a unit square, x to the right and y down; a mask is a PIL "L" image of the whole canvas.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Point = tuple[float, float]
Color = tuple[int, int, int]

# Outlines are drawn this much larger than their coordinates say, about a point between eyes and mouth.
_ZOOM = 1.1
_ZOOM_CENTER = (0.5, 0.475)
# Shading has no detail finer than 1/500 of the picture, so it is drawn at most this large and enlarged.
_SOFT_SIDE = 512


def mix(first: Color, second: Color, amount: float) -> Color:
    """The colour `amount` (0..1) of the way from `first` to `second`."""
    return tuple(round(a + (b - a) * amount) for a, b in zip(first, second, strict=True))


def lighter(color: Color, amount: float) -> Color:
    """Towards a warm white."""
    return mix(color, (255, 248, 238), amount)


def darker(color: Color, amount: float) -> Color:
    """Towards a warm black, as skin and hair darken."""
    return mix(color, (26, 12, 16), amount)


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 16) -> list[Point]:
    """A Catmull-Rom curve through `points`, as `steps` short segments between neighbours."""
    count = len(points)
    result = []
    for index in range(count if closed else count - 1):
        neighbours = [index - 1, index, index + 1, index + 2]
        p0, p1, p2, p3 = (points[i % count] if closed else points[min(max(i, 0), count - 1)] for i in neighbours)
        for step in range(steps):
            t = step / steps
            result.append(tuple(_catmull_rom(a, b, c, d, t) for a, b, c, d in zip(p0, p1, p2, p3, strict=True)))
    return result if closed else [*result, points[-1]]


def _catmull_rom(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def placed(points: Sequence[Point], side: int = 1) -> list[Point]:
    """Points given as (distance from the face's axis, y) on the picture; `side` -1 mirrors them."""
    return [(0.5 + side * dx, y) for dx, y in points]


def mirrored(half: Sequence[Point]) -> list[Point]:
    """A closed outline from its right half, given from top to bottom as (distance from the face's axis, y)."""
    return placed(half) + [(0.5 - dx, y) for dx, y in reversed(half) if dx > 1e-9]


def ellipse(center: Point, radius_x: float, radius_y: float, *, angle: float = 0.0, steps: int = 64) -> list[Point]:
    """An ellipse turned by `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    points = []
    for step in range(steps):
        x, y = radius_x * math.cos(2 * math.pi * step / steps), radius_y * math.sin(2 * math.pi * step / steps)
        points.append((center[0] + x * cos - y * sin, center[1] + x * sin + y * cos))
    return points


def ribbon(points: Sequence[Point], widths: Sequence[float]) -> list[Point]:
    """The outline of a stroke through `points` whose width runs smoothly through `widths` (one per point)."""
    path = smooth([(*point, width) for point, width in zip(points, widths, strict=True)], closed=False)
    left, right = [], []
    for index, (x, y, width) in enumerate(path):
        ahead, behind = path[min(index + 1, len(path) - 1)], path[max(index - 1, 0)]
        dx, dy = ahead[0] - behind[0], ahead[1] - behind[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length * max(width, 0.0) / 2, dx / length * max(width, 0.0) / 2
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return left + right[::-1]


class Canvas:
    """A square picture painted through masks at `supersample` times its size.

    Args:
        size: side of the finished picture in pixels.
        supersample: pixels painted per finished pixel and side.
        tilt_deg: every outline drawn while `tilted` is True turns by this angle about `pivot`.
        pivot: the point that the tilt leaves in place.
    """

    def __init__(self, size: int, *, supersample: int, tilt_deg: float, pivot: Point) -> None:
        self.size = size
        self.side = size * supersample
        self.image = Image.new("RGB", (self.side, self.side))
        self.tilted = False
        self._angle = math.radians(tilt_deg)
        self._pivot = pivot

    def empty(self) -> Image.Image:
        """A mask that selects nothing."""
        return Image.new("L", (self.side, self.side), 0)

    def mask(self, *outlines: Iterable[Point]) -> Image.Image:
        """The inside of any of `outlines`."""
        mask = self.empty()
        draw = ImageDraw.Draw(mask)
        for outline in outlines:
            draw.polygon(self._pixels(outline, self.side), fill=255)
        return mask

    def soft(self, *outlines: Iterable[Point], blur: float) -> Image.Image:
        """The inside of any of `outlines`, with an edge blurred by `blur` of the canvas side."""
        side = min(self.side, _SOFT_SIDE)
        mask = Image.new("L", (side, side), 0)
        draw = ImageDraw.Draw(mask)
        for outline in outlines:
            draw.polygon(self._pixels(outline, side), fill=255)
        mask = mask.filter(ImageFilter.GaussianBlur(blur * side))
        return mask if side == self.side else mask.resize((self.side, self.side), Image.Resampling.BICUBIC)

    def feather(self, mask: Image.Image, blur: float) -> Image.Image:
        """`mask` with its edge blurred by `blur` of the canvas side."""
        return mask.filter(ImageFilter.GaussianBlur(blur * self.side))

    def both(self, first: Image.Image, second: Image.Image) -> Image.Image:
        """The part of the picture that is in both masks."""
        return ImageChops.multiply(first, second)

    def without(self, mask: Image.Image, removed: Image.Image) -> Image.Image:
        """The part of `mask` that is not in `removed`."""
        return ImageChops.multiply(mask, ImageChops.invert(removed))

    def paint(self, mask: Image.Image, color: Color, opacity: float = 1.0) -> None:
        """Covers the mask with a colour."""
        if opacity < 1.0:
            mask = mask.point(lambda value: round(value * opacity))
        self.image.paste(color, (0, 0), mask)

    def paint_gradient(self, mask: Image.Image, top: Color, bottom: Color, span: tuple[float, float]) -> None:
        """Covers the mask with a vertical gradient between the heights `span`."""
        column = Image.new("RGB", (1, self.side))
        for row in range(self.side):
            y = _ZOOM_CENTER[1] + (row / self.side - _ZOOM_CENTER[1]) / _ZOOM
            amount = (y - span[0]) / (span[1] - span[0])
            column.putpixel((0, row), mix(top, bottom, min(max(amount, 0.0), 1.0)))
        self.image.paste(column.resize((self.side, self.side)), (0, 0), mask)

    def strands(
        self, mask: Image.Image, flow: Sequence[Sequence[Point]], colors: Sequence[Color], *, count: int, seed: int
    ) -> None:
        """Fine hairs inside `mask`.

        Each hair follows a random blend of two neighbouring guide lines of `flow` (all with the same number of
        points), over a random part of its length.
        """
        generator = random.Random(seed)
        layers = [self.empty() for _ in colors]
        draws = [ImageDraw.Draw(layer) for layer in layers]
        guides = [smooth(line, closed=False, steps=10) for line in flow]
        width = self.side * 0.0011
        opacity = min(width, 1.0)  # a line is at least a pixel wide: thinner ones are drawn fainter
        for _ in range(count):
            place = generator.random() * (len(guides) - 1)
            left = min(int(place), len(guides) - 2)
            amount = place - left
            start = generator.random() * 0.7
            line = [
                (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount)
                for a, b in zip(guides[left], guides[left + 1], strict=True)
            ]
            line = line[int(start * len(line)) : int((start + 0.15 + 0.5 * generator.random()) * len(line)) + 2]
            pixels = self._pixels(line, self.side)
            draws[generator.randrange(len(draws))].line(
                pixels, fill=round(generator.randint(60, 150) * opacity), width=max(1, round(width))
            )
        for layer, color in zip(layers, colors, strict=True):
            self.paint(self.both(layer, mask), color)

    def finished(self) -> Image.Image:
        """The picture at its final size."""
        return self.image.resize((self.size, self.size), Image.Resampling.LANCZOS)

    def _pixels(self, outline: Iterable[Point], side: int) -> list[Point]:
        angle = self._angle if self.tilted else 0.0
        cos, sin = math.cos(angle), math.sin(angle)
        (px, py), (cx, cy) = self._pivot, _ZOOM_CENTER
        pixels = []
        for x, y in outline:
            turned_x, turned_y = px + (x - px) * cos - (y - py) * sin, py + (x - px) * sin + (y - py) * cos
            pixels.append(((cx + (turned_x - cx) * _ZOOM) * side, (cy + (turned_y - cy) * _ZOOM) * side))
        return pixels
