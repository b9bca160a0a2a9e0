"""The colours that people, clothes and rooms are drawn in, by the names that captions use."""

from __future__ import annotations

from .canvas import Color

SKIN: dict[str, Color] = {
    "pale": (250, 222, 204),
    "fair": (245, 206, 180),
    "light": (236, 188, 156),
    "olive": (217, 170, 128),
    "tan": (200, 146, 102),
    "brown": (164, 110, 74),
    "dark brown": (126, 80, 54),
    "dark": (92, 58, 44),
}
# Colour, and how often it is drawn.
HAIR: dict[str, tuple[Color, float]] = {
    "black": ((38, 30, 34), 1.0),
    "dark brown": ((74, 46, 34), 1.0),
    "brown": ((112, 70, 44), 1.0),
    "light brown": ((156, 108, 66), 0.7),
    "blond": ((222, 178, 98), 1.0),
    "red": ((184, 76, 36), 0.8),
    "gray": ((150, 148, 152), 0.7),
    "white": ((230, 228, 226), 0.6),
    "pink": ((232, 120, 168), 0.25),
    "blue": ((70, 120, 206), 0.25),
    "purple": ((134, 84, 176), 0.25),
    "green": ((70, 156, 104), 0.2),
}
EYES: dict[str, Color] = {
    "brown": (96, 58, 34),
    "dark brown": (58, 36, 26),
    "blue": (66, 124, 184),
    "green": (74, 136, 86),
    "gray": (116, 128, 138),
}
# Clothes, walls and scarves.
PAINT: dict[str, Color] = {
    "red": (206, 58, 56),
    "dark red": (134, 40, 38),
    "orange": (236, 134, 50),
    "yellow": (242, 200, 66),
    "green": (72, 158, 92),
    "dark green": (36, 94, 70),
    "teal": (48, 150, 150),
    "light blue": (136, 192, 230),
    "blue": (58, 110, 196),
    "navy": (36, 48, 98),
    "purple": (126, 82, 168),
    "pink": (240, 152, 178),
    "brown": (134, 92, 64),
    "beige": (226, 204, 170),
    "gray": (140, 144, 150),
    "black": (44, 44, 50),
    "white": (244, 244, 240),
}
# The inside of a mouth: the same for everybody, and used for nothing else, so that it can be found in the pixels.
MOUTH_INSIDE: Color = (104, 0, 40)
TONGUE: Color = (206, 66, 92)
TEETH: Color = (250, 246, 238)
EYE_WHITE: Color = (250, 248, 244)
GOLD: Color = (230, 178, 70)
