"""Any conditioning drives both streams: from stock nodes, too long, too short, with a voice and without."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from lab import Lab, differ, equal, normal, rel
from plain_run import Condition, PlainRun
from torch import Tensor

LIMIT = 1e-5
REFERENCE = ["audio.blocks.0.cross_attn.k_reference", "audio.blocks.1.cross_attn.v_reference"]


def sampled(lab: Lab, positive: list, negative: list | None = None, **settings: Any) -> list[Tensor]:
    return lab.ksampler(lab.model, (positive, lab.text("") if negative is None else negative), lab.latent(), **settings)


def rows(count: int, seed: int = 5) -> Tensor:
    return normal(1, count, 16, seed=seed)


def with_voice(conditioning: list, voice: Tensor) -> list:
    return [[context, {**more, "unitalking_voice": voice}] for context, more in conditioning]


# Text


def test_stock_text_drives_picture_and_sound(lab: Lab) -> None:
    first, second = (sampled(lab, lab.text(text)) for text in ("Hello", "Good day"))
    assert differ(first, second) == [True, True]


def test_stock_text_is_the_context_of_both_streams(lab: Lab) -> None:
    texts = {"text": lab.text("Hello")[0][0], "none": lab.text("")[0][0]}
    noise, sigmas = lab.random_noise(), lab.sigmas(lab.model)
    plain = PlainRun(lab).euler({name: Condition(t, t) for name, t in texts.items()}, (2.5, 2.5), noise, sigmas)
    ours = sampled(lab, lab.text("Hello"))
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


def test_rows_that_are_missing_are_zeros(lab: Lab) -> None:
    short = rows(5)
    padded = torch.cat([short, torch.zeros(1, 11, 16)], dim=1)
    assert equal(sampled(lab, [[short, {}]]), sampled(lab, [[padded, {}]]))


@pytest.mark.parametrize("stream", ["picture", "sound"])
def test_too_long_a_text_is_cut_with_its_end_kept_and_said(
    lab: Lab, caplog: pytest.LogCaptureFixture, stream: str
) -> None:
    long = rows(30)
    cut = torch.cat([long[:, :15], long[:, -1:]], dim=1)
    conds = [
        [[text, {}]] if stream == "picture" else [[rows(16, seed=6), {"unitalking_audio_context": text}]]
        for text in (long, cut)
    ]
    with caplog.at_level(logging.WARNING):
        results = [sampled(lab, cond) for cond in conds]
    assert equal(*results)
    said = [record.message for record in caplog.records if "14 tokens too long" in record.message]
    assert said
    assert ("sound" in said[0]) == (stream == "sound")


@pytest.mark.parametrize("context", [torch.zeros(1, 5, 15), torch.zeros(1, 16), None], ids=["width", "rank", "none"])
def test_a_text_encoder_of_another_model_is_refused(lab: Lab, context: Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"this model takes \(1, rows, 16\).*text encoder"):
        sampled(lab, [[context, {}]])


def test_a_sound_context_of_another_width_is_refused(lab: Lab) -> None:
    with pytest.raises(ValueError, match="The sound conditioning has shape"):
        sampled(lab, [[rows(5), {"unitalking_audio_context": torch.zeros(1, 5, 15)}]])


def test_texts_of_all_lengths_are_one_batched_call(lab: Lab) -> None:
    model, calls = lab.watched(lab.model)
    conds = (with_voice([[rows(3), {}]], lab.voice().latents), [[rows(30), {"unitalking_audio_context": rows(9)}]])
    lab.ksampler(model, conds, lab.latent())
    assert [call["batch"] for call in calls] == [2, 2, 2]


def test_conditionings_combined_by_stock_nodes_are_averaged(lab: Lab) -> None:
    first, second = lab.text("Hello"), lab.text("Good day")
    combined = lab.host.ConditioningCombine().combine(first, second)[0]
    plain = PlainRun(lab)
    model, calls = lab.watched(lab.model)
    lab.ksampler(model, (combined, lab.text("")), lab.latent(), cfg=1.0, steps=1)
    denoised = sampled(lab, combined, cfg=1.0, steps=1)
    state = calls[0]["latents"]
    velocities = [
        plain.velocity([part[:1] for part in state], 1.0, Condition(t[0][0], t[0][0])) for t in (first, second)
    ]
    expected = state[0][:1] - (velocities[0][0] + velocities[1][0]) / 2
    assert calls[0]["batch"] == 2
    assert rel(denoised[0], plain.statistics.video.restore(expected)) <= LIMIT


def test_a_conditioning_can_hold_for_a_part_of_the_schedule(lab: Lab) -> None:
    node = lab.host.ConditioningSetTimestepRange()
    first = node.set_range(lab.text("Hello"), 0.0, 0.5)[0]
    second = node.set_range(lab.text("Good day"), 0.5, 1.0)[0]
    mixed = sampled(lab, first + second, steps=4)
    assert differ(mixed, sampled(lab, lab.text("Hello"), steps=4)) == [True, True]
    assert differ(mixed, sampled(lab, lab.text("Good day"), steps=4)) == [True, True]


def test_a_batch_may_have_a_text_for_each_clip(lab: Lab) -> None:
    texts, latent = torch.cat([rows(6, seed=7), rows(6, seed=8)]), lab.latent(batch_size=2)
    single = [[texts[index : index + 1], {}] for index in range(2)]
    both = lab.joint(lab.model, ([[texts, {}]], lab.text("")), latent)
    for index, text in enumerate(single):
        alone = lab.joint(lab.model, ([text], lab.text("")), latent)
        assert all(torch.allclose(a[index], b[index], atol=1e-5) for a, b in zip(both, alone, strict=True))


# Voice


def test_a_voice_changes_the_sound(lab: Lab) -> None:
    positive = lab.text("Hello")
    results = [sampled(lab, with_voice(positive, lab.voice(seed).latents)) for seed in (30, 31)]
    assert differ(*results)[1]
    assert differ(results[0], sampled(lab, positive))[1]


@pytest.mark.parametrize("length", [1, 9, 12, 20])
def test_a_voice_is_normalised_and_repeated_or_cropped_to_the_models_length(lab: Lab, length: int) -> None:
    voice, text, none = lab.voice(length=length).latents, lab.text("Hello"), lab.text("")
    passes = {"text": Condition(text[0][0], text[0][0], voice), "none": Condition(none[0][0], none[0][0])}
    plain = PlainRun(lab).euler(passes, (2.5, 2.5), lab.random_noise(), lab.sigmas(lab.model))
    ours = sampled(lab, with_voice(text, voice))
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


def test_the_pass_without_a_voice_is_what_it_is_in_a_run_without_one(lab: Lab) -> None:
    velocities = []
    for voice in (True, False):
        model, calls = lab.watched(lab.model)
        lab.ksampler(model, lab.prompt(voice=voice), lab.latent(), steps=1)
        negative = calls[0]["options"]["cond_or_uncond"].index(1)
        velocities.append([part[negative] for part in calls[0]["velocity"]])
    assert equal(*velocities)


def test_a_clip_is_planned_by_the_text_encoders_own_clock(lab: Lab) -> None:
    """Bytes that all last four times as long make the clip longer; without speech there is nothing to plan for."""
    text_prompt = lab.pack("nodes.conditioning").TextPrompt
    given = dict.fromkeys(("scene", "sound", "negative_picture", "negative_sound"), "")

    def planned(speech: str) -> int:
        return text_prompt.execute(lab.model, lab.clip, speech, **given, prompt_style="auto").args[3]

    bias = lab.clip.cond_stage_model.encoder.clock.duration.bias
    quick = planned("Good morning to you.")
    bias.data += 2.0
    try:
        slow, silent = planned("Good morning to you."), planned("")
    finally:
        bias.data -= 2.0
    assert slow > quick
    assert silent == 25


def test_text_prompt_gives_the_voice_to_the_positive_alone(lab: Lab) -> None:
    positive, negative = lab.prompt()
    assert torch.equal(positive[0][1]["unitalking_voice"], lab.voice().latents)
    assert "unitalking_voice" not in negative[0][1]


def test_without_a_voice_the_reference_branch_is_not_computed(lab: Lab) -> None:
    for voice, calls in ((False, 0), (True, 1)):
        with lab.counted(REFERENCE) as counts:
            lab.ksampler(lab.model, lab.prompt(voice=voice), lab.latent())
        assert [counts[name] for name in REFERENCE] == [calls, calls]


def test_a_voice_of_another_codec_is_refused(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"voice has latents of shape \(1, 7, 9\).*own audio VAE"):
        sampled(lab, with_voice(lab.text("Hello"), torch.zeros(1, 7, 9)))


def test_a_model_without_reference_runs_without_a_word(lab: Lab) -> None:
    model = lab.load(lab.write("voiceless.safetensors", lab.make_config(reference_tokens=0)))
    conds = (with_voice(lab.text("Hello"), lab.voice().latents), lab.text(""))
    out = lab.ksampler(model, conds, lab.latent())
    assert all(bool(part.isfinite().all()) for part in out)
    assert equal(out, lab.ksampler(model, (lab.text("Hello"), lab.text("")), lab.latent()))


def test_a_scene_without_speech_is_not_spoken(lab: Lab) -> None:
    """The small model's encoder takes a text without tags for speech; an encoder of its own kind is not asked."""
    execute = lab.pack("nodes.conditioning").TextPrompt.execute
    given = {"scene": "a man", "sound": "", "negative_picture": "a cat", "negative_sound": ""}

    def prompt(speech: str, style: str = "tagged", **changes: str) -> tuple:
        return execute(lab.model, lab.clip, speech, **{**given, **changes}, prompt_style=style).args

    silent, spoken = prompt(" "), prompt("Hello")
    assert (silent[2], spoken[2]) == ("a man <S><E>", "a man <S>Hello<E>")
    assert prompt("", scene="")[2] == ""
    assert prompt("", "plain")[2] == "a man"
    encoded = lab.clip.encode_from_tokens_scheduled(lab.clip.tokenize("a cat <S><E>"))
    rows = min(encoded[0][0].shape[1], lab.config.text_len)
    assert torch.equal(silent[1][0][0][:, : rows - 1], encoded[0][0][:, : rows - 1])
