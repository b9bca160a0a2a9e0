"""Speech, scene and sound -> the one prompt a model reads; used by the node and by training alike.

Style `tagged` marks what is spoken and what is heard as Ovi does: `scene <S>speech<E> <AUDCAP>sound<ENDAUDCAP>`.
Style `plain` is running text. Ours: the paper does not say how its prompts are written.

Styles `ovi_1.0` and `ovi_1.1` are those of Ovi's two generations. Ovi's users write whole prompts, with a person's
words between tags in the middle of what they do: these styles leave tags where they are, and rewrite how the other
generation marks what is heard (`<AUDCAP>sound<ENDAUDCAP>` and `Audio: sound` at the end). Source: Ovi.
"""

from __future__ import annotations

import re

from .speech_timing import SPEECH_CLOSE, SPEECH_OPEN

SOUND_START, SOUND_END = "<AUDCAP>", "<ENDAUDCAP>"
TAGS = (SPEECH_OPEN, SPEECH_CLOSE, SOUND_START, SOUND_END)
SOUND_LABEL = "Audio:"
OVI_STYLES = ("ovi_1.0", "ovi_1.1")
_TAGGED_SOUND = re.compile(f"{SOUND_START}(.*?){SOUND_END}", re.DOTALL)
_LABELLED_SOUND = re.compile(rf"(?:^|(?<=\s)){SOUND_LABEL}\s*((?:(?!{SOUND_LABEL}).)*)$", re.DOTALL)


def compose_prompt(speech: str, scene: str = "", sound: str = "", style: str = "tagged") -> str:
    """The prompt of a clip.

    Args:
        speech: what is said, word for word; tags that it holds already are taken as text of the field they name.
        scene: what is seen.
        sound: what is heard besides the words: tone of voice, room, music.
        style: "tagged", "plain", "ovi_1.0" or "ovi_1.1".

    Raises:
        ValueError: an unknown style.
    """
    if style in OVI_STYLES:
        return _compose_for_ovi(speech, scene, sound, style)
    speech, scene, sound = (_clean(part) for part in (speech, scene, sound))
    if style == "tagged":
        parts = (
            scene,
            f"{SPEECH_OPEN}{speech}{SPEECH_CLOSE}" if speech else "",
            f"{SOUND_START}{sound}{SOUND_END}" if sound else "",
        )
    elif style == "plain":
        parts = (scene, f'Saying: "{speech}"' if speech else "", f"{SOUND_LABEL} {sound}" if sound else "")
    else:
        raise ValueError(f"prompt style: got {style!r}, expected 'tagged', 'plain', {' or '.join(OVI_STYLES)}.")
    return " ".join(part for part in parts if part)


def silent_prompt(scene: str, style: str = "tagged", sound: str = "") -> str:
    """The prompt of a clip in which nothing is said, for an encoder to which a text without tags is all speech.

    Args:
        scene, sound, style: as for `compose_prompt`; a tagged prompt gets a speech of no words.

    Raises:
        ValueError: an unknown style.
    """
    if style != "tagged":
        return compose_prompt("", scene, sound, style)
    heard = compose_prompt("", "", sound, style)
    return " ".join(part for part in (_clean(scene), SPEECH_OPEN + SPEECH_CLOSE, heard) if part)


def missing_tags(prompt: str, style: str) -> tuple[str, ...]:
    """What a prompt for Ovi lacks, in sentences; nothing for the other styles."""
    if style not in OVI_STYLES:
        return ()
    found = []
    opened, closed = prompt.count(SPEECH_OPEN), prompt.count(SPEECH_CLOSE)
    if opened != closed:
        found.append(f"{opened} {SPEECH_OPEN} but {closed} {SPEECH_CLOSE}: put every speech between the two")
    elif not opened:
        found.append(f"no speech is marked: put what is said between {SPEECH_OPEN} and {SPEECH_CLOSE}, or into speech")
    starts, ends = prompt.count(SOUND_START), prompt.count(SOUND_END)
    if starts != ends:
        found.append(f"{starts} {SOUND_START} but {ends} {SOUND_END}: put the sound between the two")
    elif not (starts or SOUND_LABEL in prompt):
        found.append("no sound is described, which this model expects: fill in sound (voice, room, background)")
    return tuple(found)


def _compose_for_ovi(speech: str, scene: str, sound: str, style: str) -> str:
    speech, sound, scene = _clean(speech), _clean(sound), " ".join(scene.split())
    spoken = f"{SPEECH_OPEN}{speech}{SPEECH_CLOSE}" if speech else ""
    if style == "ovi_1.0":
        scene = _LABELLED_SOUND.sub(lambda found: f"{SOUND_START}{found[1].strip()}{SOUND_END}", scene)
        heard = f"{SOUND_START}{sound}{SOUND_END}" if sound else ""
    else:
        scene = _TAGGED_SOUND.sub(lambda found: f"{SOUND_LABEL} {found[1].strip()}", scene)
        heard = f"{SOUND_LABEL} {sound}" if sound else ""
    scene, own_sound = _split_sound(scene, style)
    return " ".join(part for part in (scene, spoken, own_sound, heard) if part)


def _split_sound(scene: str, style: str) -> tuple[str, str]:
    """A scene and the sound that it ends with, so that a speech of its own field stands between them."""
    pattern = rf"{SOUND_START}.*?{SOUND_END}$" if style == "ovi_1.0" else _LABELLED_SOUND.pattern
    found = re.search(pattern, scene, re.DOTALL)
    return (scene, "") if found is None else (scene[: found.start()].strip(), found[0])


def _clean(text: str) -> str:
    """White space collapsed; our own tags dropped, so that a pasted prompt does not nest them."""
    for tag in TAGS:
        text = text.replace(tag, " ")
    return " ".join(text.split())
