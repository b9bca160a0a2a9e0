"""LoRA files through the stock loader and ours: the result equals a file whose weights were merged by hand."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import pytest
import torch
from lab import Lab, differ, equal, rel
from lora_files import write_lora
from safetensors.torch import load_file, save_file
from torch import Tensor

LIMIT = 1e-5
VIDEO = [
    "video.blocks.0.self_attn.q.weight",
    "video.blocks.1.ffn.2.weight",
    "video.blocks.0.modulation",
    "video.head.modulation",
    "video.patch_embedding.weight",
]
AUDIO = [
    "audio.blocks.0.cross_attn.k_reference.weight",
    "audio.blocks.1.self_attn.o.weight",
    "audio.blocks.1.modulation",
    "audio.time_projection.1.weight",
]
# our loader's choice -> which of a file's weights may change
STREAMS = {"both": [*VIDEO, *AUDIO], "video": VIDEO, "audio": AUDIO}


def sampled(lab: Lab, model: Any) -> list[Tensor]:
    return lab.ksampler(model, lab.prompt(), lab.latent())


def merged(lab: Lab, added: dict[str, Tensor], strength: float = 1.0) -> Any:
    """The model with the change merged into its file."""
    path = lab.rewrite(
        "merged.safetensors",
        lambda tensors: tensors | {key: tensors[key] + strength * value for key, value in added.items()},
    )
    return lab.load(path)


def stock(lab: Lab, name: str, strength: float = 1.0) -> Any:
    return lab.host.LoraLoaderModelOnly().load_lora_model_only(lab.model, name, strength)[0]


def ours(lab: Lab, name: str, stream: str = "both", strength: float = 1.0) -> Any:
    return lab.pack("nodes.lora").LoadLora.execute(lab.model, name, stream, strength).args[0]


def assert_same_clip(lab: Lab, model: Any, expected: Any) -> None:
    results = sampled(lab, model), sampled(lab, expected)
    assert [rel(a, b) <= LIMIT for a, b in zip(*results, strict=True)] == [True, True]
    assert differ(results[0], sampled(lab, lab.model)) == [True, True]


@pytest.mark.parametrize("strength", [1.0, -0.5])
@pytest.mark.parametrize("spelling", ["peft", "kohya", "diff"])
def test_the_stock_loader_applies_both_streams(lab: Lab, spelling: str, strength: float) -> None:
    added = write_lora(lab.path, f"{spelling}.safetensors", [*VIDEO, *AUDIO], spelling)
    patched = stock(lab, f"{spelling}.safetensors", strength)
    assert len(patched.patches) == len(added)
    assert_same_clip(lab, patched, merged(lab, added, strength))


@pytest.mark.parametrize("weight", [*VIDEO, *AUDIO])
def test_every_kind_of_weight_is_reached(lab: Lab, weight: str) -> None:
    """Modulation above all: the host patches the weights of leaf modules only."""
    added = write_lora(lab.path, "one.safetensors", [weight], "kohya", scale=1.0)
    assert_same_clip(lab, stock(lab, "one.safetensors"), merged(lab, added))


@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", "base_model.model.", ""])
def test_our_loader_knows_the_prefixes_of_trainers(lab: Lab, prefix: str, strength: float) -> None:
    added = write_lora(lab.path, "prefix.safetensors", [*VIDEO, *AUDIO], prefix=prefix)
    assert_same_clip(lab, ours(lab, "prefix.safetensors", strength=strength), merged(lab, added, strength))


@pytest.mark.parametrize("spelling", ["peft", "kohya", "diff"])
@pytest.mark.parametrize("stream", STREAMS)
def test_our_loader_changes_the_chosen_stream_alone(lab: Lab, stream: str, spelling: str) -> None:
    added = write_lora(lab.path, "stream.safetensors", [*VIDEO, *AUDIO], spelling)
    patched = ours(lab, "stream.safetensors", stream)
    assert len(patched.patches) == len(STREAMS[stream])
    assert_same_clip(lab, patched, merged(lab, {key: added[key] for key in STREAMS[stream]}))


@pytest.mark.parametrize("spelling", ["peft", "kohya"])
@pytest.mark.parametrize(("stream", "goes_to"), [("both", "video"), ("video", "video"), ("audio", "audio")])
def test_names_without_a_stream_go_to_the_picture_unless_the_sound_is_chosen(
    lab: Lab, stream: str, goes_to: str, spelling: str
) -> None:
    """Wan2.2's own LoRAs."""
    suffixes = ["blocks.0.self_attn.q.weight", "blocks.1.ffn.0.weight", "blocks.1.modulation"]
    weights = [f"{goes_to}.{suffix}" for suffix in suffixes]
    front = "lora_unet_" if spelling == "kohya" else "diffusion_model."
    added = write_lora(lab.path, "wan.safetensors", weights, spelling)
    rename_in_file("wan.safetensors", f"{front}{goes_to}" + ("_" if spelling == "kohya" else "."), front)
    patched = ours(lab, "wan.safetensors", stream)
    assert len(patched.patches) == len(weights)
    assert_same_clip(lab, patched, merged(lab, added))


