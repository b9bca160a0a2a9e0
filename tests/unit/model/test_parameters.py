"""Names, shapes and numbers of weights: Wan2.2's inside each stream, and every one of them in use."""

from __future__ import annotations

import pytest
import torch
from builders import given, run, tiny_config, tiny_model
from torch import nn

from unitalking.checkpoint.keys import to_file_keys, to_module_keys
from unitalking.config import UniTalkingConfig
from unitalking.model.transformer import UniTalking

Shapes = dict[str, tuple[int, ...]]


def full_shapes(**changes: int) -> Shapes:
    model = UniTalking(UniTalkingConfig(**changes), device="meta")
    return {name: tuple(value.shape) for name, value in to_file_keys(model.state_dict()).items()}


def linear(name: str, width: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (width, inputs), f"{name}.bias": (width,)}


def wan_stream(prefix: str, stem: tuple[int, ...], head: int) -> Shapes:
    """The tensors of a public Wan2.2-TI2V-5B file."""
    d, ffn = 3072, 14336
    shapes: Shapes = {f"{prefix}.patch_embedding.weight": (d, *stem), f"{prefix}.patch_embedding.bias": (d,)}
    for name, inputs in (("text_embedding", 4096), ("time_embedding", 256)):
        shapes |= linear(f"{prefix}.{name}.0", d, inputs) | linear(f"{prefix}.{name}.2", d, d)
    shapes |= linear(f"{prefix}.time_projection.1", 6 * d, d)
    for block in (f"{prefix}.blocks.{index}" for index in range(30)):
        shapes[f"{block}.modulation"] = (1, 6, d)
        for attention in ("self_attn", "cross_attn"):
            for name in "qkvo":
                shapes |= linear(f"{block}.{attention}.{name}", d, d)
            shapes |= {f"{block}.{attention}.norm_{name}.weight": (d,) for name in "qk"}
        shapes |= {f"{block}.norm3.weight": (d,), f"{block}.norm3.bias": (d,)}
        shapes |= linear(f"{block}.ffn.0", ffn, d) | linear(f"{block}.ffn.2", d, ffn)
    return shapes | {f"{prefix}.head.modulation": (1, 2, d)} | linear(f"{prefix}.head.head", head, d)


def test_video_weights_have_wans_825_names_and_shapes() -> None:
    video = {name: shape for name, shape in full_shapes().items() if name.startswith("video.")}
    assert video == wan_stream("video", (48, 1, 2, 2), 192)
    assert len(video) == 825


def test_audio_weights_are_the_twins_plus_the_references() -> None:
    audio = {name: shape for name, shape in full_shapes().items() if name.startswith("audio.")}
    expected = wan_stream("audio", (40,), 40)
    for index in range(30):
        cross = f"audio.blocks.{index}.cross_attn"
        expected |= linear(f"{cross}.k_reference", 3072, 3072) | linear(f"{cross}.v_reference", 3072, 3072)
        expected[f"{cross}.norm_k_reference.weight"] = (3072,)
    assert audio == expected


def test_there_is_nothing_but_the_two_streams() -> None:
    assert {name.split(".")[0] for name in full_shapes()} == {"video", "audio"}


@pytest.mark.parametrize(("reference_tokens", "count"), [(257, 10_565_148_904), (0, 9_998_641_384)])
def test_the_full_model_has_as_many_parameters_as_the_paper_says(reference_tokens: int, count: int) -> None:
    model = UniTalking(UniTalkingConfig(reference_tokens=reference_tokens), device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert sum(parameter.numel() for parameter in model.video.parameters()) == 4_999_787_712


def test_there_are_no_buffers() -> None:
    assert not list(tiny_model().buffers())


def test_file_and_module_names_are_inverse() -> None:
    inside = tiny_model(tiny_config(extra_positions=(2, 2))).state_dict()
    in_file = to_file_keys(inside)
    assert len(in_file) == len(inside)
    assert list(to_module_keys(in_file)) == list(inside)
    assert list(to_module_keys(inside)) == list(inside), "module names stay as they are"
    assert [name for name in inside if name not in in_file] == [
        name for name in inside if name.endswith(".modulation.weight")
    ]


def test_every_parameter_gets_a_gradient() -> None:
    config = tiny_config(extra_positions=(2, 2), reference_streams=("video", "audio"))
    model = tiny_model(config).requires_grad_()
    video, audio = run(model, given(voice=True))
    (video.square().sum() + audio.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-8, name


def test_every_parameter_changes_the_output() -> None:
    model, inputs = tiny_model(), given(voice=True)
    before = torch.cat([velocity.flatten() for velocity in run(model, inputs)])
    for name, parameter in model.named_parameters():
        kept = parameter.clone()
        parameter.mul_(1.5)
        after = torch.cat([velocity.flatten() for velocity in run(model, inputs)])
        parameter.copy_(kept)
        assert (after - before).norm() > 1e-6 * before.norm(), name


# ---- kinds that a numerical test hardly sees: eps 1e-5 for 1e-6 changes the output by 2e-6, erf for tanh by 8e-5


def test_every_norm_has_wans_eps() -> None:
    norms = [module for module in tiny_model().modules() if isinstance(module, nn.LayerNorm | nn.RMSNorm)]
    assert len(norms) == 2 * (2 * (3 + 4) + 1) + 2, (
        "per stream: two blocks of 3 + 4 norms, the head; two reference norms"
    )
    assert {module.eps for module in norms} == {1e-6}
    changed = tiny_model(tiny_config(eps=1e-3))
    assert {module.eps for module in changed.modules() if hasattr(module, "eps")} == {1e-3}


def test_only_norm3_has_weights_among_layer_norms() -> None:
    layer_norms = {name: module for name, module in tiny_model().named_modules() if isinstance(module, nn.LayerNorm)}
    with_weights = {name for name, module in layer_norms.items() if module.elementwise_affine}
    assert with_weights == {name for name in layer_norms if name.endswith(".norm3")}


def test_every_gelu_is_the_tanh_one() -> None:
    gelus = [module for module in tiny_model().modules() if isinstance(module, nn.GELU)]
    assert len(gelus) == 2 * (1 + 2), "per stream: the text's and one in each block"
    assert {module.approximate for module in gelus} == {"tanh"}


def test_query_and_key_norms_span_the_full_width() -> None:
    norms = [module for module in tiny_model().modules() if isinstance(module, nn.RMSNorm)]
    assert {module.normalized_shape for module in norms} == {(44,)}
