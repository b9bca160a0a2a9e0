"""Voice Turn: several voices in one clip, each heard in its own turn, at the price of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lab import Lab, differ, equal, rel
from test_windows import FRAMES, windowed

from unitalking.checkpoint.random_model import TINY
from unitalking.speech_timing import LEAD_S

LIMIT = 1e-5
SPEECH = "Who is there? It is me."


def turn(lab: Lab, before: Any, voice: Any, words: str = "", from_s: float = 0.2) -> Any:
    return lab.pack("nodes.voice_turn").VoiceTurn.execute(before, voice, words, from_s).args[0]


def prompt(lab: Lab, voice: Any, speech: str = SPEECH, **told: float) -> tuple[list, list]:
    texts = {"scene": "a man", "sound": "room", "negative_picture": "blur", "negative_sound": "robot"}
    node = lab.pack("nodes.conditioning").TextPrompt
    return node.execute(lab.model, lab.clip, speech, **texts, prompt_style="plain", voice=voice, **told).args[:2]


def test_turns_of_one_voice_are_that_voice(lab: Lab) -> None:
    voice = lab.voice()
    single = lab.joint(lab.model, prompt(lab, voice), lab.latent())
    twice = lab.joint(lab.model, prompt(lab, turn(lab, voice, voice)), lab.latent())
    assert [rel(a, b) <= LIMIT for a, b in zip(twice, single, strict=True)] == [True, True]


@pytest.mark.parametrize("strengths", [(3.0, 2.0, 0.0), (3.0, 2.0, 1.5)], ids=["linked", "own strength"])
def test_two_voices_are_both_heard_in_one_batched_call(lab: Lab, strengths: tuple[float, ...]) -> None:
    first, second = lab.voice(30), lab.voice(31)
    model, calls = lab.watched(lab.model)
    results = []
    for voice in (turn(lab, first, second), turn(lab, second, first), turn(lab, first, first)):
        guider = lab.guider(model, prompt(lab, voice), *strengths)
        results.append(lab.advanced(lab.joint_noise(), guider, "euler", lab.sigmas(model), lab.latent()))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert differ(results[one], results[other]) == [True, True]
    assert {call["batch"] for call in calls} == {3 if strengths[2] else 2}


def test_when_a_turn_begins_matters(lab: Lab) -> None:
    first, second = lab.voice(30), lab.voice(31)
    early, late, never = (
        lab.joint(lab.model, prompt(lab, turn(lab, first, second, from_s=start)), lab.latent())
        for start in (0.1, 0.3, 50.0)
    )
    assert differ(early, late) == [True, True]
    single = lab.joint(lab.model, prompt(lab, first), lab.latent())
    assert [rel(a, b) <= LIMIT for a, b in zip(never, single, strict=True)] == [True, True]


def test_a_window_hears_the_voices_of_its_own_part(lab: Lab) -> None:
    first, second = lab.voice(30), lab.voice(31)
    model = windowed(lab, lab.model)
    latent = lab.latent(frames=FRAMES)
    both, single, same = (
        lab.ksampler(model, prompt(lab, voice), latent, cfg=1.0, steps=1)
        for voice in (turn(lab, first, second, from_s=0.6), first, turn(lab, first, first, from_s=0.6))
    )
    assert [rel(a, b) <= LIMIT for a, b in zip(same, single, strict=True)] == [True, True]
    # The turn begins at latent 19 of 23; the first window ends at 16, the second begins at 10.
    assert equal([both[1][:, :, :10]], [single[1][:, :, :10]])
    assert differ([both[1][:, :, 19:]], [single[1][:, :, 19:]]) == [True]


def test_words_say_when_a_voice_begins(lab: Lab, said: Callable[[], str]) -> None:
    voice = turn(lab, turn(lab, lab.voice(30), lab.voice(31), "it is"), lab.voice(32), "me")
    for starts_at in (0.0, 2.0):
        positive, negative = prompt(lab, voice, starts_at=starts_at)
        starts = positive[0][1]["unitalking_turns"]
        assert negative[0][1]["unitalking_turns"] == starts
        assert starts[0] == 0.0
        # The clock of this random model is quick.
        assert starts_at < starts[1] < starts[2] < 2.0 + starts_at
        assert len(positive[0][1]["unitalking_voice"]) == 3
        assert f"voices begin at 0.00 s, {starts[1]:.2f} s, {starts[2]:.2f} s" in said()


@pytest.mark.parametrize("starts_at", [0.0, 0.4])
def test_a_voice_begins_with_its_words_where_the_speech_is_told_to_end(lab: Lab, starts_at: float) -> None:
    voice = turn(lab, lab.voice(30), lab.voice(31), "it is")
    early, late = (
        prompt(lab, voice, starts_at=starts_at, ends_at=ends_at)[0][0][1]["unitalking_turns"][1]
        for ends_at in (2.0 + starts_at, 4.0 + starts_at)
    )
    assert 1.0 + starts_at < early < 1.7 + starts_at, "the sixth of nine syllables or so"
    assert late - LEAD_S - starts_at == pytest.approx((early - LEAD_S - starts_at) * 3.9 / 1.9)


@pytest.mark.parametrize(("starts_at", "ends_at"), [(5.0, 2.0), (1.0, 1.1), (0.0, 0.05)])
def test_a_speech_that_would_end_before_it_begins_is_refused(lab: Lab, starts_at: float, ends_at: float) -> None:
    with pytest.raises(
        ValueError, match=rf"ends_at is {ends_at:g} s, but the first word begins at {starts_at + 0.1:g} s"
    ):
        prompt(lab, lab.voice(30), starts_at=starts_at, ends_at=ends_at)


def test_turns_that_cannot_be_are_refused(lab: Lab) -> None:
    first, second = lab.voice(30), lab.voice(31)
    with pytest.raises(ValueError, match='begins with "hello", which the speech does not say: write'):
        prompt(lab, turn(lab, first, second, "hello"))
    with pytest.raises(ValueError, match=r"voice 3 begins at 0\.20 s, the one before it at 0\.40 s: chain"):
        prompt(lab, turn(lab, turn(lab, first, second, from_s=0.4), first, from_s=0.2))
    with pytest.raises(ValueError, match="Voice Turn: the VOICE has 2 voices, expected one"):
        turn(lab, first, turn(lab, first, second))
    with pytest.raises(ValueError, match="Save Voice: the VOICE has 2 voices"):
        lab.pack("nodes.voice_files").SaveVoice.execute(turn(lab, first, second), "both", "", False)
    other = replace(first, codec="44100-20-512", sample_rate=44100)
    with pytest.raises(ValueError, match="encoded by another audio codec"):
        prompt(lab, turn(lab, first, other))


def test_a_codec_of_the_same_numbers_but_another_training_is_another_one(lab: Lab) -> None:
    pack = lab.pack
    models = [lab.load(lab.write(f"codec_{seed}.safetensors", TINY, seed)) for seed in (1, 2)]
    ids = [model.model.codec_id for model in models]
    assert ids[0] != ids[1]
    assert ids[0].rsplit("-", 1)[0] == ids[1].rsplit("-", 1)[0] == pack("unitalking.checkpoint.codec_id").codec_id(TINY)
    check = pack("nodes.voice").check_voice
    check(replace(lab.voice(30), codec=ids[0]), ids[0], "Text Prompt")
    for known in (ids[0], ids[0].rsplit("-", 1)[0]):
        check(replace(lab.voice(30), codec=known), ids[0].rsplit("-", 1)[0], "Text Prompt")  # kept before, or public
    with pytest.raises(
        ValueError, match=rf"VOICE was encoded by another audio codec .*{ids[1]}, this model has {ids[0]}"
    ):
        check(replace(lab.voice(30), codec=ids[1]), ids[0], "Text Prompt")
