"""What a drawn person looks like, and what the face does at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from portrait_canvas import Color, darker, mix

HAIR_STYLES = ("bald", "buzz", "short", "side_part", "curly", "afro", "bob", "long", "wavy", "bun", "scarf")
BEARD_STYLES = ("none", "stubble", "moustache", "full")
GLASSES_STYLES = ("none", "round", "square")
COLLAR_STYLES = ("crew", "v", "shirt", "turtleneck")


@dataclass(frozen=True)
class Look:
    """What a person looks like, and what the face does.

    Attributes:
        skin, hair_color, eye_color, lip_color, shirt, background, glasses_color: colours, RGB 0..255.
        hair: one of HAIR_STYLES.
        beard: one of BEARD_STYLES.
        glasses: one of GLASSES_STYLES.
        collar: one of COLLAR_STYLES.
        earrings, freckles: whether there are any.
        age: 0 (young) to 1 (old): lines, and the weight of the brows.
        face_width: width of the face relative to the usual one, about 0.9 to 1.1.
        jaw: 0 (narrow chin) to 1 (square jaw).
        eye_size: relative size of the eyes, about 0.85 to 1.2.
        eye_slant: how much higher the outer corner of the eye lies than the inner one, -1 to 1.
        brow_weight: thickness of the eyebrows, about 0.6 to 1.5.
        lashes: 0 (none drawn) to 1 (long).
        nose_width: relative width of the nose, about 0.8 to 1.3.
        lip_fullness: relative height of the lips, about 0.7 to 1.4.
        smile: -1 to 1.
        mouth_open: 0 (closed) to 1 (as wide as speech goes).
        mouth_width: -1 (rounded, "oo") to 1 (spread, "ee").
        blink: 0 (open eyes) to 1 (closed).
        gaze: where the eyes look, each of (right, down) in -1 to 1.
        tilt_deg: rotation of the head, clockwise, about -12 to 12.
        seed: of the fine hairs, curls and freckles.
    """

    skin: Color = (236, 188, 160)
    hair: str = "short"
    hair_color: Color = (70, 45, 30)
    eye_color: Color = (92, 62, 40)
    lip_color: Color = (190, 95, 90)
    shirt: Color = (60, 84, 120)
    background: Color = (150, 176, 190)
    beard: str = "none"
    glasses: str = "none"
    glasses_color: Color = (40, 34, 36)
    collar: str = "crew"
    earrings: bool = False
    freckles: bool = False
    age: float = 0.0
    face_width: float = 1.0
    jaw: float = 0.4
    eye_size: float = 1.0
    eye_slant: float = 0.2
    brow_weight: float = 1.0
    lashes: float = 0.4
    nose_width: float = 1.0
    lip_fullness: float = 1.0
    smile: float = 0.3
    mouth_open: float = 0.0
    mouth_width: float = 0.0
    blink: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    tilt_deg: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        choices = {"hair": HAIR_STYLES, "beard": BEARD_STYLES, "glasses": GLASSES_STYLES, "collar": COLLAR_STYLES}
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"Look.{field} is {getattr(self, field)!r}; expected one of {', '.join(allowed)}.")

    @property
    def skin_shadow(self) -> Color:
        """The skin where the light does not reach: darker and redder."""
        return mix(darker(self.skin, 0.38), (150, 62, 50), 0.16)

    @property
    def brow_color(self) -> Color:
        """Eyebrows: the hair's colour, towards the skin's shadow under a scarf or on a bald head."""
        if self.hair in ("scarf", "bald"):
            return darker(self.skin, 0.72)
        return darker(self.hair_color, 0.25)
