"""Who is drawn: every identity is a number, and its look is drawn from that number alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property

from .canvas import Color, darker, mix
from .draws import between, draw
from .palette import EYES, GOLD, HAIR, PAINT, SKIN

# Even numbers are men, odd ones women; those from HELD_OUT_FROM on are never in training.
TRAINED_IDENTITIES = 400_000
HELD_OUT_FROM = 1_000_000
HELD_OUT_IDENTITIES = 20_000

_STYLES = {
    "man": {
        **{"short": 3, "side parted": 3, "swept up": 2, "buzz cut": 2, "bald": 2, "curly": 2, "receding": 1},
        **{"afro": 1, "shoulder length": 1},
    },
    "woman": {
        **{"long straight": 3, "long wavy": 3, "bob": 3, "bun": 2, "ponytail": 2, "fringe": 2, "curly": 2},
        **{"afro": 1.5, "short": 1, "head scarf": 1.5},
    },
}
BEARDS = {"none": 6, "stubble": 1.5, "moustache": 1, "goatee": 1, "full beard": 2.5}
_GLASSES = {"none": 6, "round": 1.3, "square": 1.3, "sunglasses on the head": 0.2}
_COLLARS = {
    "man": {"crew": 3, "v": 2, "shirt": 2, "suit": 1.5, "turtleneck": 1, "hoodie": 1.5},
    "woman": {"crew": 3, "v": 3, "shirt": 1.5, "suit": 1, "turtleneck": 1.2, "hoodie": 1},
}
_PATTERNS = {"plain": 6, "striped": 1.5, "dotted": 1}
_SCENES = {"plain": 5, "gradient": 3, "wall": 2, "window": 1, "hills": 1.2, "shelf": 1, "curtain": 1}


@dataclass(frozen=True)
class Look:
    """A person, their clothes and their room; colours by the names of `palette`.

    Attributes:
        gender: "man" or "woman".
        age: "young", "" or "old".
        skin, hair_color, eye_color, shirt, background, accent: names of colours; `accent` is the scarf, the second
            colour of a pattern, or a tie.
        hair, beard, glasses, collar, pattern, scene: names of shapes.
        tints: small differences of colour, one per field of colours, so that no two people are alike.
        face, jaw, eyes, brows, nose, lips, mouth: sizes relative to the usual, about 0.9 to 1.1.
        slant, smile: of eyes and mouth, -1 to 1.
        earrings, freckles, lipstick: whether there are any.
    """

    identity: int
    gender: str
    age: str
    skin: str
    hair_color: str
    eye_color: str
    shirt: str
    background: str
    accent: str
    hair: str
    beard: str
    glasses: str
    collar: str
    pattern: str
    scene: str
    frame_color: str
    tints: tuple[float, ...]
    face: float
    jaw: float
    eyes: float
    brows: float
    nose: float
    lips: float
    mouth: float
    slant: float
    smile: float
    earrings: bool
    freckles: bool
    lipstick: bool

    @cached_property
    def skin_color(self) -> Color:
        """The skin where the light falls."""
        return _tinted(SKIN[self.skin], self.tints[0:3], 7)

    @cached_property
    def skin_shadow(self) -> Color:
        """The skin where it does not: darker and redder."""
        return mix(darker(self.skin_color, 0.30), (160, 66, 52), 0.20)

    @cached_property
    def hair_paint(self) -> Color:
        """Hair, or the scarf over it."""
        if self.hair == "head scarf":
            return _tinted(PAINT[self.accent], self.tints[3:6], 8)
        return _tinted(HAIR[self.hair_color][0], self.tints[3:6], 8)

    @cached_property
    def beard_paint(self) -> Color:
        """Beard and brows: the hair, never too bright to be seen on the skin."""
        return darker(_tinted(HAIR[self.hair_color][0], self.tints[3:6], 8), 0.18)

    @cached_property
    def shirt_paint(self) -> Color:
        """Clothes."""
        return _tinted(PAINT[self.shirt], self.tints[6:9], 9)

    @cached_property
    def accent_paint(self) -> Color:
        """Scarf, stripes, tie."""
        return _tinted(PAINT[self.accent], self.tints[3:6], 8)

    @cached_property
    def wall_paint(self) -> Color:
        """The room behind."""
        return _tinted(PAINT[self.background], self.tints[9:12], 9)

    @cached_property
    def iris_paint(self) -> Color:
        """The eyes."""
        return EYES[self.eye_color]

    @cached_property
    def frame_paint(self) -> Color:
        """The frame of the glasses."""
        return {"black": (34, 32, 38), "brown": (110, 68, 40), "red": (170, 40, 48), "gold": GOLD}[self.frame_color]

    @cached_property
    def lip_paint(self) -> Color:
        """Lips; with lipstick they are redder. Never as dark as the inside of the mouth."""
        natural = mix(self.skin_color, (196, 78, 84), 0.52)
        return mix(natural, (206, 44, 70), 0.7) if self.lipstick else natural


def identity_of(number: int, split: str, gender: str) -> int:
    """The identity that a random `number` stands for in a split."""
    first, count = (0, TRAINED_IDENTITIES) if split == "train" else (HELD_OUT_FROM, HELD_OUT_IDENTITIES)
    return first + 2 * (number % (count // 2)) + (gender == "woman")


def look_of(identity: int) -> Look:
    """The look of an identity."""
    generator = draw("look", identity)
    gender = "woman" if identity % 2 else "man"
    age = generator.choice(("young", "", "", "", "old"))
    hair = _weighted(generator, _STYLES[gender])
    hair_color = _weighted(generator, _hair_weights(age))
    shirt, background, accent = _three_paints(generator, hair_color)
    return Look(
        identity=identity,
        gender=gender,
        age=age,
        skin=generator.choice(tuple(SKIN)),
        hair_color=hair_color,
        eye_color=generator.choice(tuple(EYES)),
        shirt=shirt,
        background=background,
        accent=accent,
        hair=hair,
        beard="none" if gender == "woman" or age == "young" else _weighted(generator, BEARDS),
        glasses=_weighted(generator, _GLASSES),
        collar="crew" if hair == "head scarf" else _weighted(generator, _COLLARS[gender]),
        pattern=_weighted(generator, _PATTERNS),
        scene=_weighted(generator, _SCENES),
        frame_color=generator.choice(("black", "black", "brown", "red", "gold")),
        tints=tuple(generator.uniform(-1, 1) for _ in range(12)),
        face=between(generator, 0.92, 1.07),
        jaw=between(generator, 0.0, 0.55) if gender == "woman" else between(generator, 0.35, 1.0),
        eyes=between(generator, 0.92, 1.12) * (1.06 if gender == "woman" else 1.0),
        brows=between(generator, 0.7, 1.1) if gender == "woman" else between(generator, 1.0, 1.6),
        nose=between(generator, 0.85, 1.2),
        lips=between(generator, 0.95, 1.3) if gender == "woman" else between(generator, 0.75, 1.05),
        mouth=between(generator, 0.95, 1.07),
        slant=between(generator, -0.6, 1.0),
        smile=between(generator, -0.1, 0.9),
        earrings=gender == "woman" and generator.random() < 0.45,
        freckles=generator.random() < 0.15,
        lipstick=gender == "woman" and generator.random() < 0.5,
    )


def _weighted(generator: random.Random, weights: dict[str, float]) -> str:
    place = generator.random() * sum(weights.values())
    for name, weight in weights.items():
        place -= weight
        if place < 0:
            return name
    return name


def _hair_weights(age: str) -> dict[str, float]:
    if age == "old":
        return {"gray": 2.0, "white": 2.0, "brown": 0.5, "black": 0.5}
    weights = {name: weight for name, (_, weight) in HAIR.items()}
    return weights if age == "" else {name: weight for name, weight in weights.items() if name not in ("gray", "white")}


def _three_paints(generator: random.Random, hair_color: str) -> tuple[str, str, str]:
    """Shirt, wall and accent: all different, and a wall that the hair stands out from."""
    shirt = generator.choice(tuple(PAINT))
    alike = {"blond": ("beige", "yellow"), "light brown": ("brown",), "dark brown": ("black",), "red": ("orange",)}
    bad = {shirt, hair_color, *alike.get(hair_color, ())}
    background = generator.choice([name for name in PAINT if name not in bad])
    accent = generator.choice([name for name in PAINT if name not in (shirt, background)])
    return shirt, background, accent


def _tinted(color: Color, tint: tuple[float, ...], reach: float) -> Color:
    return tuple(min(max(round(value + reach * amount), 0), 255) for value, amount in zip(color, tint, strict=True))
