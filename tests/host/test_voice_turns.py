"""Voice Turn: several voices in one clip, each heard in its own turn, at the price of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab import Lab, differ, equal, rel
from test_windows import FRAMES, windowed

LIMIT = 1e-5
SPEECH = "Who is there? It is me."


def turn(lab: Lab, before: Any, voice: Any, words: str = "", from_s: float = 0.2) -> Any:
    return lab.pack("nodes.voice_turn").VoiceTurn.execute(before, voice, words, from_s).args[0]


def prompt(lab: Lab, voice: Any, speech: str = SPEECH, starts_at: float = 0.0) -> tuple[list, list]:
    texts = {"scene": "a man", "sound": "room", "negative_picture": "blur", "negative_sound": "robot"}
    node = lab.pack("nodes.conditioning").TextPrompt
    return node.execute(
        lab.model, lab.clip, speech, **texts, prompt_style="plain", voice=voice, starts_at=starts_at
    ).args[:2]


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
    other = lab.pack("nodes.voice").Voice(first.latents, "44100-20-512", 44100, "")
    with pytest.raises(ValueError, match="encoded by another audio codec"):
        prompt(lab, turn(lab, first, other))