def test_wan_funs_names_are_known(lab: Lab) -> None:
    """Two underscores after the prefix; the host tells such a file by one of its layers."""
    weights = ["video.blocks.0.cross_attn.k.weight", "video.blocks.1.ffn.0.weight"]
    write_lora(lab.path, "fun.safetensors", weights, "kohya")
    rename_in_file("fun.safetensors", "lora_unet_video_", "lora_unet__")
    node = lab.pack("nodes.lora")
    tensors = load_file(importlib.import_module("folder_paths").get_full_path("loras", "fun.safetensors"))
    patches, unread = node.read_patches(tensors, node.lora_keys(lab.model, "both"), "fun.safetensors")
    assert (sorted(patches), unread) == ([f"diffusion_model.{weight}" for weight in weights], [])


def rename_in_file(name: str, old: str, new: str) -> None:
    path = importlib.import_module("folder_paths").get_full_path("loras", name)
    tensors = load_file(path)
    assert all(key.startswith(old) for key in tensors)
    save_file({new + key.removeprefix(old): value for key, value in tensors.items()}, path)


def add_to_file(name: str, tensors: dict[str, Tensor]) -> None:
    path = importlib.import_module("folder_paths").get_full_path("loras", name)
    save_file(load_file(path) | tensors, path)


@pytest.mark.parametrize(
    ("stream", "foreign", "said"),
    [
        ("both", {}, "9 of the model's weights changed by said.safetensors; 0 of its 27 tensors not applied"),
        (
            "both",
            {"lora_te_a.alpha": torch.ones(()), "lora_te_b.diff": torch.ones(3)},
            "9 of the model's weights changed by said.safetensors; 2 of its 29 tensors not applied, such as "
            "lora_te_a.alpha",
        ),
        (
            "audio",
            {},
            "4 of the model's weights changed by said.safetensors; 15 of its 27 tensors not applied, such as "
            "lora_unet_video_blocks_0_modulation.alpha",
        ),
    ],
    ids=["all", "foreign", "other stream"],
)
def test_the_node_says_how_much_of_the_file_applied(
    lab: Lab, caplog: pytest.LogCaptureFixture, stream: str, foreign: dict[str, Tensor], said: str
) -> None:
    write_lora(lab.path, "said.safetensors", [*VIDEO, *AUDIO], "kohya")
    add_to_file("said.safetensors", foreign)
    with caplog.at_level(logging.INFO):
        ours(lab, "said.safetensors", stream)
    assert [record.message for record in caplog.records if "changed by" in record.message] == [f"UniTalking: {said}"]


