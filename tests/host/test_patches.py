"""What the host's other nodes hang into the model: caches, skipped layers, replaced blocks, attention, compilation."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lab import Lab, differ, equal, rel
from torch import Tensor

STEPS = 6
BLOCKS = 2
# Joint attention, text of both streams, voice of the sound: in every block.
ATTENTIONS = 4 * BLOCKS
PORTRAIT = pytest.mark.parametrize("portrait", [False, True], ids=["text", "portrait"])


def clip_of(lab: Lab, *, portrait: bool) -> dict[str, Any]:
    return lab.held(lab.latent()) if portrait else lab.latent()


def sampled(lab: Lab, model: Any, **settings: Any) -> list[Tensor]:
    return lab.ksampler(model, lab.prompt(), lab.latent(), **settings)


def node(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"comfy_extras.{module}"), name)


# Caches


def cached(lab: Lab, threshold: float, kind: str = "EasyCacheNode") -> Any:
    return node("nodes_easycache", kind).execute(lab.model, threshold, 0.0, 1.0, False).args[0]


def test_a_cache_that_reuses_nothing_changes_nothing(lab: Lab) -> None:
    assert equal(sampled(lab, cached(lab, 0.0)), sampled(lab, lab.model))


@PORTRAIT
@pytest.mark.parametrize("kind", ["EasyCacheNode", "LazyCacheNode"])
def test_a_cache_skips_steps(lab: Lab, kind: str, *, portrait: bool) -> None:
    with lab.counted(["video.blocks.0.self_attn.q"]) as counts:
        latent = clip_of(lab, portrait=portrait)
        out = lab.joint(cached(lab, 3.0, kind), lab.prompt(), latent, steps=STEPS, guidance_voice=1.5)
    assert 2 <= counts["video.blocks.0.self_attn.q"] < STEPS
    assert all(bool(part.isfinite().all()) for part in out)
    assert [part.shape for part in out] == [part.shape for part in latent["samples"].unbind()]
    if portrait:
        assert torch.equal(out[0][:, :, 0], latent["samples"].unbind()[0][:, :, 0])


def test_a_skipped_step_reuses_the_last_change_of_the_latent(lab: Lab) -> None:
    """EasyCache adds to its input what the network last added to its own; the latent itself must stay as it was."""
    model, calls = lab.watched(cached(lab, 3.0))
    seen: list[tuple[float, Tensor, Tensor]] = []
    guider = lab.guider(model, lab.prompt(), 1.0, 1.0, 0.0)
    sigmas = lab.sigmas(model, STEPS)
    pack = importlib.import_module("comfy.utils").pack_latents

    def callback(step: int, denoised: Any, now: Any, total: int) -> None:
        seen.append((float(sigmas[step]), pack(now.unbind())[0], pack(denoised.unbind())[0]))

    noise, empty = lab.random_noise().generate_noise(lab.latent()), lab.latent()["samples"]
    guider.sample(noise, empty, lab.samplers.sampler_object("euler"), sigmas, callback=callback, seed=3)
    ran = {
        min(range(STEPS), key=lambda step: abs(1000 * seen[step][0] - float(call["timestep"]))): call for call in calls
    }
    skipped = [step for step in range(STEPS) if step not in ran]
    assert skipped
    for step in skipped:
        last = max(number for number in ran if number < step)
        change = pack(ran[last]["velocity"])[0] - seen[last][1]
        sigma, latent, denoised = seen[step]
        assert rel(denoised, latent - sigma * (latent + change)) <= 1e-5


# Skipped and replaced blocks


@PORTRAIT
@pytest.mark.parametrize("strengths", [(2.5, 2.5, 0.0), (3.0, 2.0, 1.5)], ids=["linked", "voice"])
@pytest.mark.parametrize("name", ["SkipLayerGuidanceDiT", "SkipLayerGuidanceDiTSimple"])
def test_skip_layer_guidance_acts(lab: Lab, name: str, strengths: tuple[float, ...], *, portrait: bool) -> None:
    settings = {"double_layers": "1", "single_layers": "", "start_percent": 0.0, "end_percent": 1.0}
    if name == "SkipLayerGuidanceDiT":
        settings["scale"] = 3.0
    model = node("nodes_slg", name).execute(lab.model, **settings).args[0]
    latent, sigmas = clip_of(lab, portrait=portrait), lab.sigmas(lab.model)
    results = [
        lab.advanced(lab.joint_noise(), lab.guider(given, lab.prompt(), *strengths), "euler", sigmas, latent)
        for given in (model, lab.model)
    ]
    assert all(bool(part.isfinite().all()) for part in results[0])
    assert differ(*results) == [True, True]


def test_skip_layer_guidance_skips_a_layer_of_the_negative_alone(lab: Lab) -> None:
    settings = {"double_layers": "0", "single_layers": "", "start_percent": 0.0, "end_percent": 1.0}
    model = node("nodes_slg", "SkipLayerGuidanceDiTSimple").execute(lab.model, **settings).args[0]
    names = [f"video.blocks.{index}.self_attn.q" for index in range(BLOCKS)]
    with lab.counted(names) as counts:
        lab.joint(model, lab.prompt(), lab.latent(), guidance_voice=1.5, steps=STEPS)
    assert counts[names[1]] == 3 * STEPS, "text, negative and voice, each on its own"
    assert counts[names[0]] == 2 * STEPS


def replacing(lab: Lab, index: int, replace: Callable[[dict, dict], dict]) -> Any:
    model = lab.model.clone()
    model.set_model_patch_replace(replace, "dit", "double_block", index)
    return model


def test_a_replaced_block_is_really_replaced(lab: Lab) -> None:
    skipped = replacing(lab, 0, lambda given, more: {"img": given["img"]})
    with lab.counted(["video.blocks.0.self_attn.q", "audio.blocks.1.self_attn.q"]) as counts:
        out = sampled(lab, skipped)
    assert dict(counts) == {"audio.blocks.1.self_attn.q": 3}
    assert differ(out, sampled(lab, lab.model)) == [True, True]


def test_a_replacement_may_call_the_block_itself(lab: Lab) -> None:
    seen: list[tuple[Any, ...]] = []

    def replace(given: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
        options = given["transformer_options"]
        seen.append((options["block_index"], options["total_blocks"], len(given["img"])))
        return more["original_block"](given)

    assert equal(sampled(lab, replacing(lab, 1, replace)), sampled(lab, lab.model))
    assert seen == [(1, BLOCKS, 2)] * 3


def test_a_patch_after_each_block_may_change_its_tokens(lab: Lab) -> None:
    model, indices = lab.model.clone(), []

    def patch(given: dict[str, Any]) -> dict[str, Any]:
        indices.append(given["block_index"])
        return {**given, "img": tuple(0.5 * tokens for tokens in given["img"])}

    model.set_model_patch(patch, "double_block")
    assert differ(sampled(lab, model), sampled(lab, lab.model)) == [True, True]
    assert indices == [0, 1] * 3


# Attention


@pytest.mark.parametrize("voice", [True, False])
def test_every_attention_goes_through_the_hosts_override(lab: Lab, *, voice: bool) -> None:
    calls: list[int] = []

    def override(function: Callable[..., Tensor], *arguments: Any, **options: Any) -> Tensor:
        calls.append(options["heads"])
        return 0.5 * function(*arguments, **options)

    model = lab.model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = override
    results = [lab.ksampler(given, lab.prompt(voice=voice), lab.latent()) for given in (model, lab.model)]
    assert calls == [2] * 3 * (ATTENTIONS if voice else ATTENTIONS - BLOCKS)
    assert differ(*results) == [True, True]


def test_all_attention_functions_of_the_host_agree(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    attention, adapter = importlib.import_module("comfy.ldm.modules.attention"), lab.pack("nodes.adapter")
    results = []
    for name in ("attention_basic", "attention_sub_quad", "attention_split", "attention_pytorch"):
        monkeypatch.setattr(adapter, "optimized_attention", getattr(attention, name))
        results.append(sampled(lab, lab.model))
    for result in results[1:]:
        assert [rel(a, b) <= 1e-5 for a, b in zip(result, results[0], strict=True)] == [True, True]


# Other wrappers


def test_a_model_function_wrapper_sees_the_packed_latent(lab: Lab) -> None:
    model, shapes = lab.model.clone(), []

    def wrapper(apply: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        shapes.append(tuple(given["input"].shape))
        return apply(given["input"], given["timestep"], **given["c"])

    model.set_model_unet_function_wrapper(wrapper)
    assert equal(sampled(lab, model), sampled(lab, lab.model))
    assert shapes == [(2, 1, 8 * 3 * 4 * 4 + 6 * 12)] * 3


def test_differential_diffusion_runs_with_a_held_frame(lab: Lab) -> None:
    model = node("nodes_differential_diffusion", "DifferentialDiffusion").execute(lab.model, 1.0).args[0]
    latent = lab.held(lab.latent())
    out = lab.joint(model, lab.prompt(), latent)
    assert torch.equal(out[0][:, :, 0], latent["samples"].unbind()[0][:, :, 0])
    assert all(bool(part.isfinite().all()) for part in out)


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_clip(lab: Lab) -> None:
    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler for inductor")
    compiled = node("nodes_torch_compile", "TorchCompileModel").execute(lab.model, "inductor").args[0]
    latent = lab.held(lab.latent())
    results = [lab.ksampler(model, lab.prompt(), latent) for model in (compiled, lab.model)]
    assert [rel(a, b) <= 1e-4 for a, b in zip(*results, strict=True)] == [True, True]
