"""Names of the model, portraits, voices and clips that ship with the pack; the nodes load them."""

from __future__ import annotations

from pathlib import Path

NO_SAMPLE = "none"
_PACK = Path(__file__).resolve().parent.parent
EMBEDDED_MODEL = _PACK / "models" / "unitalking_embedded.safetensors"
PORTRAITS, VOICES, CLIPS = (_PACK / "assets" / name for name in ("portraits", "voices", "clips"))


def portrait_choices() -> list[str]:
    """Names of the built-in portraits."""
    return [*_names(PORTRAITS, {".png", ".jpg"}), NO_SAMPLE]


def voice_choices() -> list[str]:
    """Names of the built-in voices."""
    return [*_names(VOICES, {".flac"}), NO_SAMPLE]


def clip_choices() -> list[str]:
    """Names of the built-in clips of a person who speaks."""
    return [*_names(CLIPS, {".mp4"}), NO_SAMPLE]


def _names(folder: Path, suffixes: set[str]) -> list[str]:
    return sorted(file.stem for file in folder.glob("*") if file.suffix in suffixes)
