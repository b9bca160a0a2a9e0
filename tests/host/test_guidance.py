"""Guidance in the host: which passes run, in which batches, and that they add up to the rule."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pytest
import torch
from lab import Lab, differ, equal, rel
from plain_run import Condition, PlainRun, condition

LIMIT = 1e-5

# strengths of picture, sound, voice (0: linked) -> passes in one batched call
PASSES = {
    (2.5, 2.5, 0.0): 2,
    (3.0, 2.0, 0.0): 2,
    (1.0, 2.0, 0.0): 2,
    (1.0, 1.0, 0.0): 1,
    (1.0, 1.0, 1.0): 1,
    (2.5, 2.5, 2.5): 2,
    (1.0, 1.0, 2.0): 2,
    (2.5, 2.5, 1.5): 3,
    (3.0, 2.0, 1.5): 3,
    (3.0, 2.0, 2.0): 3,
}


def passes_of(conds: tuple[list, list]) -> dict[str, Condition]:
    positive, negative = conds
    return {
        "none": condition(negative),
        "text": condition(positive, voice=False),
        "text_voice": condition(positive),
    }


@pytest.mark.parametrize("strengths", [(3.0, 2.0, 1.5), (2.0, 4.0, 6.0), (1.0, 1.0, 3.0), (3.0, 2.0, 2.0)], ids=str)
def test_unequal_strengths_equal_a_plain_loop(lab: Lab, strengths: tuple[float, ...]) -> None:
    conds, noise, sigmas = lab.prompt(), lab.joint_noise(), lab.sigmas(lab.model)
    ours = lab.advanced(noise, lab.guider(lab.model, conds, *strengths), "euler", sigmas, lab.latent())
    plain = PlainRun(lab).euler(passes_of(conds), strengths, noise, sigmas)
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


def test_a_linked_voice_equals_a_plain_loop_of_two_passes(lab: Lab) -> None:
    conds, noise, sigmas = lab.prompt(), lab.joint_noise(), lab.sigmas(lab.model)
    ours = lab.advanced(noise, lab.guider(lab.model, conds, 3.0, 2.0, 0.0), "euler", sigmas, lab.latent())
    plain = PlainRun(lab).euler(passes_of(conds), (3.0, 2.0), noise, sigmas)
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


@pytest.mark.parametrize("strengths", [(3.0, 2.0), (3.0, 2.0, 5.0)], ids=str)
def test_without_a_voice_its_term_vanishes(lab: Lab, strengths: tuple[float, ...]) -> None:
    conds, noise, sigmas = lab.prompt(voice=False), lab.joint_noise(), lab.sigmas(lab.model)
    guider = lab.guider(lab.model, conds, *(*strengths, 0.0)[:3])
    ours = lab.advanced(noise, guider, "euler", sigmas, lab.latent())
    passes = passes_of(conds)
    del passes["text_voice"]
    plain = PlainRun(lab).euler(passes, strengths, noise, sigmas)
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


def test_ksampler_equals_a_plain_loop(lab: Lab) -> None:
    conds = lab.prompt()
    ours = lab.ksampler(lab.model, conds, lab.latent(), cfg=2.5)
    plain = PlainRun(lab).euler(passes_of(conds), (2.5, 2.5), lab.random_noise(), lab.sigmas(lab.model))
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


@pytest.mark.parametrize("strengths", PASSES, ids=str)
def test_passes_with_weight_are_one_call_and_others_are_not_run(lab: Lab, strengths: tuple[float, ...]) -> None:
    model, calls = lab.watched(lab.model)
    lab.advanced(
        lab.joint_noise(), lab.guider(model, lab.prompt(), *strengths), "euler", lab.sigmas(model), lab.latent()
    )
    assert [call["batch"] for call in calls] == [PASSES[strengths]] * 3


@pytest.mark.parametrize("strengths", [(3.0, 2.0, 0.0), (3.0, 2.0, 1.5)], ids=["linked", "voice apart"])
@pytest.mark.parametrize(
    ("interval", "unguided"), [((1.0, 0.5), {2}), ((0.9, 0.0), {0}), ((0.9, 0.5), {0, 2})], ids=str
)
def test_outside_of_its_interval_guidance_costs_nothing(
    lab: Lab, strengths: tuple[float, ...], interval: tuple[float, float], unguided: set[int]
) -> None:
    model, calls = lab.watched(lab.model)
    conds, noise, sigmas = lab.prompt(), lab.joint_noise(), torch.tensor([1.0, 0.7, 0.3, 0.0])
    guider = lab.guider(model, conds, *strengths, 0, *interval)
    ours = lab.advanced(noise, guider, "euler", sigmas, lab.latent())
    assert [call["batch"] for call in calls] == [1 if step in unguided else PASSES[strengths] for step in range(3)]
    given = strengths if strengths[2] else strengths[:2]
    plain = PlainRun(lab).euler(passes_of(conds), given, noise, sigmas, unguided)
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


def test_the_estimate_counts_the_passes_that_run(lab: Lab) -> None:
    count = lab.pack("nodes.sampler")._passes
    guidance = lab.pack("unitalking.guidance").Guidance
    positive, _ = lab.prompt()
    sigmas = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])
    assert count(guidance(3.0, 2.0), positive, sigmas) == 2
    assert count(guidance(3.0, 2.0, 1.5), positive, sigmas) == 3
    assert count(guidance(3.0, 2.0, None, 1.0, 0.5), positive, sigmas) == 1.75
    assert count(guidance(1.0, 1.0), positive, sigmas[:1]) == 1


def test_a_voice_strength_without_a_voice_costs_no_pass(lab: Lab) -> None:
    model, calls = lab.watched(lab.model)
    guider = lab.guider(model, lab.prompt(voice=False), 3.0, 2.0, 1.5)
    lab.advanced(lab.joint_noise(), guider, "euler", lab.sigmas(model), lab.latent())
    assert [call["batch"] for call in calls] == [2, 2, 2]


def test_an_absent_stream_asks_for_no_pass(lab: Lab) -> None:
    model, calls = lab.watched(lab.model)
    guider = lab.guider(model, lab.prompt(), 3.0, 1.0, 0.0)
    lab.advanced(lab.joint_noise(), guider, "euler", lab.sigmas(model), lab.latent(streams="sound"))
    assert [call["batch"] for call in calls] == [1, 1, 1]


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_ksampler_batches_positive_and_negative(lab: Lab, cfg: float) -> None:
    model, calls = lab.watched(lab.model)
    lab.ksampler(model, lab.prompt(), lab.held(lab.latent(batch_size=2)), cfg=cfg)
    assert [call["batch"] for call in calls] == [2 if cfg == 1.0 else 4] * 3


def test_a_guidance_of_0_runs_the_negative_alone(lab: Lab) -> None:
    model, calls = lab.watched(lab.model)
    conds, noise, sigmas = lab.prompt(), lab.joint_noise(), lab.sigmas(lab.model)
    zero = lab.pack("unitalking.guidance").Guidance(0.0, 0.0, None)
    guider = lab.pack("nodes.guider").joint_guider(model, *conds, zero)
    ours = lab.advanced(noise, guider, "euler", sigmas, lab.latent())
    assert [call["batch"] for call in calls] == [1, 1, 1]
    plain = PlainRun(lab).euler({"none": condition(conds[1])}, (0.0, 0.0), noise, sigmas)
    assert [rel(a, b) <= LIMIT for a, b in zip(ours, plain, strict=True)] == [True, True]


@pytest.mark.parametrize("stream", [0, 1], ids=["picture", "sound"])
def test_each_streams_strength_is_its_own(lab: Lab, stream: int) -> None:
    """After one step from the same noise, a stream's result depends on its own strength alone."""
    conds, sigmas = lab.prompt(voice=False), lab.sigmas(lab.model, steps=1)
    strengths = [[2.0, 2.0], [2.0, 2.0]]
    strengths[1][stream] = 5.0
    results = [
        lab.advanced(lab.joint_noise(), lab.guider(lab.model, conds, *pair, 0.0), "euler", sigmas, lab.latent())
        for pair in strengths
    ]
    assert differ(*results)[stream]
    assert torch.equal(results[0][1 - stream], results[1][1 - stream])


