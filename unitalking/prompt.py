"""Speech, scene and sound -> the one prompt a model reads; used by the node and by training alike.

Style `tagged` marks what is spoken and what is heard as Ovi does: `scene <S>speech<E> <AUDCAP>sound<ENDAUDCAP>`.
Style `plain` is running text. Ours: the paper does not say how its prompts are written.
"""

from __future__ import annotations

from .speech_timing import SPEECH_CLOSE, SPEECH_OPEN

SOUND_START, SOUND_END = "<AUDCAP>", "<ENDAUDCAP>"
TAGS = (SPEECH_OPEN, SPEECH_CLOSE, SOUND_START, SOUND_END)


def compose_prompt(speech: str, scene: str = "", sound: str = "", style: str = "tagged") -> str:
    """The prompt of a clip.

    Args:
        speech: what is said, word for word; tags that it holds already are taken as text of the field they name.
        scene: what is seen.
        sound: what is heard besides the words: tone of voice, room, music.
        style: "tagged" or "plain".

    Raises:
        ValueError: an unknown style.
    """
    speech, scene, sound = (_clean(part) for part in (speech, scene, sound))
    if style == "tagged":
        parts = (
            scene,
            f"{SPEECH_OPEN}{speech}{SPEECH_CLOSE}" if speech else "",
            f"{SOUND_START}{sound}{SOUND_END}" if sound else "",
        )
    elif style == "plain":
        parts = (scene, f'Saying: "{speech}"' if speech else "", f"Audio: {sound}" if sound else "")
    else:
        raise ValueError(f"prompt style: got {style!r}, expected 'tagged' or 'plain'.")
    return " ".join(part for part in parts if part)


def _clean(text: str) -> str:
    """White space collapsed; our own tags dropped, so that a pasted prompt does not nest them."""
    for tag in TAGS:
        text = text.replace(tag, " ")
    return " ".join(text.split())
