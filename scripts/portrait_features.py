"""The features of a drawn face: eyes, brows, nose, mouth, lines of age, glasses, earrings."""

from __future__ import annotations

import random

from PIL import Image
from portrait_canvas import Canvas, Color, Point, darker, ellipse, lighter, mix, placed, ribbon, smooth
from portrait_look import Look

_EYE_X = 0.074
_EYE_Y = 0.424
_MOUTH_Y = 0.602


class _EyeLids:
    """The lines of one eye's lids, for a state of the look."""

    def __init__(self, look: Look, side: int) -> None:
        self.center = (0.5 + side * _EYE_X, _EYE_Y)
        self.scale = 1.1 * look.eye_size
        self._side = side
        slant, squint, closed = 0.006 * look.eye_slant, 0.003 * max(look.smile, 0.0), 0.010
        gap = 1.0 - min(max(look.blink, 0.0), 1.0)
        middle = [closed + (top - closed) * gap for top in (-0.0135, -0.0205, -0.0155)]
        self._upper_y = [0.003, middle[0], middle[1] + 0.002, middle[2], -slant]
        self._lower_y = [0.003, 0.0115 - squint, 0.0150 - squint, 0.0120 - squint, -slant]
        self._x = [-0.037, -0.020, 0.001, 0.021, 0.039]

    def upper(self, raised: float) -> list[Point]:
        """From the inner to the outer corner, `raised` (negative is up) away from the lid's edge."""
        shares = [0.55, 1.0, 1.0, 1.0, 0.55]
        heights = [y + raised * share / self.scale for y, share in zip(self._upper_y, shares, strict=True)]
        return self._placed(heights)

    def lower(self) -> list[Point]:
        """From the inner to the outer corner."""
        return self._placed(self._lower_y)

    def opening(self) -> list[Point]:
        """What is seen of the eyeball."""
        return smooth(self.upper(0.0), closed=False) + smooth(self.lower(), closed=False)[::-1]

    def _placed(self, heights: list[float]) -> list[Point]:
        x, y = self.center
        return [
            (x + self._side * dx * self.scale, y + dy * self.scale) for dx, dy in zip(self._x, heights, strict=True)
        ]


def draw_eye(canvas: Canvas, look: Look, side: int) -> None:
    """One eye; `side` is -1 for the picture's left, 1 for its right."""
    lids = _EyeLids(look, side)
    white = canvas.mask(lids.opening())
    canvas.paint(white, (246, 240, 236))
    _draw_iris(canvas, look, lids, white)
    shade = ribbon([(x, y + 0.003) for x, y in lids.upper(0.0)], [0.006, 0.011, 0.012, 0.011, 0.006])
    canvas.paint(canvas.both(canvas.soft(shade, blur=0.003), white), (92, 70, 74), 0.45)
    line = mix(darker(look.skin, 0.8), (30, 18, 16), 0.5)
    canvas.paint(canvas.mask(ribbon(lids.upper(0.0), [0.0030, 0.0062, 0.0072, 0.0068, 0.0030])), line)
    canvas.paint(canvas.mask(ribbon(lids.lower(), [0.001, 0.0026, 0.0026, 0.0026, 0.002])), line, 0.42)
    crease = ribbon(lids.upper(-0.0115 * look.eye_size * (1 - 0.6 * look.blink)), [0.0, 0.0028, 0.0034, 0.0028, 0.0])
    canvas.paint(canvas.feather(canvas.mask(crease), 0.0012), look.skin_shadow, 0.85)
    for (x, y), reach, spread in zip(lids.upper(0.0)[2:], (0.6, 0.9, 1.0), (0.45, 0.70, 0.95), strict=True):
        length = 0.014 * look.lashes * reach
        path = [(x, y), (x + side * length * 0.40, y - length * 0.18), (x + side * length * spread, y - length * 0.62)]
        canvas.paint(canvas.mask(ribbon(path, [0.0042, 0.0028, 0.0])), line)