def test_picture_and_sound_have_their_own_negatives(lab: Lab) -> None:
    positive, negative = lab.prompt(voice=False)
    other = [[context, {**more, "unitalking_audio_context": context.flip(1)}] for context, more in negative]
    results = [lab.ksampler(lab.model, (positive, given), lab.latent(), steps=1) for given in (negative, other)]
    assert differ(*results)[1]


# Whatever the host's nodes hook into guidance


def sampled(lab: Lab, model: Any, strengths: tuple[float, ...]) -> list[torch.Tensor]:
    guider = lab.guider(model, lab.prompt(), *strengths)
    return lab.advanced(lab.joint_noise(), guider, "euler", lab.sigmas(model), lab.latent())


@pytest.mark.parametrize("strengths", [(3.0, 2.0, 0.0), (3.0, 2.0, 1.5), (1.0, 1.0, 0.0)], ids=str)
def test_a_stock_cfg_function_sees_what_it_expects(lab: Lab, strengths: tuple[float, ...]) -> None:
    seen = []

    def cfg(given: dict[str, Any]) -> torch.Tensor:
        seen.append(sorted(given))
        return given["uncond"] + (given["cond"] - given["uncond"]) * given["cond_scale"]

    model = lab.model.clone()
    model.set_model_sampler_cfg_function(cfg)
    results = [sampled(lab, given, strengths) for given in (model, lab.model)]
    assert [rel(a, b) <= LIMIT for a, b in zip(*results, strict=True)] == [True, True]
    assert len(seen) == 3


