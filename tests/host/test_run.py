"""Step-invariant work is done once per run, dropped with it, and never stale."""

from __future__ import annotations

import gc
import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab, differ, equal, rel
from lora_files import write_lora
from torch import Tensor

STEPS = 4
ONCE = [
    "video.text_embedding",
    "audio.text_embedding",
    "video.blocks.0.cross_attn.k",
    "video.blocks.1.cross_attn.v",
    "audio.blocks.0.cross_attn.k",
    "audio.blocks.1.cross_attn.v",
    "audio.blocks.0.cross_attn.k_reference",
    "audio.blocks.1.cross_attn.v_reference",
]
EACH_STEP = ["video.blocks.0.self_attn.q", "audio.blocks.1.ffn.0"]


def kept_objects(lab: Lab) -> int:
    """How many blocks' keys of the conditions are in memory."""
    gc.collect()
    kind = lab.pack("unitalking.types").CrossKeys
    return sum(type(item) is kind for item in gc.get_objects())


@pytest.fixture
def layouts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often rotations were computed."""
    counts: Counter[str] = Counter()
    transformer = lab.pack("unitalking.model.transformer")
    table = transformer.rope_table

    def counted(*arguments: Any) -> Any:
        counts["rope"] += 1
        return table(*arguments)

    monkeypatch.setattr(transformer, "rope_table", counted)
    return counts


@pytest.mark.parametrize("portrait", [False, True], ids=["text", "portrait"])
def test_conditions_and_rotations_are_computed_once_per_run(lab: Lab, layouts: Counter[str], *, portrait: bool) -> None:
    conds, latent = lab.prompt(), lab.held(lab.latent()) if portrait else lab.latent()
    with lab.counted(ONCE + EACH_STEP) as counts:
        for run in (1, 2):
            lab.ksampler(lab.model, conds, latent, steps=STEPS)
            assert {name: counts[name] for name in ONCE} == dict.fromkeys(ONCE, run)
            assert {name: counts[name] for name in EACH_STEP} == dict.fromkeys(EACH_STEP, STEPS * run)
            assert layouts["rope"] == 2 * run, "one for each stream"


def test_three_passes_share_one_computation(lab: Lab) -> None:
    with lab.counted(ONCE) as counts:
        lab.joint(lab.model, lab.prompt(), lab.latent(batch_size=2), guidance_voice=1.5)
    assert {name: counts[name] for name in ONCE} == dict.fromkeys(ONCE, 1)


def test_results_of_a_run_do_not_depend_on_the_run_before(lab: Lab) -> None:
    conds, others = lab.prompt(), lab.prompt(speech="Good day", voice=False)
    first = lab.ksampler(lab.model, conds, lab.latent())
    between = lab.ksampler(lab.model, others, lab.latent(frames=17))
    assert equal(first, lab.ksampler(lab.model, conds, lab.latent()))
    assert equal(between, lab.ksampler(lab.load(lab.path), others, lab.latent(frames=17)))


def test_with_too_little_memory_keys_are_computed_anew_with_the_same_result(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    conds, latent = lab.prompt(), lab.latent()
    expected = lab.ksampler(lab.model, conds, latent, cfg=1.0, steps=STEPS)
    management = importlib.import_module("comfy.model_management")
    free = management.get_free_memory
    monkeypatch.setattr(
        management, "get_free_memory", lambda dev=None, torch_free_too=False: (0, 0) if torch_free_too else 0
    )
    with lab.counted(ONCE) as counts:
        result = lab.ksampler(lab.model, conds, latent, cfg=1.0, steps=STEPS)
    monkeypatch.setattr(management, "get_free_memory", free)
    embedded = dict.fromkeys(ONCE[:2], 1)
    assert {name: counts[name] for name in ONCE} == {**dict.fromkeys(ONCE, STEPS), **embedded}
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(result, expected, strict=True))


# What is left


def test_nothing_is_kept_after_a_run(lab: Lab) -> None:
    during: list[int] = []

    def note(executor: Any, *arguments: Any) -> Any:
        out = executor(*arguments)
        during.append(kept_objects(lab))
        return out

    model = lab.wrapped(lab.model, note)
    before = kept_objects(lab)
    lab.ksampler(model, lab.prompt(), lab.latent())
    assert before == 0
    assert min(during) == 4, "two blocks of two streams, for both conditionings at once"
    assert kept_objects(lab) == 0
    assert_clean(model)


def assert_clean(model: Any) -> None:
    assert "unitalking_run" not in model.model_options["transformer_options"]
    assert model.model.latent_format.packed_shapes is None


@pytest.mark.parametrize("error", [RuntimeError, None], ids=["error", "interrupt"])
def test_nothing_is_kept_after_a_run_that_ends_early(lab: Lab, error: type[BaseException] | None) -> None:
    error = error or importlib.import_module("comfy.model_management").InterruptProcessingException
    steps: list[int] = []

    def fail(executor: Any, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 2:
            raise error
        return executor(*arguments)

    model = lab.wrapped(lab.model, fail)
    guider = lab.guider(model, lab.prompt(), 3.0, 2.0, 1.5)
    with pytest.raises(error):
        lab.advanced(lab.joint_noise(), guider, "euler", lab.sigmas(model), lab.latent())
    assert_clean(model)
    assert "unitalking_run" not in guider.model_options.get("transformer_options", {})
    del guider
    assert kept_objects(lab) == 0
    expected = lab.ksampler(lab.model, lab.prompt(), lab.latent())
    assert equal(lab.ksampler(model, lab.prompt(), lab.latent()), expected)


def test_the_run_is_one_object_at_every_step(lab: Lab) -> None:
    model, calls = lab.watched(lab.model)
    lab.ksampler(model, lab.prompt(), lab.latent(), steps=STEPS)
    assert len({id(call["options"]["unitalking_run"]) for call in calls}) == 1


# Weights that change during a run


TEXT_WEIGHTS = ["video.text_embedding.0.weight", "audio.blocks.0.cross_attn.k.weight"]
POSITION_WEIGHTS = ["video.extra_positions.time.weight", "audio.extra_positions.time.weight"]


def hooked(path: Path, weights: list[str], conditioning: list, *keyframes: tuple[float, float]) -> list:
    """The conditioning with a LoRA on weights of a model file, its strength (strength, start) changing with time."""
    nodes = importlib.import_module("comfy_extras.nodes_hooks")
    write_lora(path, "hook.safetensors", weights, scale=1)
    hooks = nodes.CreateHookLora().create_hook("hook.safetensors", 1.0, 0.0)[0]
    group = None
    for strength, start in keyframes:
        group = nodes.CreateHookKeyframe().create_hook_keyframe(strength, start, group)[0]
    hooks = nodes.SetHookKeyframes().set_hook_keyframes(hooks, group)[0]
    return nodes.ConditioningSetProperties().set_properties(conditioning, 1.0, "default", hooks=hooks)[0]


def stages(lab: Lab, model: Any, conds: list[tuple[list, list]], sigmas: list[Tensor]) -> list[Tensor]:
    """One clip sampled in stages, each a run of its own."""
    latent, noise = lab.latent(), lab.random_noise()
    for cond, part in zip(conds, sigmas, strict=True):
        guider = lab.guider(model, cond, 2.5, 2.5, 0.0)
        latent = {"samples": lab.nested(lab.advanced(noise, guider, "euler", part, latent))}
        noise = lab.custom.Noise_EmptyNoise()
    return lab.streams([latent])


@pytest.mark.parametrize("weights", [TEXT_WEIGHTS, POSITION_WEIGHTS], ids=["text", "positions"])
def test_a_hook_that_changes_strength_during_a_run_is_honoured(lab: Lab, weights: list[str]) -> None:
    path = lab.write("positions.safetensors", lab.make_config(extra_positions=(2, 2)))
    model, (positive, negative) = lab.load(path), lab.prompt()
    sigmas = lab.sigmas(model, STEPS)
    step = int((sigmas > float(model.get_model_object("model_sampling").percent_to_sigma(0.5))).sum())
    assert 0 < step < STEPS
    changing = hooked(path, weights, positive, (0.2, 0.0), (1.0, 0.5))
    steady = [(hooked(path, weights, positive, (strength, 0.0)), negative) for strength in (0.2, 1.0)]
    mixed = stages(lab, model, [(changing, negative)], [sigmas])
    expected = stages(lab, model, steady, [sigmas[: step + 1], sigmas[step:]])
    assert [rel(a, b) <= 1e-5 for a, b in zip(mixed, expected, strict=True)] == [True, True]
    for cond in steady:
        assert differ(mixed, stages(lab, model, [cond], [sigmas])) == [True, True]


def test_positive_and_negative_may_have_their_own_hooks(lab: Lab) -> None:
    conds, sigmas = lab.prompt(), [lab.sigmas(lab.model)]
    hooks = [
        hooked(lab.path, TEXT_WEIGHTS, cond, (strength, 0.0)) for cond, strength in zip(conds, (1, 0.5), strict=True)
    ]
    both = stages(lab, lab.model, [(hooks[0], hooks[1])], sigmas)
    for given in (conds, (hooks[0], conds[1])):
        assert differ(both, stages(lab, lab.model, [given], sigmas)) == [True, True]
    assert equal(stages(lab, lab.model, [conds], sigmas), lab.ksampler(lab.model, conds, lab.latent()))