def _draw_iris(canvas: Canvas, look: Look, lids: _EyeLids, white: Image.Image) -> None:
    x = lids.center[0] + 0.013 * look.gaze[0]
    y = lids.center[1] - 0.003 * lids.scale + 0.007 * look.gaze[1]
    radius = 0.0182 * lids.scale
    iris = canvas.both(canvas.mask(ellipse((x, y), radius * 0.88, radius * 0.88)), white)
    canvas.paint(canvas.both(canvas.mask(ellipse((x, y), radius, radius)), white), darker(look.eye_color, 0.55))
    canvas.paint(iris, look.eye_color)
    glow = canvas.soft(ellipse((x, y + radius * 0.45), radius * 0.62, radius * 0.38), blur=0.003)
    canvas.paint(canvas.both(glow, iris), lighter(look.eye_color, 0.32), 0.75)
    canvas.paint(canvas.both(canvas.mask(ellipse((x, y), radius * 0.44, radius * 0.44)), white), (14, 10, 12))
    large, small = ellipse((x - 0.0058, y - 0.0062), 0.0043, 0.0043), ellipse((x + 0.0062, y + 0.0066), 0.0020, 0.0020)
    canvas.paint(canvas.both(canvas.mask(large), white), (255, 255, 255))
    canvas.paint(canvas.both(canvas.mask(small), white), (255, 255, 255), 0.7)


def draw_brow(canvas: Canvas, look: Look, side: int) -> None:
    """One eyebrow."""
    lift = 0.006 * look.mouth_open
    path = [(0.030, 0.374), (0.056, 0.3625), (0.086, 0.3585), (0.112, 0.366), (0.126, 0.379)]
    points = placed([(dx, y - lift) for dx, y in path], side)
    widths = [0.0115 * look.brow_weight * share for share in (0.75, 1.05, 1.0, 0.7, 0.1)]
    brow = canvas.feather(canvas.mask(ribbon(points, widths)), 0.0016)
    canvas.paint(brow, look.brow_color, 0.80)
    flow = [[(x, y + shift) for x, y in points] for shift in (0.006, 0.0, -0.006)]
    colors = [darker(look.brow_color, 0.5), lighter(look.brow_color, 0.12)]
    canvas.strands(brow, flow, colors, count=160, seed=look.seed + side)


def draw_nose(canvas: Canvas, look: Look, head: Image.Image) -> None:
    """The nose: a shaded side, a lit bridge and tip, nostrils."""
    shadow, light, width = look.skin_shadow, lighter(look.skin, 0.55), 0.031 * look.nose_width
    flank = [
        (0.016, 0.400), (0.020, 0.46), (width * 0.95, 0.512), (width * 1.05, 0.530), (width * 0.4, 0.522),
        (0.012, 0.47),
    ]  # fmt: skip
    canvas.paint(canvas.both(canvas.soft(smooth(placed(flank)), blur=0.008), head), shadow, 0.55)
    below = [(-width * 0.9, 0.536), (0.0, 0.541), (width * 1.2, 0.536), (width * 0.5, 0.556), (-width * 0.3, 0.554)]
    canvas.paint(canvas.both(canvas.soft(smooth(placed(below)), blur=0.008), head), shadow, 0.50)
    bridge = ribbon([(0.497, 0.39), (0.497, 0.45), (0.497, 0.505)], [0.008, 0.010, 0.014])
    canvas.paint(canvas.soft(bridge, blur=0.006), light, 0.40)
    canvas.paint(canvas.soft(ellipse((0.496, 0.512), 0.011 * look.nose_width, 0.009), blur=0.005), light, 0.50)
    for side in (-1, 1):
        wing = placed(
            [(width * 0.88, 0.506), (width * 1.10, 0.520), (width * 1.02, 0.535), (width * 0.78, 0.538)], side
        )
        edge = canvas.mask(ribbon(wing, [0.0, 0.0035, 0.0040, 0.0]))
        canvas.paint(canvas.feather(edge, 0.0014), darker(shadow, 0.22), 0.62)
        center = (0.5 + side * width * 0.52, 0.5355)
        nostril = canvas.mask(ellipse(center, 0.0095 * look.nose_width, 0.0040, angle=side * -0.25))
        canvas.paint(canvas.feather(nostril, 0.0016), darker(look.skin, 0.80), 0.72)
    tip = [(0.5 - width * 0.34, 0.5385), (0.5, 0.5435), (0.5 + width * 0.34, 0.5385)]
    _line(canvas, tip, 0.0034, darker(shadow, 0.25), 0.55)


