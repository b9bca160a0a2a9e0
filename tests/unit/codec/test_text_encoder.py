"""The byte text encoder: tokens, expected times, padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from unitalking.codec.text_encoder import (
    END_ID,
    PAD_ID,
    ByteTextEncoder,
    TextEncoderConfig,
    expected_times,
    tokenize,
)
from unitalking.mapping import from_mapping, to_mapping
from unitalking.speech_timing import LEAD_S, character_times

CONFIG = TextEncoderConfig(16, 2, 4, 64, 31.25)


@pytest.fixture(scope="module")
def encoder() -> ByteTextEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ByteTextEncoder(CONFIG, dtype=torch.float64).requires_grad_(False)


def batch(*texts: str, length: int = 0) -> tuple[Tensor, Tensor]:
    rows = [(tokenize(text, 64)[0], expected_times(text, 64)) for text in texts]
    length = max(length, *(len(ids) for ids, _ in rows))
    ids = torch.tensor([(*ids, *[PAD_ID] * (length - len(ids))) for ids, _ in rows])
    times = torch.tensor([(*times, *[0.0] * (length - len(times))) for _, times in rows], dtype=torch.float64)
    return ids, times


def test_tokens_are_utf8_bytes_and_an_end() -> None:
    assert tokenize("Hé", 64) == ((72, 195, 169, END_ID), False)
    assert tokenize("", 64) == ((END_ID,), False)


@pytest.mark.parametrize(("text", "limit", "kept"), [
    ("hello", 6, "hello"), ("hello", 5, "hell"), ("hello", 1, ""), ("a你好", 5, "a你"), ("a你好", 4, "a")])  # fmt: skip
def test_long_text_is_cut_between_characters_and_keeps_its_end(text: str, limit: int, kept: str) -> None:
    assert tokenize(text, limit) == ((*kept.encode(), END_ID), kept != text)


def test_lone_surrogate_is_no_error() -> None:
    assert len(tokenize("a\ud800b", 64)[0]) == len(expected_times("a\ud800b", 64)) == 4


@pytest.mark.parametrize("limit", [64, 12, 2])
def test_every_token_has_an_expected_time(limit: int) -> None:
    text = "A room. <S>Grüße, 你好!<E>"
    assert len(expected_times(text, limit)) == len(tokenize(text, limit)[0])


def test_bytes_have_the_time_of_their_character_and_the_end_that_of_the_speech() -> None:
    of_characters, end = character_times("é a")
    assert expected_times("é a", 64) == (of_characters[0], *of_characters, end)


@pytest.mark.parametrize("length", [0, 20, 64])
def test_padding_rows_are_zero_and_change_nothing(encoder: ByteTextEncoder, length: int) -> None:
    alone = encoder(*batch("hi there"))
    ids, times = batch("hi there", "a longer prompt", length=length)
    times[ids == PAD_ID] = 7.0
    context = encoder(ids, times)
    assert context.shape == (2, ids.shape[1], 16)
    assert torch.equal(context[0, 9:], torch.zeros_like(context[0, 9:]))
    torch.testing.assert_close(context[:1, :9], alone, rtol=0, atol=1e-12)
    assert (context[ids != PAD_ID].abs().amax(dim=-1) > 0.1).all()


def test_prompt_of_padding_alone_is_zero(encoder: ByteTextEncoder) -> None:
    context = encoder(torch.full((1, 4), PAD_ID), torch.zeros(1, 4))
    assert torch.equal(context, torch.zeros_like(context))


def spoken(begin: float, end: float) -> Tensor:
    return torch.tensor([[begin, end]], dtype=torch.float64)


def test_recorded_times_change_the_context(encoder: ByteTextEncoder) -> None:
    ids, times = batch("hello")
    for recorded in (spoken(0.1, 2.0), spoken(0.2, 1.0)):
        assert (encoder(ids, times, recorded) - encoder(ids, times)).abs().max() > 1e-3


def test_context_tells_a_latent_from_its_neighbour() -> None:
    """Whatever the layers keep of the time: with all of them silenced, 32 ms still show."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ByteTextEncoder(replace(CONFIG, dim=64), dtype=torch.float64).requires_grad_(False)
    encoder.norm.weight.zero_()
    ids, times = batch("hello")
    now, later = (encoder(ids, times, spoken(at, at + 0.5))[0, :5] for at in (0.1, 0.132))
    assert ((now - later).norm(dim=1) > 0.2 * (now - now.mean(0)).norm(dim=1).mean()).all()


