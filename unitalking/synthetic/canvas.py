"""Fast flat drawing: filled outlines with hard edges at twice the size, and soft blobs for light and shade.

Coordinates are those of a unit square, x to the right and y down. Pictures are RGBA; alpha says which layer a pixel
belongs to (`FRONT`, `BEHIND` or nothing) and is never blended.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

Point = tuple[float, float]
Color = tuple[int, int, int]

# Painted pixels per finished pixel and side.
SUPERSAMPLE = 2
FRONT, BEHIND = 255, 128
_STEPS = 8
_BLOB_SIDE = 64


def mix(first: Color, second: Color, amount: float) -> Color:
    """The colour `amount` (0..1) of the way from `first` to `second`."""
    return tuple(round(a + (b - a) * amount) for a, b in zip(first, second, strict=True))


def lighter(color: Color, amount: float) -> Color:
    """Towards a warm white."""
    return mix(color, (255, 248, 238), amount)


def darker(color: Color, amount: float) -> Color:
    """Towards a warm black, as skin and hair darken."""
    return mix(color, (26, 12, 16), amount)


def smooth(points: list[Point], *, closed: bool = True) -> np.ndarray:
    """A Catmull-Rom curve through points, (n, 2)."""
    given = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([given[-1:], given, given[:2]] if closed else [given[:1], given, given[-1:]])
    segments = len(padded) - 3
    corners = np.stack([padded[start : start + segments] for start in range(4)], 1)
    return (_basis() @ corners).reshape(-1, given.shape[1])


@lru_cache(maxsize=1)
def _basis() -> np.ndarray:
    t = np.arange(_STEPS) / _STEPS
    return 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1)


def mirrored(half: list[Point]) -> list[Point]:
    """A closed outline from its right half, given from top to bottom as (distance from the middle, y)."""
    return [(0.5 + x, y) for x, y in half] + [(0.5 - x, y) for x, y in reversed(half) if x > 1e-9]


def placed(points: list[Point], side: int = 1) -> list[Point]:
    """Points given as (distance from the middle, y); `side` -1 puts them on the left."""
    return [(0.5 + side * x, y) for x, y in points]


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0) -> np.ndarray:
    """An ellipse turned by `angle` radians, (n, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    circle = _circle()
    across, down = circle[:, 0] * radius_x, circle[:, 1] * radius_y
    return np.stack([x + across * cos - down * sin, y + across * sin + down * cos], 1)


@lru_cache(maxsize=1)
def _circle() -> np.ndarray:
    turn = np.arange(28) * (2 * np.pi / 28)
    return np.stack([np.cos(turn), np.sin(turn)], 1)


def ribbon(points: list[Point], widths: list[float]) -> np.ndarray:
    """The outline of a stroke through points, whose width runs through `widths`, (n, 2)."""
    path = smooth([(*point, width) for point, width in zip(points, widths, strict=True)], closed=False)
    path = np.concatenate([path, [[*points[-1], widths[-1]]]])
    along = np.empty((len(path), 2))
    along[1:-1] = path[2:, :2] - path[:-2, :2]
    along[0], along[-1] = path[1, :2] - path[0, :2], path[-1, :2] - path[-2, :2]
    length = np.hypot(along[:, 0], along[:, 1]) + 1e-9
    offset = along[:, ::-1] * (-1, 1) * (np.maximum(path[:, 2], 0.0) / (2 * length))[:, None]
    return np.concatenate([path[:, :2] + offset, (path[:, :2] - offset)[::-1]])


class Canvas:
    """An RGBA picture that outlines are painted on.

    Args:
        image: what to paint on.
        scale: its pixels per unit.
        origin: the unit coordinates of its corner.
    """

    def __init__(self, image: Image.Image, scale: float, origin: Point = (0.0, 0.0)) -> None:
        self.image = image
        self._scale = scale
        self._origin = np.array(origin)
        self._draw = ImageDraw.Draw(image)

    @classmethod
    def empty(cls, side: int) -> Canvas:
        """A transparent unit square."""
        return cls(Image.new("RGBA", (side, side)), side)

    def _pixels(self, outline: np.ndarray | list[Point]) -> list[float]:
        return ((np.asarray(outline) - self._origin) * self._scale).ravel().tolist()

    def fill(self, outline: np.ndarray | list[Point], color: Color, layer: int = FRONT) -> None:
        """Covers the inside of an outline."""
        self._draw.polygon(self._pixels(outline), fill=(*color, layer))

    def line(self, points: np.ndarray | list[Point], color: Color, width: float) -> None:
        """A stroke of even width, at least a painted pixel."""
        self._draw.line(
            self._pixels(points), fill=(*color, FRONT), width=max(1, round(width * self._scale)), joint="curve"
        )

    def mask(self, outline: np.ndarray | list[Point]) -> Image.Image:
        """The inside of an outline, to clip with."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self._pixels(outline), fill=255)
        return mask

    def blob(
        self,
        x: float,
        y: float,
        radius_x: float,
        radius_y: float,
        color: Color,
        opacity: float,
        clip: Image.Image | None = None,
    ) -> None:
        """A soft round spot that fades out at its radius, only where `clip` is."""
        left, top, right, bottom = np.round(
            (np.array([x - radius_x, y - radius_y, x + radius_x, y + radius_y]) - np.tile(self._origin, 2))
            * self._scale
        ).astype(int)
        size = (max(right - left, 1), max(bottom - top, 1))
        spot = _spot(round(opacity * 50)).resize(size, Image.Resampling.BILINEAR)
        box = (int(left), int(top), int(left) + size[0], int(top) + size[1])
        if clip is not None:
            spot = ImageChops.multiply(spot, clip.crop(box))
        self.image.paste((*color, FRONT), box, spot)

    def gradient(self, top: Color, bottom: Color, clip: Image.Image | None = None) -> None:
        """Covers everything, or `clip`, from one colour at the top to another at the bottom."""
        share = np.linspace(0, 1, self.image.height)[:, None]
        colors = np.array([*top, FRONT]) * (1 - share) + np.array([*bottom, FRONT]) * share
        column = Image.fromarray(np.round(colors).astype(np.uint8)[:, None], "RGBA")
        self.image.paste(column.resize(self.image.size, Image.Resampling.NEAREST), (0, 0), clip)


@lru_cache(maxsize=64)
def _spot(fiftieths: int) -> Image.Image:
    axis = (np.arange(_BLOB_SIDE) + 0.5) / _BLOB_SIDE * 2 - 1
    distance = np.minimum(np.hypot(axis[:, None], axis[None]), 1.0)
    strength = 0.5 + 0.5 * np.cos(np.pi * distance)
    return Image.fromarray(np.round(strength * (255 * fiftieths / 50)).astype(np.uint8))