def draw_lines(canvas: Canvas, look: Look) -> None:
    """The lines that come with age and with a smile, and freckles."""
    color = look.skin_shadow
    for side in (-1, 1):
        fold = placed([(0.040, 0.532), (0.056, 0.556), (0.070, 0.592), (0.072, 0.612)], side)
        _line(canvas, fold, 0.005, color, min(0.10 + 0.10 * max(look.smile, 0.0) + 0.60 * look.age, 0.75))
        bag = placed([(0.040, 0.447), (0.066, 0.458), (0.096, 0.452)], side)
        _line(canvas, bag, 0.004, color, 0.12 + 0.55 * look.age)
        for end in (-0.014, 0.0, 0.014):
            foot = placed([(0.118, 0.424 + 0.5 * end), (0.134, 0.424 + end), (0.146, 0.424 + 1.4 * end)], side)
            _line(canvas, foot, 0.0026, color, 0.55 * look.age)
    for y, half in ((0.268, 0.075), (0.292, 0.088), (0.317, 0.070)):
        wave = [(0.5 - half, y), (0.5 - half * 0.4, y - 0.005), (0.5 + half * 0.3, y - 0.002), (0.5 + half, y - 0.004)]
        _line(canvas, wave, 0.0034, color, 0.60 * look.age)
    if look.freckles:
        generator = random.Random(look.seed)
        spots = []
        for _ in range(70):
            center = (generator.gauss(0.5, 0.062), generator.gauss(0.492, 0.020))
            radius = generator.uniform(0.0011, 0.0026)
            spots.append(ellipse(center, radius, radius, steps=10))
        canvas.paint(canvas.feather(canvas.mask(*spots), 0.0008), mix(color, (150, 80, 40), 0.4), 0.50)


def _line(canvas: Canvas, points: list[Point], width: float, color: Color, opacity: float) -> None:
    widths = [0.0, *[width] * (len(points) - 2), 0.0]
    canvas.paint(canvas.feather(canvas.mask(ribbon(points, widths)), 0.0020), color, opacity)


def draw_mouth(canvas: Canvas, look: Look) -> None:
    """The mouth, from closed to wide open, with teeth and tongue."""
    half = 0.060 * (1 + 0.14 * look.mouth_width - 0.14 * look.mouth_open + 0.08 * look.smile)
    lift, full, gape = 0.010 * look.smile, look.lip_fullness, look.mouth_open
    top, bottom = _MOUTH_Y - 0.004 * gape, _MOUTH_Y + 0.056 * gape
    corner = _MOUTH_Y - lift + 0.016 * gape
    upper_line = _bow(half, corner, [(0.5, top - lift * 0.05 + 0.001), (0.0, top + 0.003)])
    lower_line = _bow(half, corner, [(0.62, bottom - 0.003 - 0.004 * gape), (0.0, bottom + 0.003)])
    upper_edge = _bow(
        half, corner, [(0.5, top - 0.0105 * full), (0.2, top - 0.0165 * full), (0.0, top - 0.0125 * full)]
    )
    lower_edge = _bow(half, corner, [(0.60, bottom + 0.0150 * full), (0.0, bottom + 0.0235 * full)])
    inner_top, inner_bottom = smooth(upper_line, closed=False), smooth(lower_line, closed=False)
    upper = canvas.mask(smooth(upper_edge, closed=False) + inner_top[::-1])
    lower = canvas.mask(inner_bottom + smooth(lower_edge, closed=False)[::-1])
    shade = canvas.soft(ellipse((0.5, bottom + 0.030 * full), half * 0.50, 0.006), blur=0.006)
    canvas.paint(shade, look.skin_shadow, 0.55)
    inside = canvas.mask(inner_top + inner_bottom[::-1])
    _mouth_inside(canvas, look, inside, (top, bottom))
    canvas.paint(canvas.feather(upper, 0.0008), darker(look.lip_color, 0.14))
    canvas.paint(canvas.feather(lower, 0.0008), look.lip_color)
    shine = canvas.soft(ellipse((0.492, bottom + 0.013 * full), half * 0.34, 0.0040 * full), blur=0.004)
    canvas.paint(canvas.both(shine, lower), lighter(look.lip_color, 0.6), 0.55)
    seam = canvas.mask(ribbon(upper_line, [0.003, 0.0034, 0.0044, 0.0034, 0.003]))
    canvas.paint(canvas.feather(seam, 0.0008), darker(look.lip_color, 0.70), 0.9 * max(1 - 4 * gape, 0.0))
    for side in (-1, 1):
        dimple = placed(
            [(half - 0.004, corner + 0.001), (half + 0.003, corner - 0.001), (half + 0.007, corner - 0.004)], side
        )
        _line(canvas, dimple, 0.0042, look.skin_shadow, 0.7)


