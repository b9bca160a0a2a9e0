"""Says in words how a drawn person looks and how a voice sounds, sometimes leaving things out."""

from __future__ import annotations

import random

from .draws import draw
from .look import BEARDS, Look
from .palette import HAIR, PAINT, SKIN
from .voices import PITCHES, Voice

# How often a caption mentions each thing, where there is one to mention.
_MENTIONED = {"age": 0.9, "hair": 0.92, "skin": 0.8, "beard": 0.95, "glasses": 0.95, "shirt": 0.92, "background": 0.92}
_HAIR = {
    "short": "short {color} hair",
    "side parted": "side-parted {color} hair",
    "swept up": "swept-up {color} hair",
    "buzz cut": "a {color} buzz cut",
    "bald": "a bald head",
    "curly": "curly {color} hair",
    "receding": "receding {color} hair",
    "afro": "a {color} afro",
    "shoulder length": "shoulder-length {color} hair",
    "long straight": "long straight {color} hair",
    "long wavy": "long wavy {color} hair",
    "bob": "a {color} bob",
    "bun": "{color} hair in a bun",
    "ponytail": "{color} hair in a ponytail",
    "fringe": "{color} hair with a fringe",
    "head scarf": "a {accent} head scarf",
}
_GLASSES = {"round": "round glasses", "square": "square glasses", "sunglasses on the head": "sunglasses on the head"}
_CLOTHES = {
    "crew": ("t-shirt", "shirt"),
    "v": ("v-neck shirt", "v-neck"),
    "shirt": ("shirt with a collar", "collared shirt"),
    "suit": ("suit with a {accent} tie", "jacket and a {accent} tie"),
    "turtleneck": ("turtleneck", "turtleneck sweater"),
    "hoodie": ("hoodie", "hooded sweater"),
}
_PATTERNS = {"striped": "stripes", "dotted": "dots"}
_SCENES = {
    "plain": ("a {color} background", "a plain {color} background"),
    "gradient": ("a {color} background", "a soft {color} background"),
    "wall": ("a {color} wall", "a {color} room"),
    "window": ("a window in a {color} wall",),
    "hills": ("green hills", "hills and a {color} sky"),
    "shelf": ("book shelves on a {color} wall", "shelves with books and a {color} wall"),
    "curtain": ("a {color} curtain",),
}
# Everything that a caption can say, by the keys of `attributes`.
VALUES: dict[str, tuple[str, ...]] = {
    "gender": ("man", "woman"),
    "age": ("young", "old"),
    "hair": tuple(_HAIR),
    "hair_color": tuple(HAIR),
    "skin": tuple(SKIN),
    "beard": tuple(beard for beard in BEARDS if beard != "none"),
    "glasses": tuple(_GLASSES),
    "shirt": tuple(PAINT),
    "collar": tuple(_CLOTHES),
    "accent": tuple(PAINT),
    "pattern": tuple(_PATTERNS),
    "background": tuple(PAINT),
    "scene": tuple(_SCENES),
}


def attributes(look: Look, *purpose: str | int) -> dict[str, str]:
    """What a caption says about a person: "gender" and some of the keys of how it looks, as words of the palette.

    `shirt`, `hair_color`, `background` and `accent` are colours; what is not in the caption is not in the answer.
    """
    generator = draw("attributes", look.identity, *purpose)
    said = {name: generator.random() < share for name, share in _MENTIONED.items()}
    found = {"gender": look.gender}
    if said["age"] and look.age:
        found["age"] = look.age
    if said["hair"]:
        found["hair"] = look.hair
        if look.hair == "head scarf":
            found["accent"] = look.accent
        elif look.hair != "bald":
            found["hair_color"] = look.hair_color
    if said["skin"]:
        found["skin"] = look.skin
    if said["beard"] and look.beard != "none":
        found["beard"] = look.beard
    if said["glasses"] and look.glasses != "none":
        found["glasses"] = look.glasses
    if said["shirt"]:
        found |= {"shirt": look.shirt, "collar": look.collar}
        if look.collar == "suit" or look.pattern != "plain":
            found["accent"] = look.accent
        if look.collar != "suit" and look.pattern != "plain":
            found["pattern"] = look.pattern
    if said["background"]:
        found |= {"background": look.background, "scene": look.scene}
    return found


def scene_caption(said: dict[str, str], *purpose: str | int) -> str:
    """A sentence, or a list of words, that says exactly the given attributes."""
    generator = draw("caption", *purpose)
    person = f"{said['age']} {said['gender']}" if "age" in said else said["gender"]
    features = [*_features(generator, said)]
    clothes = _clothes(generator, said)
    room = _room(generator, said)
    style = generator.random()
    if style < 0.25:
        parts = [person, *[_bare(part) for part in (*features, clothes, room) if part]]
        return ", ".join(parts)
    article = "An" if person[0] in "aeiou" else "A"
    with_features = f" with {_listed(features)}" if features else ""
    wearing = f" wearing {clothes}" if clothes else ""
    before = f" in front of {room}" if room else ""
    joined = f"{with_features}{',' if with_features and wearing else ''}{wearing}{before}"
    if style < 0.55:
        return f"{article} {person}{joined}."
    if style < 0.75:
        return f"A portrait of {article.lower()} {person}{joined}."
    if style < 0.9:
        return f"{article} {person}{joined}, speaking to the camera."
    return f"The picture shows {article.lower()} {person}{joined}."


def sound_caption(voice: Voice, *purpose: str | int) -> str:
    """How the voice sounds."""
    generator = draw("sound", voice.name, *purpose)
    levels = PITCHES[voice.gender]
    place = levels.index(voice.pitch)
    height = "low" if place < len(levels) / 3 else "high" if place >= 2 * len(levels) / 3 else "medium"
    templates = (
        f"A {voice.gender} speaks in a {height} voice.",
        f"The {height} voice of a {voice.gender}.",
        f"A {voice.gender} with a {height} voice is speaking.",
        f"A {voice.gender} speaks clearly.",
        "Clear speech.",
    )
    return generator.choice(templates)


def _features(generator: random.Random, said: dict[str, str]) -> list[str]:
    parts = []
    if "hair" in said:
        words = _HAIR[said["hair"]].format(color=said.get("hair_color"), accent=said.get("accent"))
        parts.append(_article(words))
    if "skin" in said:
        parts.append(f"{said['skin']} skin")
    if "beard" in said:
        parts.append(said["beard"] if said["beard"] == "stubble" else f"a {said['beard']}")
    if "glasses" in said:
        parts.append(_GLASSES[said["glasses"]])
    if len(parts) > 1 and generator.random() < 0.4:
        generator.shuffle(parts)
    return parts


def _clothes(generator: random.Random, said: dict[str, str]) -> str:
    if "shirt" not in said:
        return ""
    kind = generator.choice(_CLOTHES[said["collar"]]).format(accent=said.get("accent"))
    color = said["shirt"]
    if "pattern" in said:
        thing = _PATTERNS[said["pattern"]]
        link = "and" if " with " in kind else "with"
        return _article(f"a {color} {kind} {link} {said['accent']} {thing}")
    return _article(f"a {color} {kind}")


def _room(generator: random.Random, said: dict[str, str]) -> str:
    if "background" not in said:
        return ""
    return _article(generator.choice(_SCENES[said["scene"]]).format(color=said["background"]))


def _article(words: str) -> str:
    return f"an {words[2:]}" if words.startswith("a ") and words[2] in "aeiou" else words


def _bare(words: str) -> str:
    return words.removeprefix("an ").removeprefix("a ")


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