def test_times_are_read_in_audio_latents(encoder: ByteTextEncoder) -> None:
    ids, times = batch("hello")
    faster = ByteTextEncoder(replace(CONFIG, audio_latents_per_s=62.5), dtype=torch.float64)
    faster.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(faster(ids, times, spoken(0.1, 0.5)), encoder(ids, times, spoken(0.2, 1.0)))


def test_clock_goes_from_the_lead_to_the_end_and_leaves_out_what_is_not_spoken(encoder: ByteTextEncoder) -> None:
    ids, times = batch("red <S>Oh, hello<E>.")
    (clock,) = encoder.clock(ids, times)
    said = clock[times[0] > 0]
    assert (clock[times[0] == 0] == 0).all()
    assert (said.diff() > 0).all()
    assert LEAD_S < said[0] < LEAD_S + 0.2
    assert clock[-1] == clock.max()
    # Fresh, every byte lasts about 0.06 s.
    assert 0.02 < (clock[-1] - LEAD_S) / (len(said) - 1) < 0.15


def test_recording_says_when_the_speech_begins_and_ends(encoder: ByteTextEncoder) -> None:
    ids, times = batch("hello there", "well")
    natural = encoder.clock(ids, times)
    recorded = encoder.clock(ids, times, torch.tensor([[0.3, 2.3], [torch.nan, torch.nan]], dtype=torch.float64))
    is_said = times[0] > 0
    share = (natural[0] - LEAD_S) / (natural[0].max() - LEAD_S)
    torch.testing.assert_close(recorded[0][is_said], (0.3 + 2.0 * share)[is_said])
    assert float(recorded[0].max()) == pytest.approx(2.3)
    assert torch.equal(recorded[1], natural[1])


def test_clock_without_speech_stands_still(encoder: ByteTextEncoder) -> None:
    ids, times = batch("")
    assert encoder.clock(ids, times).tolist() == [[pytest.approx(LEAD_S)]]


def test_order_of_unspoken_bytes_changes_the_context(encoder: ByteTextEncoder) -> None:
    def end(text: str) -> Tensor:
        return encoder(*batch(text))[0, -1]

    assert (end("red cat<S>a<E>") - end("cat red<S>a<E>")).abs().max() > 1e-3


def test_every_byte_sees_every_other(encoder: ByteTextEncoder) -> None:
    ids, times = batch("hello")
    for index in range(ids.shape[1]):
        changed = ids.clone()
        changed[0, index] = 33
        assert ((encoder(changed, times) - encoder(ids, times)).abs().amax(dim=2) > 1e-6).all()


def test_gradient_reaches_every_parameter() -> None:
    encoder = ByteTextEncoder(CONFIG, dtype=torch.float64)
    (encoder(*batch("hello there")) * torch.linspace(-1, 1, 16)).square().sum().backward()
    assert [name for name, value in encoder.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_computes_in_bf16_and_float64_and_builds_on_meta(encoder: ByteTextEncoder) -> None:
    ids, times = batch("hello")
    half = ByteTextEncoder(CONFIG, dtype=torch.bfloat16)
    half.load_state_dict(encoder.state_dict())
    exact = encoder(ids, times)
    assert exact.dtype == torch.float64
    assert half(ids, times).dtype == torch.bfloat16
    assert (half(ids, times).double() - exact).norm() < 0.03 * exact.norm()
    assert all(value.is_meta for value in ByteTextEncoder(CONFIG, device="meta").state_dict().values())


def test_misshapen_or_overlong_input_is_refused(encoder: ByteTextEncoder) -> None:
    with pytest.raises(ValueError, match=r"text: got ids \(1, 3\) and times \(1, 4\)"):
        encoder(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="text: got 65 ids, expected at most 64"):
        encoder(torch.zeros(1, 65, dtype=torch.long), torch.zeros(1, 65))
    with pytest.raises(ValueError, match="max_bytes: got 0"):
        tokenize("a", 0)


def test_config_survives_json() -> None:
    assert from_mapping(TextEncoderConfig, to_mapping(CONFIG)) == CONFIG


@pytest.mark.parametrize(("field", "value"), [
    ("dim", 15), ("dim", 18), ("layers", 0), ("heads", 3), ("max_bytes", "9"), ("audio_latents_per_s", 0.0),
    ("audio_latents_per_s", float("inf"))])  # fmt: skip
def test_impossible_config_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"TextEncoderConfig\.\w+: got .*expected"):
        replace(CONFIG, **{field: value})
