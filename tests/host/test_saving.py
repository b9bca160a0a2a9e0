"""A model saved, merged, reloaded or copied by the host is still the model."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from lab import Lab, differ, equal, rel
from lora_files import write_lora
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor


def sampled(lab: Lab, model: Any) -> list[Tensor]:
    return lab.ksampler(model, lab.prompt(), lab.held(lab.latent()))


def test_a_saved_model_gives_the_same_clip(lab: Lab) -> None:
    model = lab.load(lab.save(lab.model, "same"))
    assert equal(sampled(lab, model), sampled(lab, lab.model))
    assert model.model.unitalking == lab.config


def test_a_saved_file_holds_native_names_config_and_statistics(lab: Lab) -> None:
    prefix = "model.diffusion_model."
    tensors, original = load_file(lab.save(lab.model, "names")), lab.tensors()
    written = {key.removeprefix(prefix): value for key, value in tensors.items()}
    assert all(key.startswith(prefix) for key in tensors)
    expected = {key for key in original if not key.startswith("text_encoder.")}
    assert set(written) == expected
    for key in expected:
        assert torch.equal(written[key].double(), original[key].double()), key


def test_a_saved_file_needs_no_metadata(lab: Lab) -> None:
    path = lab.save(lab.model, "metadata")
    with safe_open(path, framework="pt") as file:
        assert "unitalking" not in (file.metadata() or {})
    assert lab.load(path).model.unitalking == lab.config


def test_a_lora_is_saved_with_the_model(lab: Lab) -> None:
    write_lora(lab.path, "saved.safetensors", ["video.blocks.0.modulation", "audio.blocks.0.ffn.0.weight"], scale=1.0)
    patched = lab.host.LoraLoaderModelOnly().load_lora_model_only(lab.model, "saved.safetensors", 0.7)[0]
    results = sampled(lab, lab.load(lab.save(patched, "lora"))), sampled(lab, patched)
    assert [rel(a, b) <= 1e-5 for a, b in zip(*results, strict=True)] == [True, True]
    assert differ(results[0], sampled(lab, lab.model)) == [True, True]


def test_a_model_that_casts_to_fp8_is_saved_as_it_runs(lab: Lab) -> None:
    model = lab.load(lab.path, dtype=torch.float8_e4m3fn)
    assert equal(sampled(lab, lab.load(lab.save(model, "cast"), dtype=torch.float8_e4m3fn)), sampled(lab, model))


def test_two_of_ours_merge(lab: Lab) -> None:
    other = lab.write("other.safetensors", seed=1)
    merge = importlib.import_module("comfy_extras.nodes_model_merging").ModelMergeSimple()
    merged = merge.merge(lab.model, lab.load(other), 0.25)[0]
    theirs = load_file(other)
    by_hand = lab.rewrite(
        "by_hand.safetensors",
        lambda tensors: {
            key: 0.25 * value + 0.75 * theirs[key].float() if key.startswith(("video.", "audio.")) else value
            for key, value in tensors.items()
        },
    )
    results = sampled(lab, merged), sampled(lab, lab.load(by_hand))
    assert [rel(a, b) <= 1e-5 for a, b in zip(*results, strict=True)] == [True, True]
    assert merged.model.unitalking == lab.config
    assert equal(sampled(lab, lab.load(lab.save(merged, "merged"))), sampled(lab, merged))


# Copies that the host makes


def test_a_copy_for_another_device_is_loaded_from_the_file(lab: Lab) -> None:
    original = lab.load(lab.path)
    copy = original.deepclone_multigpu()
    assert copy.model is not original.model
    assert copy.model.unitalking == lab.config
    assert equal(sampled(lab, copy), sampled(lab, original))


def test_the_host_reloads_with_the_options_the_model_was_loaded_with(lab: Lab) -> None:
    model = lab.load(lab.path, dtype=torch.bfloat16)
    function, arguments = model.cached_patcher_init
    again = function(*arguments, disable_dynamic=True)
    assert type(again) is importlib.import_module("comfy.model_patcher").ModelPatcher
    assert again.model.diffusion_model.dtype == torch.bfloat16
    assert equal(sampled(lab, again), sampled(lab, model))


def test_clones_share_weights_and_keep_their_own_options(lab: Lab) -> None:
    clone = lab.model.clone()
    clone.model_options["transformer_options"]["mine"] = 1
    assert clone.model is lab.model.model
    assert "mine" not in lab.model.model_options["transformer_options"]
    assert equal(sampled(lab, clone), sampled(lab, lab.model))


def test_the_host_counts_the_models_memory(lab: Lab) -> None:
    weights = sum(value.numel() * 4 for key, value in lab.tensors().items() if key.startswith(("video.", "audio.")))
    assert weights <= lab.model.model_size() <= 1.02 * weights, "and the schedule"
    assert lab.model.model.memory_required([1, 1, 1000]) > 0


def test_a_model_may_be_unloaded_and_come_back(lab: Lab) -> None:
    management = importlib.import_module("comfy.model_management")
    before = sampled(lab, lab.model)
    management.unload_all_models()
    assert equal(sampled(lab, lab.model), before)