def one_step_of_cfg_zero_star(lab: Lab, strengths: tuple[float, float]) -> list[torch.Tensor]:
    """The host's form: the scale of velocities, Fan et al. (2025), applied to denoised latents, stream by stream."""
    plain, (positive, negative), sigma = PlainRun(lab), lab.prompt(voice=False), torch.tensor(1.0)
    noise = lab.joint_noise().generate_noise(lab.latent()).unbind()
    pairs = zip(*(plain.velocity(noise, sigma, condition(each)) for each in (positive, negative)), strict=True)
    results = []
    for start, (text, none), strength in zip(noise, pairs, strengths, strict=True):
        scaled = (text * none).sum() / (none * none).sum() * (start - none)
        results.append(scaled + strength * (start - text - scaled))
    return [plain.statistics.video.restore(results[0]), plain.statistics.audio.restore(results[1])]


@pytest.mark.parametrize("strengths", [(3.0, 2.0), (2.5, 2.5)], ids=str)
def test_cfg_zero_star_takes_each_streams_own_scale(lab: Lab, strengths: tuple[float, float]) -> None:
    model = importlib.import_module("comfy_extras.nodes_cfg").CFGZeroStar.execute(lab.model).args[0]
    conds, sigmas = lab.prompt(voice=False), torch.tensor([1.0, 0.0])
    guiders = [lab.guider(model, conds, *strengths, 0.0)]
    if strengths[0] == strengths[1]:
        guiders.append(lab.custom.CFGGuider.execute(model, *conds, strengths[0]).args[0])
    expected = one_step_of_cfg_zero_star(lab, strengths)
    for guider in guiders:
        ours = lab.advanced(lab.joint_noise(), guider, "euler", sigmas, lab.latent())
        assert [rel(a, b) <= LIMIT for a, b in zip(ours, expected, strict=True)] == [True, True]