def test_patches_of_other_shapes_are_left_out_and_said(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """The host would only log them, and count them as applied."""
    added = write_lora(lab.path, "sizes.safetensors", VIDEO)
    wide = {
        "diffusion_model.video.blocks.1.self_attn.k.lora_A.weight": torch.ones(2, 40),
        "diffusion_model.video.blocks.1.self_attn.k.lora_B.weight": torch.ones(40, 2),
        "diffusion_model.video.blocks.0.norm3.diff": torch.ones(40),
        "diffusion_model.video.blocks.0.self_attn.norm_q.diff_b": torch.ones(32),
    }
    add_to_file("sizes.safetensors", wide)
    with caplog.at_level(logging.INFO):
        patched = ours(lab, "sizes.safetensors")
    assert len(patched.patches) == len(VIDEO)
    assert_same_picture(lab, patched, merged(lab, added))
    (said,) = [record.message for record in caplog.records if "changed by" in record.message]
    assert "5 of the model's weights changed" in said
    assert "3 weights kept: video.blocks." in said


def assert_same_picture(lab: Lab, model: Any, expected: Any) -> None:
    results = [lab.ksampler(each, lab.prompt(), lab.latent())[0] for each in (model, expected)]
    assert rel(*results) <= LIMIT


def test_a_lora_for_a_model_of_another_size_is_an_error(lab: Lab) -> None:
    """Wan2.2-14B's have the same names and 5120 numbers where the 5B model has 3072."""
    path = lab.write("wider.safetensors", lab.make_config(dim=64))
    write_lora(path, "wider.safetensors", ["video.blocks.0.self_attn.q.weight", "video.blocks.1.ffn.0.weight"])
    error = lab.pack("unitalking.checkpoint.files").CheckpointError
    expected = r"video\.blocks\.0\.self_attn\.q\.weight has shape \(64, 64\) there, \(32, 32\) here.*another size"
    with pytest.raises(error, match=expected):
        ours(lab, "wider.safetensors")


def test_half_a_pair_of_factors_is_an_error(lab: Lab) -> None:
    write_lora(lab.path, "half.safetensors", VIDEO)
    path = importlib.import_module("folder_paths").get_full_path("loras", "half.safetensors")
    save_file({key: value for key, value in load_file(path).items() if "patch_embedding.lora_A" not in key}, path)
    error = lab.pack("unitalking.checkpoint.files").CheckpointError
    with pytest.raises(error, match=r"half\.safetensors is incomplete: it has no diffusion_model\.video\.patch_emb"):
        ours(lab, "half.safetensors")


@pytest.mark.parametrize(("weights", "prefix", "stream"), [(VIDEO, "other.", "both"), (VIDEO, None, "audio")])
def test_a_file_that_changes_nothing_is_an_error(lab: Lab, weights: list[str], prefix: str | None, stream: str) -> None:
    write_lora(lab.path, "foreign.safetensors", weights, prefix=prefix)
    error = lab.pack("unitalking.checkpoint.files").CheckpointError
    with pytest.raises(error, match=rf"foreign\.safetensors changes nothing in this model \(stream: {stream}\)"):
        ours(lab, "foreign.safetensors", stream)


def test_a_missing_file_is_named(lab: Lab) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors was not found"):
        ours(lab, "gone.safetensors")


def test_the_model_before_the_loader_stays_as_it_was(lab: Lab) -> None:
    before = sampled(lab, lab.model)
    write_lora(lab.path, "after.safetensors", [*VIDEO, *AUDIO])
    sampled(lab, ours(lab, "after.safetensors"))
    assert equal(sampled(lab, lab.model), before)


def test_loras_add_up(lab: Lab) -> None:
    first = write_lora(lab.path, "first.safetensors", VIDEO)
    second = write_lora(lab.path, "second.safetensors", [VIDEO[0], *AUDIO], "kohya")
    loaded = lab.pack("nodes.lora").LoadLora
    both = loaded.execute(stock(lab, "first.safetensors"), "second.safetensors", "both", 0.5).args[0]
    total = {key: 1.0 * value for key, value in first.items()}
    for key, value in second.items():
        total[key] = total.get(key, 0) + 0.5 * value
    assert_same_clip(lab, both, merged(lab, total))


def test_a_lora_hook_on_the_conditioning_equals_the_loader(lab: Lab) -> None:
    nodes = importlib.import_module("comfy_extras.nodes_hooks")
    write_lora(lab.path, "hooked.safetensors", [*VIDEO, *AUDIO])
    hooks = nodes.CreateHookLora().create_hook("hooked.safetensors", 1.0, 0.0)[0]
    conds = nodes.PairConditioningSetProperties().set_properties(*lab.prompt(), 1.0, "default", hooks=hooks)
    results = lab.ksampler(lab.model, conds, lab.latent()), sampled(lab, stock(lab, "hooked.safetensors"))
    assert [rel(a, b) <= LIMIT for a, b in zip(*results, strict=True)] == [True, True]


def test_the_config_survives_clones_and_loras(lab: Lab) -> None:
    write_lora(lab.path, "config.safetensors", VIDEO)
    for model in (lab.model.clone(), stock(lab, "config.safetensors"), ours(lab, "config.safetensors")):
        assert model.model.unitalking == lab.config