def _bow(half: float, corner: float, points: list[tuple[float, float]]) -> list[Point]:
    """A symmetric line from corner to corner of the mouth; `points` are (share of the half width, y), ending at 0."""
    right = [(share * half, y) for share, y in [(1.0, corner), *points]]
    return placed(right, -1) + placed(right[:-1])[::-1]


def _mouth_inside(canvas: Canvas, look: Look, inside: Image.Image, span: tuple[float, float]) -> None:
    top, bottom = span
    canvas.paint(inside, (74, 20, 26))
    tongue = canvas.soft(ellipse((0.5, bottom + 0.004), 0.034, 0.024 * look.mouth_open + 0.004), blur=0.003)
    canvas.paint(canvas.both(tongue, inside), (196, 88, 88))
    half = [(0.048, top - 0.03), (0.044, top + 0.008), (0.026, top + 0.0135), (0.0, top + 0.0150)]
    teeth = canvas.mask(smooth(placed(half, -1) + placed(half[:-1])[::-1]))
    canvas.paint(canvas.both(teeth, inside), (244, 238, 228))


def draw_glasses(canvas: Canvas, look: Look) -> None:
    """Rims, bridge, temples and a slight reflection."""
    if look.glasses == "none":
        return
    for side in (-1, 1):
        lens = _lens(look, side)
        half = len(lens) // 2
        # In two overlapping parts: a single outline that meets itself would have a hole there.
        rim = [ribbon(part, [0.0078] * len(part)) for part in (lens[: half + 3], [*lens[half:], *lens[:3]])]
        glass = canvas.mask(lens)
        shadow = canvas.soft(*[[(x, y + 0.008) for x, y in part] for part in rim], blur=0.004)
        canvas.paint(shadow, look.skin_shadow, 0.40)
        canvas.paint(glass, (235, 244, 250), 0.10)
        x, y = min(point[0] for point in lens), min(point[1] for point in lens)
        glint = [(x + 0.020, y + 0.060), (x + 0.062, y + 0.004), (x + 0.080, y + 0.004), (x + 0.034, y + 0.072)]
        canvas.paint(canvas.both(canvas.soft(glint, blur=0.003), glass), (255, 255, 255), 0.20)
        canvas.paint(canvas.mask(*rim), look.glasses_color)
        temple = placed([(0.139, 0.412), (0.160, 0.410), (0.180 * look.face_width, 0.412)], side)
        canvas.paint(canvas.mask(ribbon(temple, [0.008] * 3)), look.glasses_color)
    bridge = ribbon([(0.479, 0.424), (0.5, 0.414), (0.521, 0.424)], [0.007] * 3)
    canvas.paint(canvas.mask(bridge), look.glasses_color)


def _lens(look: Look, side: int) -> list[Point]:
    x, y = 0.079, 0.428
    if look.glasses == "round":
        return ellipse((0.5 + side * x, y), 0.058, 0.055)
    corners = [
        (-0.058, -0.036), (0.0, -0.041), (0.060, -0.040), (0.058, 0.020), (0.038, 0.044), (-0.030, 0.044),
        (-0.054, 0.018),
    ]  # fmt: skip
    return smooth(placed([(x + dx, y + dy) for dx, dy in corners], side))


def draw_earrings(canvas: Canvas, look: Look) -> None:
    """Two golden drops."""
    if not look.earrings:
        return
    for side in (-1, 1):
        x, y = 0.5 + side * (0.176 * look.face_width + 0.010), 0.530
        canvas.paint(canvas.mask(ellipse((x, y), 0.0115, 0.0115)), (150, 98, 28))
        canvas.paint(canvas.mask(ellipse((x - 0.001, y - 0.001), 0.0100, 0.0100)), (222, 170, 66))
        canvas.paint(canvas.soft(ellipse((x - 0.004, y - 0.004), 0.003, 0.003), blur=0.002), (255, 240, 190), 0.9)