@pytest.mark.parametrize("streams", ["picture", "sound"])
def test_cfg_zero_star_takes_clips_of_one_stream(lab: Lab, streams: str) -> None:
    model = importlib.import_module("comfy_extras.nodes_cfg").CFGZeroStar.execute(lab.model).args[0]
    conds, latent = lab.prompt(voice=False), lab.latent(streams=streams)
    with_node, without = (
        lab.advanced(lab.joint_noise(), lab.guider(each, conds, 3.0, 2.0, 0.0), "euler", lab.sigmas(each), latent)
        for each in (model, lab.model)
    )
    assert all(bool(part.isfinite().all()) for part in with_node)
    index = ("picture", "sound").index(streams) if len(with_node) == 2 else 0
    assert differ(with_node, without)[index]


def test_a_function_without_a_name_is_left_as_it_is(lab: Lab) -> None:
    """A partial, as other packs hook in."""
    seen = []

    def note(seen: list, given: dict[str, Any]) -> torch.Tensor:
        seen.append(given["denoised"].shape)
        return given["denoised"]

    model = lab.model.clone()
    model.set_model_sampler_post_cfg_function(functools.partial(note, seen))
    results = [sampled(lab, given, (3.0, 2.0, 0.0)) for given in (model, lab.model)]
    assert equal(*results)
    assert seen == 3 * [(1, 1, sum(part[0].numel() for part in results[0]))]


@pytest.mark.parametrize("node", ["CFGZeroStar", "CFGNorm", "APG"])
def test_stock_guidance_nodes_run(lab: Lab, node: str) -> None:
    modules = {"CFGZeroStar": "nodes_cfg", "CFGNorm": "nodes_cfg", "APG": "nodes_apg"}
    given = {"CFGZeroStar": (), "CFGNorm": (1.0,), "APG": (1.0, 5.0, 0.0)}[node]
    patch = getattr(importlib.import_module(f"comfy_extras.{modules[node]}"), node)
    model = patch.execute(lab.model, *given).args[0]
    for strengths in ((3.0, 2.0, 0.0), (3.0, 2.0, 1.5)):
        assert all(bool(part.isfinite().all()) for part in sampled(lab, model, strengths))


def test_the_disabled_shortcut_runs_the_negative_at_strength_1_too(lab: Lab) -> None:
    model = lab.model.clone()
    model.model_options["disable_cfg1_optimization"] = True
    watched, calls = lab.watched(model)
    result = sampled(lab, watched, (1.0, 1.0, 0.0))
    assert [call["batch"] for call in calls] == [2, 2, 2]
    assert [rel(a, b) <= LIMIT for a, b in zip(result, sampled(lab, lab.model, (1.0, 1.0, 0.0)), strict=True)] == [
        True,
        True,
    ]


def test_a_guider_samples_the_same_twice(lab: Lab) -> None:
    guider = lab.guider(lab.model, lab.prompt(), 3.0, 2.0, 1.5)
    sigmas = lab.sigmas(lab.model)
    first, second = (lab.advanced(lab.joint_noise(), guider, "euler", sigmas, lab.latent()) for _ in range(2))
    assert equal(first, second)


# Several devices


@pytest.mark.parametrize("strengths", [(3.0, 2.0, 0.0), (3.0, 2.0, 1.5)], ids=["two passes", "three passes"])
def test_the_hosts_multi_gpu_node_gives_each_device_its_passes(
    lab: Lab, strengths: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two names of the CPU stand for two devices: the host loads a copy, and runs both in threads of their own."""
    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    management = importlib.import_module("comfy.model_management")
    monkeypatch.setattr(management, "get_all_torch_devices", lambda exclude_current=False: devices)
    node = importlib.import_module("comfy_extras.nodes_multigpu").MultiGPUCFGSplitNode
    model = node.execute(lab.load(lab.path), 2).args[0]
    (copy,) = model.get_additional_models_with_key("multigpu")
    name = "audio.time_embedding.0"
    with lab.counted([name], model) as first, lab.counted([name], copy) as second:
        result = sampled(lab, model, strengths)
    batches = [[given.shape[0] for given in counts.inputs[name]] for counts in (first, second)]
    assert batches == [3 * [1 if strengths[2] == 0 else 2], 3 * [1]]
    assert [rel(a, b) <= LIMIT for a, b in zip(result, sampled(lab, lab.model, strengths), strict=True)] == [True, True]
