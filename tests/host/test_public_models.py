"""Ovi and Wan2.2 in the real host: files, skip-layer guidance, lengths, prompts, and its published loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab, differ, normal, rel
from public_files import (
    OVI,
    OVI_LAYOUTS,
    WAN,
    cast_float8,
    network,
    ovi_published,
    scaled_float8,
    stream_of,
    wan_native,
)
from safetensors.torch import save_file
from torch import Tensor

SAME = 1e-5


@pytest.fixture(scope="module")
def ovi(loaded_lab: Lab) -> Any:
    """A small `cross` model of three blocks that skips its block 1 in the negative pass."""
    config = loaded_lab.make_config(fusion="cross", audio_stem="conv", reference_tokens=0, num_layers=3)
    config = replace(config, sampling=replace(config.sampling, skipped_block=1))
    return loaded_lab.load(loaded_lab.write("cross.safetensors", config))


def without_block(model: Any, index: int) -> Any:
    """A clone whose block does nothing in any pass."""
    clone = model.clone()
    clone.set_model_patch_replace(lambda given, more: {"img": given["img"]}, "dit", "double_block", index)
    return clone


def save(lab: Lab, name: str, tensors: dict[str, Tensor]) -> Path:
    path = lab.folder / name
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return path


# ---- skip-layer guidance


@pytest.mark.parametrize("batch", [1, 2])
def test_the_negative_pass_leaves_the_models_block_out(lab: Lab, ovi: Any, batch: int) -> None:
    positive, negative = lab.prompt(voice=False)
    latent = lab.held(lab.latent(batch_size=batch))
    sigmas, noise = lab.sigmas(ovi, steps=1), lab.random_noise()

    def once(model: Any, conds: Sequence[list], strength: float, skipped: int) -> list[Tensor]:
        guider = lab.pack("nodes.guider").JointGuider.execute(model, *conds, strength, strength, 0.0, skipped).args[0]
        return lab.advanced(noise, guider, "euler", sigmas, latent)

    # Of one step from one noise, results are as linear in the passes as guidance is.
    wanted = once(ovi, (positive, negative), 1.0, -1)
    unwanted = once(without_block(ovi, 1), (negative, negative), 1.0, -1)
    guided = once(ovi, (positive, negative), 2.5, 0)
    for found, one, other in zip(guided, wanted, unwanted, strict=True):
        assert rel(found, other + 2.5 * (one - other)) < SAME
    stock = lab.ksampler(ovi, (positive, negative), latent, cfg=2.5, steps=1)
    assert [rel(a, b) < SAME for a, b in zip(stock, guided, strict=True)] == [True, True], "stock samplers as well"
    assert differ(guided, once(ovi, (positive, negative), 2.5, -1)) == [True, True], "-1 is none"
    assert differ(guided, once(ovi, (positive, negative), 2.5, 2)) == [True, True], "another block"


def test_the_positive_pass_runs_every_block(lab: Lab, ovi: Any) -> None:
    conds = lab.prompt(voice=False)
    alone = [
        lab.joint(ovi, conds, lab.latent(), guidance_video=1.0, guidance_audio=1.0, skipped_block=n) for n in (0, -1)
    ]
    assert [torch.equal(a, b) for a, b in zip(*alone, strict=True)] == [True, True]


def test_a_block_that_is_not_there_is_refused(lab: Lab, ovi: Any) -> None:
    with pytest.raises(ValueError, match="skipped_block: got 3, this model has blocks 1 to 2"):
        lab.joint(ovi, lab.prompt(voice=False), lab.latent(), skipped_block=3)


def test_unitalkings_own_negative_runs_every_block(lab: Lab) -> None:
    conds = lab.prompt(voice=False)
    results = [lab.joint(lab.model, conds, lab.latent(), skipped_block=number) for number in (0, -1)]
    assert [torch.equal(a, b) for a, b in zip(*results, strict=True)] == [True, True]


# ---- files


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return network(OVI)


def velocities(lab: Lab, model: Any) -> list[Tensor]:
    """The network's result on known inputs."""
    diffusion = model.model.diffusion_model
    latents = [normal(1, 48, 2, 4, 4, seed=1), normal(1, 20, 11, seed=2)]
    context = normal(1, 6, OVI.text_dim, seed=3)
    conditions = {"audio_context": context, "held": None}
    dtype = model.model.get_dtype_inference()
    given = [part.to(dtype) for part in latents]
    out = diffusion(
        given, torch.tensor([700.0]), context.to(dtype), None, {}, **{**conditions, "audio_context": context.to(dtype)}
    )
    return [part.float() for part in out]


