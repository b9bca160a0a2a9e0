"""Model files that cannot be used: each refused by name with what to do, and the server goes on as if nothing were."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from graphs import Clip, Graph, assert_refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import TINY_MODEL
from torch import Tensor

from unitalking.checkpoint.random_model import TINY, random_tensors
from unitalking.mapping import to_mapping

if TYPE_CHECKING:
    from comfyui import ComfyUI

AUDIO_WEIGHT = "audio.blocks.1.ffn.0.weight"
VOCODER_WEIGHT = "audio_vae.vocoder.conv_pre.weight"

Tensors = dict[str, Tensor]
Change = Callable[[Tensors], Tensors]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    """Everything in the tiny random model."""
    return load_file(TINY_MODEL)


@pytest.fixture(scope="module")
def metadata() -> dict[str, str]:
    """Its metadata."""
    with safe_open(TINY_MODEL, "pt") as file:
        return file.metadata()


@pytest.fixture
def folder(host: ComfyUI) -> Iterator[Path]:
    """The server's folder of diffusion models, emptied afterwards: other tests look at a fresh install."""
    folder = host.base_directory / "models" / "diffusion_models"
    yield folder
    for path in folder.iterdir():
        path.unlink()


def finished(host: ComfyUI, **loader: str) -> Clip:
    """A whole graph with a model file of that name."""
    clip = Clip(host, loader=loader)
    clip.finish(clip.joint()[0])
    return clip


def assert_not_loaded(host: ComfyUI, path: Path, match: str) -> None:
    """Load UniTalking Model refuses the file by its name, and leaves it where it is."""
    size = path.stat().st_size
    error = assert_refused(finished(host, model=path.name), "UniTalkingModelLoader", match)
    assert path.name in error.message
    assert "\n" not in error.message
    assert path.stat().st_size == size


BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "text": (lambda data: b"<html>Not Found</html>\n" * 9, "is damaged or its download was cut off: fetch it again"),
    "nothing": (lambda data: b"", "is damaged or its download was cut off: fetch it again"),
    "truncated": (lambda data: data[: len(data) // 3], "is damaged or its download was cut off: fetch it again"),
    "truncated header": (lambda data: data[:999], "is damaged or its download was cut off: fetch it again"),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_safetensors(host: ComfyUI, folder: Path, name: str) -> None:
    change, match = BYTES[name]
    path = folder / "broken.safetensors"
    path.write_bytes(change(TINY_MODEL.read_bytes()))
    assert_not_loaded(host, path, match)


class Code:
    """What a pickled file can hold: a call of any function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "model.pth", "model.bin", "model.safetensors"])
def test_pickled_code_is_not_run(host: ComfyUI, folder: Path, tmp_path: Path, name: str) -> None:
    sign, path = tmp_path / "was run", folder / name
    torch.save({"video.blocks.0.weight": torch.zeros(1), "code": Code(sign)}, path)
    assert_not_loaded(host, path, "cannot be read as a model file.*pickled code is not run|is damaged")
    assert not sign.exists()


def test_plain_pickle_is_not_run(host: ComfyUI, folder: Path, tmp_path: Path) -> None:
    sign, path = tmp_path / "was run", folder / "plain.ckpt"
    path.write_bytes(pickle.dumps(Code(sign)))
    assert_not_loaded(host, path, "cannot be read as a model file")
    assert not sign.exists()


def foreign(*names: str) -> Change:
    return lambda tensors: {name: torch.zeros(2, 2) for name in names}


def wan(tensors: Tensors) -> Tensors:
    """The video stream alone under Wan2.2's names."""
    return {name.removeprefix("video."): value for name, value in tensors.items() if name.startswith("video.")}


FOREIGN: dict[str, tuple[Change, str]] = {
    "stable diffusion": (
        foreign(
            "model.diffusion_model.input_blocks.0.0.weight",
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
            "first_stage_model.decoder.conv_in.weight",
        ),
        "is a Stable Diffusion checkpoint, not a UniTalking model. Choose a UniTalking model file",
    ),
    "text encoder": (foreign("encoder.block.0.layer.0.SelfAttention.q.weight"), "is a text encoder, not"),
    "lora": (
        foreign(
            "diffusion_model.video.blocks.0.ffn.0.lora_A.weight", "diffusion_model.audio.blocks.0.ffn.0.lora_B.weight"
        ),
        "is a LoRA .use Load LoRA for UniTalking., not",
    ),
    "wan of another size": (wan, "is a Wan video model of 24 latent channels, of which this pack knows Wan2.2-TI2V-5B"),
    "half of ovi": (
        lambda tensors: {**wan(tensors), "blocks.0.cross_attn.k_fusion.weight": torch.zeros(2, 2)},
        "is Ovi's video stream alone: choose its audio stream at second_file as well",
    ),
    "flux": (foreign("double_blocks.0.img_attn.qkv.weight"), "is another diffusion model, not a UniTalking model"),
    "ltx": (foreign("transformer_blocks.0.attn1.to_q.weight"), "is another diffusion model, not a UniTalking model"),
    "picture codec": (foreign("decoder.upsamples.0.upsamples.0.residual.2.weight"), "is a Wan video VAE, not"),
    "video stream": (
        lambda tensors: {name: value for name, value in tensors.items() if name.startswith("video.")},
        "has a video stream but no audio stream, so it cannot make sound. Choose a UniTalking model file",
    ),
    "unknown": (foreign("a.b.c"), r"is an unknown kind of file \(its first tensor is a.b.c\)"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_model_of_another_kind(host: ComfyUI, folder: Path, tensors: Tensors, name: str) -> None:
    change, match = FOREIGN[name]
    path = folder / "foreign.safetensors"
    save_file(change(tensors), path)
    assert_not_loaded(host, path, match)


DAMAGED: dict[str, tuple[Change, str]] = {
    "missing": (
        lambda tensors: {name: value for name, value in tensors.items() if name != AUDIO_WEIGHT},
        f"1 missing: {AUDIO_WEIGHT}. The file is incomplete",
    ),
    "mis-shaped": (
        lambda tensors: {**tensors, AUDIO_WEIGHT: torch.zeros(3, 3)},
        rf"1 of another shape: {AUDIO_WEIGHT} \(\(3, 3\) instead of \(256, 96\)\)",
    ),
    "unexpected": (lambda tensors: {**tensors, "video.more": torch.zeros(1)}, "1 unexpected: video.more"),
    "codec": (
        lambda tensors: {name: value for name, value in tensors.items() if name != VOCODER_WEIGHT},
        r"\(audio codec\).*1 missing: vocoder.conv_pre.weight",
    ),
    "statistics": (
        lambda tensors: {**tensors, "latents.video.std": torch.full((24,), float("nan"))},
        "latents.video.std: holds NaN or Inf; the file is damaged",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_model(host: ComfyUI, folder: Path, tensors: Tensors, metadata: dict[str, str], name: str) -> None:
    change, match = DAMAGED[name]
    path = folder / "damaged.safetensors"
    save_file(change(tensors), path, metadata)
    assert_not_loaded(host, path, match)


def test_a_model_of_a_later_version(host: ComfyUI, folder: Path, tensors: Tensors) -> None:
    path = folder / "later.safetensors"
    save_file(tensors, path, {"unitalking": json.dumps({**to_mapping(TINY), "format_version": 2})})
    assert_not_loaded(host, path, "format_version: got 2, this version of the pack reads 1; update the pack")


def without_parts(tensors: Tensors, *parts: str) -> Tensors:
    return {name: value for name, value in tensors.items() if name.split(".")[0] not in parts}


def test_a_missing_text_encoder_and_codec_are_named(
    host: ComfyUI, folder: Path, tensors: Tensors, metadata: dict[str, str]
) -> None:
    path = folder / "network.safetensors"
    save_file(without_parts(tensors, "text_encoder", "video_vae", "audio_vae"), path, metadata)
    assert_not_loaded(host, path, "carries no text encoder .choose .*, and no picture codec .*, and no sound codec")
    save_file(without_parts(tensors, "text_encoder"), path, metadata)
    assert_not_loaded(
        host, path, "carries no text encoder .choose UMT5-xxl at text_encoder.*complete file, choose that"
    )


def test_parts_of_another_model_are_refused(host: ComfyUI, folder: Path, metadata: dict[str, str]) -> None:
    codec = {**TINY.audio_codec, "latent_channels": 6}
    changes = {"video_vae": {**TINY.video_vae, "latent_channels": 8}, "audio_codec": codec}
    other = replace(TINY, in_dim=8, out_dim=8, audio_channels=6, **changes)
    path = folder / "other.safetensors"
    save_file({entry.name: value for entry, value in random_tensors(other, 0)}, path)
    graph = finished(host, model=path.name, video_vae=TINY_MODEL.name)
    assert_refused(
        graph, "UniTalkingModelLoader", "tiny_random.* is not the picture codec of this model: it needs .* 8 ch"
    )
    graph = finished(host, model=path.name, audio_codec=TINY_MODEL.name)
    assert_refused(graph, "UniTalkingModelLoader", "tiny_random.* is the sound codec of another model")


def test_a_weight_with_nan_is_named(host: ComfyUI, folder: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    for name, node, said in (
        (
            AUDIO_WEIGHT,
            "UniTalkingJointSampler",
            f"latents after sampling are NaN.*Its weight {AUDIO_WEIGHT} holds NaN",
        ),
        (
            VOCODER_WEIGHT,
            "UniTalkingDecode",
            "the decoded sound are NaN or Inf.*Its weight .*vocoder.conv_pre.weight hold",
        ),
    ):
        weight = tensors[name].clone()
        weight.view(-1)[0] = float("nan")
        path = folder / f"{name}.safetensors"
        save_file({**tensors, name: weight}, path, metadata)
        assert_refused(finished(host, model=path.name), node, f"{said}.*: the file is damaged, fetch it again")


def test_nan_from_a_stock_sampler_is_not_saved(
    host: ComfyUI, folder: Path, tensors: Tensors, metadata: dict[str, str]
) -> None:
    path = folder / "nan.safetensors"
    save_file({**tensors, AUDIO_WEIGHT: torch.full_like(tensors[AUDIO_WEIGHT], float("nan"))}, path, metadata)
    clip = Clip(host, loader={"model": path.name})
    clip.finish(clip.ksampler()[0])
    assert_refused(clip, "UniTalkingDecode", "the picture's latents are NaN or Inf.*sample with Joint Flow Sampler")


def test_a_lora_of_another_model_changes_nothing_and_says_so(host: ComfyUI) -> None:
    path = host.base_directory / "models" / "loras" / "foreign.safetensors"
    save_file({f"lora_te_layer.{name}.weight": torch.zeros(2, 2) for name in ("lora_up", "lora_down")}, path)
    try:
        clip = Clip(host)
        lora = clip.add("UniTalkingLoraLoader", model=clip.model[0], lora_name=path.name)
        clip.finish(clip.joint(model=lora[0])[0])
        assert_refused(clip, "UniTalkingLoraLoader", "foreign.safetensors changes nothing .*none of its 2 tensors")
    finally:
        path.unlink()


def test_a_stock_model_is_refused_by_every_node_that_takes_a_model(host: ComfyUI, folder: Path) -> None:
    sizes = {"dim": 128, "num_heads": 1, "num_layers": 1, "ffn_dim": 64, "freq_dim": 256, "text_dim": 4096}
    config = replace(TINY, **sizes, in_dim=16, out_dim=16)
    names = {entry.name: value for entry, value in random_tensors(config, 0)}
    save_file(wan(names), folder / "wan.safetensors")
    lora = host.base_directory / "models" / "loras" / "any.safetensors"
    save_file({"a.lora_up.weight": torch.zeros(2, 2)}, lora)
    try:
        for node, display in (
            ("UniTalkingLoraLoader", "Load LoRA for UniTalking"),
            ("UniTalkingTextPrompt", "Text Prompt"),
            ("UniTalkingEmptyLatent", "Empty AV Latent"),
            ("UniTalkingSigmas", "Flow Sigmas"),
            ("UniTalkingJointGuider", "Joint Guider"),
            ("UniTalkingJointSampler", "Joint Flow Sampler"),
        ):
            refused = with_model(host, node)
            assert_refused(refused, node, f"{display}: the MODEL is not a UniTalking model .WAN21.: wire one from Load")
    finally:
        lora.unlink()


def with_model(host: ComfyUI, node: str) -> Graph:
    """A graph in which one node gets a stock model."""
    clip = Clip(host)
    stock = clip.add("UNETLoader", unet_name="wan.safetensors")[0]
    placed = {"UniTalkingTextPrompt": clip.text, "UniTalkingEmptyLatent": clip.empty}
    if node == "UniTalkingJointSampler":
        placed[node] = clip.joint()
    elif node not in placed:
        texts = {"positive": clip.text[0], "negative": clip.text[1]} if node == "UniTalkingJointGuider" else {}
        lora = {"lora_name": "any.safetensors"} if node == "UniTalkingLoraLoader" else {}
        placed[node] = clip.add(node, **texts, **lora)
    clip.prompt[placed[node].id]["inputs"]["model"] = stock
    clip.add("PreviewAny", source=placed[node][0])
    return clip
