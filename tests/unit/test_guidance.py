"""The guidance rule: its weights, the passes it needs, and what linking the voice means."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from unitalking.guidance import PASSES, Guidance, combine, needed_passes, pass_weights

STREAMS = ("video", "audio")
STRENGTHS = [0.0, 1.0, 2.5, 4.0]
ALL = [Guidance(*row) for row in itertools.product(STRENGTHS, STRENGTHS, [None, *STRENGTHS])]


def velocities(seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, 3, 4, generator=draw, dtype=torch.float64) for name in PASSES}


@pytest.mark.parametrize("has_voice", [True, False])
def test_weights_sum_to_one(has_voice: bool) -> None:
    for guidance in ALL:
        for stream in STREAMS:
            assert sum(pass_weights(guidance, stream, has_voice=has_voice).values()) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("stream", STREAMS)
def test_rule_is_text_minus_none_plus_voice_minus_text(stream: str) -> None:
    v = velocities()
    guidance = Guidance(video=4.0, audio=3.0, voice=2.0)
    strength = {"video": 4.0, "audio": 3.0}[stream]
    expected = v["none"] + strength * (v["text"] - v["none"]) + 2.0 * (v["text_voice"] - v["text"])
    torch.testing.assert_close(combine(v, pass_weights(guidance, stream, has_voice=True)), expected)


@pytest.mark.parametrize("stream", STREAMS)
def test_without_a_voice_the_voice_term_vanishes(stream: str) -> None:
    v = velocities()
    guidance = Guidance(video=4.0, audio=3.0, voice=2.0)
    strength = {"video": 4.0, "audio": 3.0}[stream]
    expected = v["none"] + strength * (v["text"] - v["none"])
    torch.testing.assert_close(combine(v, pass_weights(guidance, stream, has_voice=False)), expected)


def test_picture_and_sound_have_their_own_strength() -> None:
    guidance = Guidance(video=4.0, audio=3.0)
    assert guidance.of("video") == 4.0
    assert guidance.of("audio") == 3.0


def test_a_stream_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError, match="smell"):
        Guidance(4.0, 3.0).of("smell")


def test_linked_voice_needs_two_passes() -> None:
    assert needed_passes(Guidance(4.0, 3.0), STREAMS, has_voice=True) == ("none", "text_voice")


def test_linked_voice_is_plain_guidance_between_none_and_text_with_voice() -> None:
    v = velocities()
    for stream, strength in (("video", 4.0), ("audio", 3.0)):
        weights = pass_weights(Guidance(4.0, 3.0), stream, has_voice=True)
        expected = v["none"] + strength * (v["text_voice"] - v["none"])
        torch.testing.assert_close(combine(v, weights), expected)


@pytest.mark.parametrize(
    ("guidance", "has_voice", "passes"),
    [
        (Guidance(4.0, 3.0), False, ("none", "text")),
        (Guidance(1.0, 1.0), False, ("text",)),
        (Guidance(1.0, 1.0), True, ("text_voice",)),
        (Guidance(0.0, 0.0, 0.0), True, ("none",)),
        (Guidance(1.0, 1.0, 0.0), True, ("text",)),
        (Guidance(4.0, 3.0, 3.0), True, ("none", "text", "text_voice")),
        (Guidance(3.0, 3.0, 3.0), True, ("none", "text_voice")),
        (Guidance(1.0, 3.0), True, ("none", "text_voice")),
        (Guidance(4.0, 3.0, 0.0), True, ("none", "text")),
    ],
)
def test_a_pass_without_weight_in_either_stream_is_not_needed(
    guidance: Guidance, has_voice: bool, passes: tuple[str, ...]
) -> None:
    assert needed_passes(guidance, STREAMS, has_voice=has_voice) == passes


def test_a_stream_that_is_not_run_needs_no_pass() -> None:
    assert needed_passes(Guidance(4.0, 1.0), ("audio",), has_voice=False) == ("text",)
    assert needed_passes(Guidance(4.0, 1.0), ("video",), has_voice=False) == ("none", "text")


@pytest.mark.parametrize("has_voice", [True, False])
def test_needed_passes_are_all_that_combine_needs(has_voice: bool) -> None:
    full = velocities()
    for guidance in ALL:
        needed = {name: full[name] for name in needed_passes(guidance, STREAMS, has_voice=has_voice)}
        for stream in STREAMS:
            weights = pass_weights(guidance, stream, has_voice=has_voice)
            assert torch.equal(combine(needed, weights), combine(full, weights))


def test_combine_refuses_to_go_without_a_pass_that_has_weight() -> None:
    v = velocities()
    del v["text"]
    with pytest.raises(ValueError, match=r"text\b.*not computed"):
        combine(v, pass_weights(Guidance(4.0, 3.0, 2.0), "video", has_voice=True))


def test_strength_one_is_the_pass_itself() -> None:
    v = velocities()
    for stream in STREAMS:
        assert torch.equal(combine(v, pass_weights(Guidance(1.0, 1.0), stream, has_voice=True)), v["text_voice"])
        assert torch.equal(combine(v, pass_weights(Guidance(1.0, 1.0), stream, has_voice=False)), v["text"])


def test_guiding_velocities_or_denoised_latents_is_the_same() -> None:
    v, x, sigma = velocities(), velocities(seed=1)["none"], 0.7
    denoised = {name: x - sigma * velocity for name, velocity in v.items()}
    weights = pass_weights(Guidance(4.0, 3.0, 2.0), "video", has_voice=True)
    torch.testing.assert_close(combine(denoised, weights), x - sigma * combine(v, weights))


def test_combine_keeps_the_dtype() -> None:
    v = {name: value.to(torch.bfloat16) for name, value in velocities().items()}
    assert combine(v, pass_weights(Guidance(4.0, 3.0, 2.0), "video", has_voice=True)).dtype == torch.bfloat16


def test_guidance_holds_between_its_noise_levels_both_included() -> None:
    guidance = Guidance(4.0, 3.0, 2.0, from_sigma=0.8, to_sigma=0.25)
    assert [guidance.at(sigma) is guidance for sigma in (1.0, 0.81, 0.8, 0.5, 0.25, 0.2, 0.0)] == [
        *(False, False, True, True, True, False, False)
    ]
    assert needed_passes(guidance.at(0.9), ("video", "audio"), has_voice=False) == ("text",)
    assert not guidance.is_everywhere
    assert Guidance(4.0, 3.0).is_everywhere


@pytest.mark.parametrize("interval", [(0.2, 0.5), (1.5, 0.0), (1.0, -0.1)])
def test_an_interval_that_is_none_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"guidance_from, guidance_to: got .* expected noise levels between 1 and 0"):
        Guidance(4.0, 3.0, None, *interval)