@pytest.mark.parametrize("layout", OVI_LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_every_layout_gives_the_same_velocities(
    lab: Lab, tensors: dict[str, Tensor], layout: str, dtype: torch.dtype
) -> None:
    expected = velocities(lab, lab.load(save(lab, "first.safetensors", ovi_published(tensors))))
    given = OVI_LAYOUTS[layout]({name: value.to(dtype) for name, value in tensors.items()})
    found = velocities(lab, lab.load(save(lab, "second.safetensors", given)))
    # Tensors of a mapped file lie where its header ends, and the order of a sum depends on that.
    assert [rel(a, b) < SAME for a, b in zip(found, expected, strict=True)] == [True, True]


def test_two_files_are_one_model(lab: Lab, tensors: dict[str, Tensor]) -> None:
    expected = velocities(lab, lab.load(save(lab, "first.safetensors", ovi_published(tensors))))
    paths = [str(save(lab, f"{stream}.safetensors", stream_of(tensors, stream))) for stream in ("video", "audio")]
    load = lab.pack("nodes.loading").load_model
    for first, second in (paths, paths[::-1]):
        found = velocities(lab, load(first, {"dtype": torch.float32}, second))
        assert [torch.equal(a, b) for a, b in zip(found, expected, strict=True)] == [True, True]


@pytest.mark.parametrize("form", ["cast", ".scale_weight", ".weight_scale"])
def test_float8_files_keep_their_matrices_narrow_and_stay_near(lab: Lab, tensors: dict[str, Tensor], form: str) -> None:
    published = ovi_published(tensors)
    given = cast_float8(published) if form == "cast" else scaled_float8(published, form)
    model = lab.pack("nodes.loading").load_model(str(save(lab, "narrow.safetensors", given)), {})
    weights = model.model.diffusion_model.state_dict()
    assert weights["video.blocks.0.cross_attn.k_fusion.weight"].dtype == torch.float8_e4m3fn
    for name in ("video.blocks.0.modulation.weight", "audio.patch_embedding.2.w1.weight"):
        assert weights[name].dtype != torch.float8_e4m3fn, name
    for name in ("norm_k_fusion.weight", "pre_attn_norm_fusion.bias"):
        assert weights[f"audio.blocks.1.cross_attn.{name}"].dtype != torch.float8_e4m3fn, name
    exact = velocities(lab, lab.load(save(lab, "exact.safetensors", published)))
    assert [rel(a, b) < 0.1 for a, b in zip(velocities(lab, model), exact, strict=True)] == [True, True]


# ---- lengths and prompts


def test_a_clip_has_one_of_the_models_lengths(lab: Lab, tensors: dict[str, Tensor]) -> None:
    latents = lab.pack("nodes.latents")
    for name, size in {
        "model.safetensors": (121, 31, 157),
        "model_960x960_10s.safetensors": (241, 61, 314),
    }.items():
        config = lab.load(save(lab, name, ovi_published(tensors))).model.unitalking
        snapped, notes = latents.snap_size(config, 96, 64, 50)
        assert snapped == (96, 64, size[0])
        assert notes == (f"50 frames rounded to {size[0]}: this model makes clips of {size[0]}",)
        video, audio = latents.empty_latent(config, *snapped)["samples"].unbind()
        assert (video.shape[2], audio.shape[2]) == size[1:]


def test_text_prompt_writes_and_checks_the_models_tags(lab: Lab, ovi: Any) -> None:
    node = lab.pack("nodes.conditioning").TextPrompt
    fields = {"negative_picture": "", "negative_sound": "", "prompt_style": "auto"}
    styled = ovi.clone()
    config = replace(styled.model.unitalking, prompt_style="ovi_1.1", lengths=((121, 157),))
    try:
        old, styled.model.unitalking = styled.model.unitalking, config
        out = node.execute(styled, lab.clip, "", scene="A man <S>Hi.<E> <AUDCAP>rain<ENDAUDCAP>", sound="", **fields)
        assert out.args[2:] == ("A man <S>Hi.<E> Audio: rain", 121)
        shown = node.execute(styled, lab.clip, "", scene="A man", sound="", **fields).ui.as_dict()["text"][0]
    finally:
        styled.model.unitalking = old
    assert "no speech is marked" in shown
    assert "no sound is described" in shown


# ---- Wan2.2


def test_numbered_files_are_one_model(lab: Lab) -> None:
    tensors = wan_native(network(WAN))
    whole = lab.load(save(lab, "whole.safetensors", tensors))
    names = sorted(tensors)
    parts = [{name: tensors[name] for name in names[number::3]} for number in range(3)]
    paths = [save(lab, f"part-{number:05d}-of-00003.safetensors", part) for number, part in enumerate(parts, 1)]
    for path in paths:
        found, expected = (each.model.diffusion_model.state_dict() for each in (lab.load(path), whole))
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"of which part-00002-of-00003\.safetensors are not beside it"):
        lab.load(paths[0])


def test_a_model_without_sound_makes_picture_latents_alone(lab: Lab) -> None:
    model = lab.load(save(lab, "silent.safetensors", wan_native(network(WAN))))
    empty = lab.pack("nodes.latents").EmptyLatent.execute
    for streams in ("both", "picture"):
        (video,) = lab.streams(empty(model, 64, 64, 9, 1, streams).args)
        assert video.shape == (1, 48, 3, 4, 4)
    with pytest.raises(ValueError, match="this model has no sound stream: set streams to picture"):
        empty(model, 64, 64, 9, 1, "sound")
    with pytest.raises(ValueError, match="picture latents of 48 channels and no sound"):
        lab.joint(model, lab.prompt(voice=False), {"samples": lab.nested((video, torch.zeros(1, 20, 5)))})
