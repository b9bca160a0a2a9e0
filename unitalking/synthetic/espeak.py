"""espeak-ng through ctypes, from the pip package `espeakng_loader`: what it says, and when each phoneme starts.

espeak-ng keeps state from one utterance to the next (flutter, noise, filters), which no parameter resets. So the
library is loaded anew for every utterance: 0.4 ms, and an utterance is the same bytes whatever was spoken before it.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .timbre import changed

SAMPLE_RATE = 22050

_SYNCHRONOUS = 2
_PHONEME_EVENTS = 0x0001
_DONT_EXIT = 0x8000
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE, _PUNCTUATION, _CAPITALS, _WORDGAP = range(1, 8)
_LIST_END, _WORD, _PHONEME = 0, 1, 7
_DATA_FILES = ("phontab", "phondata", "phonindex", "intonations", "en_dict")
_LANGUAGES = "gmw"
_CHANGED = "changed"


class MissingEspeakError(RuntimeError):
    """espeak-ng is not there, or is not the one that the data are made with."""


@dataclass(frozen=True)
class Utterance:
    """What espeak-ng said.

    Attributes:
        samples: (S,) int16 at SAMPLE_RATE.
        phonemes: (sample, symbol) for each phoneme in espeak's own notation, pauses ("_", "_:") included.
        words: (sample, first character, number of characters) for each word that espeak announces; it joins some
            neighbours ("of the") to one.
    """

    samples: np.ndarray
    phonemes: tuple[tuple[int, str], ...]
    words: tuple[tuple[int, int, int], ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


@dataclass
class _Recording:
    """Collects what the library hands over."""

    sound: list[bytes] = field(default_factory=list)
    phonemes: list[tuple[int, str]] = field(default_factory=list)
    words: list[tuple[int, int, int]] = field(default_factory=list)

    def take(self, wave: int | None, count: int, events: ctypes.Array) -> int:
        if wave and count > 0:
            self.sound.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while (event := events[index]).type != _LIST_END:
            if event.type == _PHONEME:
                self.phonemes.append((event.sample, event.id.string.decode("utf-8", "replace")))
            elif event.type == _WORD:
                self.words.append((event.sample, event.text_position - 1, event.length))
            index += 1
        return 0


class Espeak:
    """The library with the few data files that English needs, in a folder of its own.

    With all its languages beside it espeak-ng reads 500 files for every utterance.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingEspeakError(
                "Making synthetic speech needs espeak-ng, which the Python package espeakng_loader brings: "
                "pip install -r requirements-train.txt"
            ) from error
        self._library = espeakng_loader.get_library_path()
        self._folder = tempfile.TemporaryDirectory(prefix="unitalking-espeak-")
        source = Path(espeakng_loader.get_data_path())
        target = Path(self._folder.name) / "espeak-ng-data"
        (target / "lang" / _LANGUAGES).mkdir(parents=True)
        for name in _DATA_FILES:
            shutil.copyfile(source / name, target / name)
        for path in (source / "lang" / _LANGUAGES).glob("en*"):
            # espeak-ng asks for the name in small letters first.
            shutil.copyfile(path, target / "lang" / _LANGUAGES / path.name.lower())
        self._data, self._variant_files = target, target / "voices" / "!v"
        shutil.copytree(source / "voices" / "!v", self._variant_files)
        self._variants = sorted(path.name for path in self._variant_files.iterdir())
        self._lock = threading.Lock()

    def variants(self) -> list[str]:
        """The voice variants that this espeak-ng has."""
        return list(self._variants)

    def speak(
        self,
        text: str,
        accent: str,
        variant: str,
        *,
        pitch: int,
        pitch_range: int,
        rate: int,
        timbre: int | None = None,
    ) -> Utterance:
        """Says a text.

        Args:
            text: English.
            accent: espeak's language in small letters, such as "en-us".
            variant: one of `variants()`.
            pitch, pitch_range: 0 to 99, 50 is the variant's own.
            rate: words per minute.
            timbre: number of a change of the variant's voice, see `timbre.changed`; None: its own.

        Raises:
            MissingEspeakError: the library could not be started.
            ValueError: no such accent or variant.
        """
        # espeak-ng itself falls back to another voice without a word.
        if variant not in self._variants or not (self._data / "lang" / _LANGUAGES / accent).is_file():
            raise ValueError(f"espeak-ng has no voice {accent}+{variant}.")
        with self._lock:
            library = ctypes.CDLL(self._library)
            try:
                name = variant if timbre is None else self._changed(variant, timbre)
                return self._speak(library, text, f"{_LANGUAGES}/{accent}+{name}", (pitch, pitch_range, rate))
            finally:
                library.espeak_Terminate()
                _unload(library)

    def _changed(self, variant: str, timbre: int) -> str:
        """Writes the file of a variant with another timbre; its name."""
        own = (self._variant_files / variant).read_text(encoding="utf-8", errors="replace")
        (self._variant_files / _CHANGED).write_text(changed(own, timbre), encoding="utf-8")
        return _CHANGED

    def _speak(self, library: ctypes.CDLL, text: str, voice: str, numbers: tuple[int, int, int]) -> Utterance:
        options = _PHONEME_EVENTS | _DONT_EXIT
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(self._data).encode(), options)
        if rate != SAMPLE_RATE:
            raise MissingEspeakError(
                f"{self._library} started with {rate}, expected a rate of {SAMPLE_RATE} samples per second: "
                "pip install --force-reinstall -r requirements-train.txt"
            )
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        recording = _Recording()
        callback = _CALLBACK(recording.take)
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice!r}.")
        pitch, pitch_range, words_per_minute = numbers
        for parameter, value in (
            (_RATE, words_per_minute),
            (_VOLUME, 100),
            (_PITCH, pitch),
            (_RANGE, pitch_range),
            (_PUNCTUATION, 0),
            (_CAPITALS, 0),
            (_WORDGAP, 0),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(recording.sound), dtype=np.int16)
        return Utterance(samples, tuple(recording.phonemes), tuple(recording.words))


def _unload(library: ctypes.CDLL) -> None:
    import _ctypes

    close = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
    close(library._handle)
