"""Speech of the synthetic clips: always the same bytes, one level, and true times."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from unitalking import timeline
from unitalking.speech_timing import LEAD_S, character_times
from unitalking.synthetic import MissingEspeakError, SyntheticClips, SyntheticConfig, speech, voices
from unitalking.synthetic.espeak import Espeak
from unitalking.synthetic.timbre import changed
from unitalking.synthetic.voices import Voice
from unitalking.voice_turns import start_of_words

ROOT = Path(__file__).resolve().parents[2]
TEXT = "The old man saw nine small birds."
# A breathy, a plain and a synthesised (Klatt) variant: noise, flutter and filters keep state in different places.
VARIANTS = ("f5", "m3", "klatt4")


def all_voices(split: str) -> list[Voice]:
    return [voice for group in voices.voices(split).values() for voice in group]


def digest(espeak: Espeak, variant: str) -> str:
    said = espeak.speak(TEXT, voices.ACCENT, variant, pitch=45, pitch_range=50, rate=160)
    return hashlib.sha256(said.samples.tobytes() + repr((said.phonemes, said.words)).encode()).hexdigest()


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_utterance_does_not_depend_on_what_was_said_before(espeak_installed: None, variant: str) -> None:
    espeak = Espeak()
    first = digest(espeak, variant)
    for other in VARIANTS:
        espeak.speak(f"Something else, {other}!", voices.ACCENT, other, pitch=80, pitch_range=20, rate=250)
    assert digest(espeak, variant) == first


def test_an_utterance_is_the_same_in_another_process(espeak_installed: None) -> None:
    source = (
        "from unitalking.synthetic.espeak import Espeak\n"
        f"said = Espeak().speak({TEXT!r}, {voices.ACCENT!r}, 'f5', pitch=45, pitch_range=50, rate=160)\n"
        "import hashlib\n"
        "data = said.samples.tobytes() + repr((said.phonemes, said.words)).encode()\n"
        "print(hashlib.sha256(data).hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    time.sleep(1.1)  # espeak's own seed is the time in seconds
    assert done.stdout.strip() == digest(Espeak(), "f5")


def test_every_voice_is_one_that_this_espeak_has(espeak_installed: None) -> None:
    wanted = {voice.variant for split in ("train", "held_out") for voice in all_voices(split)}
    assert wanted <= set(Espeak().variants())


def test_there_are_hundreds_of_voices_and_no_held_out_variant_is_trained() -> None:
    train, held_out = all_voices("train"), all_voices("held_out")
    assert len({voice.name for voice in train}) == len(train) >= 300
    assert len({voice.name for voice in held_out}) == len(held_out) >= 24
    assert not {voice.variant for voice in train} & {voice.variant for voice in held_out}
    # Variants of one name differ little: steph, steph2, steph3.
    families = [
        {voice.variant.rstrip("0123456789") for voice in group if len(voice.variant) > 2} for group in (train, held_out)
    ]
    assert not families[0] & families[1]


def test_an_unknown_voice_is_refused(espeak_installed: None) -> None:
    with pytest.raises(ValueError, match="no voice"):
        Espeak().speak(TEXT, "en-us", "nobody", pitch=50, pitch_range=50, rate=160)


def test_a_changed_timbre_is_another_voice_that_speaks_at_the_same_times(espeak_installed: None) -> None:
    espeak = Espeak()
    for variant in (*VARIANTS, "iven", "Storm"):
        own, first, again, other = (
            espeak.speak(TEXT, voices.ACCENT, variant, pitch=45, pitch_range=50, rate=160, timbre=timbre)
            for timbre in (None, 7, 7, 8)
        )
        assert own.phonemes == first.phonemes == other.phonemes
        assert np.array_equal(first.samples, again.samples)
        spectra = [long_term_spectrum(said.samples) for said in (own, first, other)]
        differences = [np.abs(one - two).mean() for one, two in combinations(spectra, 2)]
        assert min(differences) > 1.0, (variant, differences)  # dB


def long_term_spectrum(samples: np.ndarray) -> np.ndarray:
    """Mean level in dB of 40 bands up to 6 kHz."""
    power = np.square(np.abs(np.fft.rfft(samples.astype(np.float64))))
    bands = np.array_split(power[: round(6000 * samples.size / 22050)], 40)
    return 10 * np.log10([band.mean() for band in bands])


def test_a_timbre_scales_what_its_variant_says_and_the_defaults_of_the_rest() -> None:
    variant = "language variant\nname x\n# formant 1 9 9 9\nformant 1 200 50 80 -30\npitch 70 90\nbreath 1 2\n"
    seen = [dict(_settings(changed(variant, timbre))) for timbre in range(200)]
    assert all(each["pitch"] == [70, 90] and each["breath"] == [1, 2] for each in seen)
    for name, middle in (("formant 1", (200, 50, 80)), ("formant 3", (100, 100, 100))):
        drawn = np.array([each[name][:3] for each in seen])
        assert np.median(drawn, axis=0) == pytest.approx(middle, rel=0.06)
        assert (drawn.std(axis=0) > 0.05 * np.array(middle)).all()
    assert all(each["formant 1"][3] == -30 for each in seen)
    # One throat: its formants are high or low together.
    formants = np.array([[each[f"formant {number}"][0] for number in (1, 2, 3)] for each in seen])
    assert (np.corrcoef(formants.T) > 0.6).all()
    assert 60 < sum("tone" in each for each in seen) < 140


def _settings(variant: str) -> Iterator[tuple[str, list[int]]]:
    for line in variant.splitlines():
        words = line.split()
        names = 2 if words[0] in ("formant", "language") else 1
        yield " ".join(words[:names]), [int(word) for word in words[names:] if word.lstrip("-").isdigit()]


def test_a_share_of_the_clips_has_voices_of_its_own(espeak_installed: None) -> None:
    sets = [SyntheticClips(SyntheticConfig(clips=40, timbres=share)) for share in (0.0, 0.5, 1.0)]
    listed, some, own = ([clips.spec(index) for index in range(40)] for clips in sets)
    assert all(spec.voice.timbre is None for spec in listed)
    assert 10 < sum(spec.voice.timbre is not None for spec in some) < 30
    assert len({spec.speaker for spec in own}) == 40
    for one, other in zip(listed, own, strict=True):
        assert replace(other.voice, timbre=None) == one.voice
        assert (one.speech, one.frames, one.identity) == (other.speech, other.frames, other.identity)
    with pytest.raises(ValueError, match=r"timbres: got 1\.5"):
        SyntheticConfig(clips=1, timbres=1.5)


def test_the_references_of_a_voice_have_its_timbre(espeak_installed: None) -> None:
    listed, own = (SyntheticClips(SyntheticConfig(clips=3, timbres=share)) for share in (0.0, 1.0))
    for index in range(3):
        one, other = listed.reference(index), own.reference(index)
        assert one.shape == other.shape  # the same words at the same times
        assert np.abs(long_term_spectrum(one.numpy()) - long_term_spectrum(other.numpy())).mean() > 1.0  # dB


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingEspeakError, match=r"pip install -r requirements-train\.txt"):
        Espeak()


def test_text_without_a_word_is_refused(espeak_installed: None) -> None:
    with pytest.raises(ValueError, match="said nothing"):
        speech.spoken_s("...", all_voices("train")[0])


def test_speech_has_one_level_and_starts_after_its_lead(clips: SyntheticClips) -> None:
    for index in range(12):
        spec, sound = clips.spec(index), clips.speech(index)
        start, end = (round(time * sound.sample_rate) for time in (sound.start_s, sound.end_s))
        peak = sound.samples.abs().max().item()
        level = sound.samples[start:end].square().mean().sqrt().item()
        # A voice with single high peaks is a little softer, so that none is cut.
        assert level == pytest.approx(speech.LEVEL, rel=0.02) or peak == pytest.approx(0.99, abs=1e-4)
        assert level > 0.8 * speech.LEVEL
        assert sound.start_s == spec.lead_s == pytest.approx(LEAD_S, abs=0.05)
        # The resampling filter rings for half a millisecond.
        assert sound.samples[: start - 20].abs().max() < 2e-3
        assert peak < 0.9901


def test_samples_fit_into_sixteen_bits_without_loss(clips: SyntheticClips) -> None:
    scaled = clips.speech(3).samples.double() * 32768
    assert torch.equal(scaled, scaled.round())


def test_sound_lasts_as_long_as_the_pictures(clips: SyntheticClips) -> None:
    for index in range(12):
        kept = timeline.samples_kept(clips.spec(index).frames, clips.config.fps, clips.config.sample_rate)
        assert clips.speech(index).samples.shape == (kept,)


def test_sound_is_at_its_own_rate(espeak_installed: None) -> None:
    voice = next(voice for voice in all_voices("train") if voice.variant == "m3")
    slow, fast = (speech.speak(TEXT, voice, rate, 0.1) for rate in (16000, 24000))
    assert fast.samples.numel() / slow.samples.numel() == pytest.approx(1.5, rel=1e-3)
    peaks = [np.abs(np.fft.rfft(sound.samples.numpy(), 2 * sound.sample_rate)).argmax() / 2 for sound in (slow, fast)]
    assert peaks[0] == pytest.approx(peaks[1], abs=1)


def test_phonemes_and_words_lie_in_order_inside_the_speech(clips: SyntheticClips) -> None:
    for index in range(20):
        sound = clips.speech(index)
        starts = [start for start, _ in sound.phonemes]
        assert starts == sorted(starts)
        assert starts[0] == pytest.approx(sound.start_s)
        assert sound.phonemes[-1] == (pytest.approx(sound.end_s), speech.PAUSE)
        edges = [round(time, 6) for start, end, _ in sound.words for time in (start, end)]
        assert edges == sorted(edges)
        assert edges[0] >= sound.start_s - 1e-6
        assert edges[-1] <= sound.end_s + 1e-6
        said = [word.strip(".,!?;:") for word in clips.spec(index).speech.split()]
        assert [word for _, _, word in sound.words] == said


def test_sound_is_loud_where_vowels_are_and_silent_in_pauses(clips: SyntheticClips) -> None:
    vowels, pauses = [], []
    for index in range(20):
        sound = clips.speech(index)
        for (start, symbol), (end, _) in zip(sound.phonemes, sound.phonemes[1:], strict=False):
            part = sound.samples[round(start * sound.sample_rate) : round(end * sound.sample_rate)]
            level = part.square().mean().sqrt().item()
            if symbol == speech.PAUSE and end - start > 0.08:
                pauses.append(level)
            elif symbol in ("A:", "0", "E", "aI", "eI", "oU") and end - start > 0.05:
                vowels.append(level)
    assert len(vowels) > 20
    assert np.median(vowels) > 0.09
    assert not pauses or np.median(pauses) < 0.02


def test_expected_times_fit_the_voices(held_out_clips: SyntheticClips) -> None:
    ratios, errors = [], []
    for index in range(60):
        spec, sound = held_out_clips.spec(index), held_out_clips.speech(index)
        times, end = character_times(spec.speech)
        shift = spec.lead_s - LEAD_S
        ratios.append((end - LEAD_S) / (sound.end_s - sound.start_s))
        position = 0
        for start, stop, word in sound.words:
            position = spec.speech.index(word, position)
            expected = np.mean(times[position : position + len(word)]) + shift
            errors.append(abs(expected - (start + stop) / 2))
            position += len(word)
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)
    assert np.mean(errors) < 0.2


def test_a_reference_is_another_utterance_of_the_same_voice(clips: SyntheticClips) -> None:
    first, second = clips.reference(4), clips.reference(4, 1)
    assert torch.equal(first, clips.reference(4))
    assert first.shape != second.shape or not torch.equal(first, second)
    for sound in (first, second):
        assert 2.0 < sound.numel() / clips.config.sample_rate < 4.4
    assert clips.speech(4).samples.shape != first.shape


def test_planned_words_are_near_to_where_a_voice_speaks_them(espeak_installed: None) -> None:
    clips, errors = SyntheticClips(SyntheticConfig(clips=40, shortest_s=2.0, vocabulary="common")), []
    for index in range(40):
        speech, said = clips.spec(index).speech, clips.speech(index)
        words = speech.split()
        if len(words) < 4 or " ".join(words[:2]).lower() in " ".join(words[2:]).lower():
            continue
        half = len(words) // 2
        planned, _ = start_of_words(speech, " ".join(words[half:]), said.end_s)
        errors.append(planned - said.words[half][0])
    assert len(errors) > 20
    # 0.1 s late on average: the last words of a sentence are slower than the rule has them.
    assert np.mean(np.abs(errors)) < 0.15
    assert abs(np.mean(errors)) < 0.12
