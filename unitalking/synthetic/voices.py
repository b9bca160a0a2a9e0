"""The voices: espeak-ng variants at several pitches, split into trained and held-out *variants*.

Which variants are here was measured on 12 sentences. A small phoneme classifier that had not heard the variant must
name at least 80 % of its speech frames, at least three quarters of them must be voiced, and the same text must always
give the same sound. That leaves out the whispering ones, the robots, and some oddities (zac, Marco, Lee, ...).
"""

from __future__ import annotations

from dataclasses import dataclass

from .draws import between, draw

ACCENT = "en-us"
# At this setting 400 sentences are on average as long as `speech_timing` expects; at 170 they are 12 % shorter.
RATE_WPM = 152
RATE_SPREAD = 0.06
RANGE_LIMITS = (35, 65)

MEN = tuple(
    "Alex|Denis|Diogo|Gene|Gene2|Mario|Michael|Mike|Mr serious|Nguyen|Storm|Tweaky|adam|antonio|benjamin|boris|ed|"
    "edward|edward2|fast|gustave|iven|iven2|iven3|iven4|john|klatt3|klatt4|klatt5|klatt6|m1|m2|m3|m4|m5|m6|m8|michel|"
    "miguel|mike2|pablo|paul|pedro|quincy|rob|sandro".split("|")
)
WOMEN = ("Andrea", "Annie", "anika", "aunty", "f1", "f2", "f4", "grandma", "linda")
HELD_OUT_MEN = ("Henrique", "Hugo", "m7", "max", "robert", "victor")
HELD_OUT_WOMEN = ("belinda", "f3", "f5", "steph", "steph2", "steph3")
PITCHES = {"man": (20, 32, 44, 56, 68, 80), "woman": (18, 26, 34, 42, 50, 58)}
# How much faster than the others a variant speaks at the same setting.
_TEMPO = {"Andrea": 1.2, "anika": 1.2, "antonio": 1.19, "pedro": 1.19, "f1": 0.965, "m4": 0.936}


@dataclass(frozen=True)
class Voice:
    """One speaker.

    Attributes:
        variant: espeak-ng's voice variant.
        gender: "man" or "woman", as it sounds.
        pitch, pitch_range: espeak-ng's settings, 0 to 99.
        rate: words per minute as the voice speaks them, about RATE_WPM.
        timbre: number of the change that makes it another person's, see `timbre.changed`; None: as the variant is.
    """

    variant: str
    gender: str
    pitch: int
    pitch_range: int
    rate: float
    timbre: int | None = None

    @property
    def name(self) -> str:
        """The speaker's id."""
        own = f"{ACCENT}+{self.variant.replace(' ', '_')}-{self.pitch}"
        return own if self.timbre is None else f"{own}-{self.timbre}"

    @property
    def setting(self) -> int:
        """The words per minute to ask espeak-ng for."""
        return round(self.rate / _TEMPO.get(self.variant, 1.0))


def voices(split: str) -> dict[str, tuple[Voice, ...]]:
    """All voices of a split, "train" or "held_out", by gender."""
    men, women = (MEN, WOMEN) if split == "train" else (HELD_OUT_MEN, HELD_OUT_WOMEN)
    return {"man": _at_all_pitches(men, "man"), "woman": _at_all_pitches(women, "woman")}


def _at_all_pitches(variants: tuple[str, ...], gender: str) -> tuple[Voice, ...]:
    found = []
    for variant in variants:
        for pitch in PITCHES[gender]:
            generator = draw("voice", variant, pitch)
            rate = RATE_WPM * between(generator, 1 - RATE_SPREAD, 1 + RATE_SPREAD)
            found.append(Voice(variant, gender, pitch, generator.randint(*RANGE_LIMITS), rate))
    return tuple(found)
