"""Precision: float64 all the way, bfloat16 close to float32."""

from __future__ import annotations

import pytest
import torch
from builders import Given, given, hold, rel_l2, run, stream_inputs, tiny_config, tiny_model
from torch import Tensor, nn


def task() -> Given:
    inputs = given(voice=True)
    return inputs.but(video_timestep=hold(inputs.video_timestep, 1), voice_present=torch.tensor([1.0, 0.0]).double())


def test_float64_stays_float64_throughout() -> None:
    model = tiny_model(tiny_config(extra_positions=(2, 2)))
    seen: dict[str, torch.dtype] = {}

    def remember(name: str, result: object) -> None:
        if isinstance(result, Tensor):
            seen[name] = result.dtype

    for name, module in model.named_modules():
        module.register_forward_hook(lambda _module, _given, result, name=name: remember(name, result))
    for part in stream_inputs(model, task()):
        assert part.rope.cos.dtype == part.rope.sin.dtype == torch.float64
    velocities = run(model, task())
    assert {velocity.dtype for velocity in velocities} == {torch.float64}
    assert len(seen) > 100
    assert not {name: dtype for name, dtype in seen.items() if dtype != torch.float64}


def rounded_model(dtype: torch.dtype) -> nn.Module:
    """The same weights, which bfloat16 holds exactly, in any dtype."""
    wide, model = tiny_model(), tiny_model(dtype=dtype)
    with torch.no_grad():
        for parameter, exact in zip(model.parameters(), wide.parameters(), strict=True):
            parameter.copy_(exact.bfloat16())
    return model


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=["fp32", "bf16"])
def test_lower_precision_stays_close_to_float64(dtype: torch.dtype, limit: float) -> None:
    inputs = task().to(torch.bfloat16)
    exact = run(rounded_model(torch.float64), inputs.to(torch.float64))
    for velocity, expected in zip(run(rounded_model(dtype), inputs.to(dtype)), exact, strict=True):
        assert velocity.dtype == dtype
        assert rel_l2(velocity, expected) < limit


def test_the_noise_level_is_not_rounded_to_the_models_dtype() -> None:
    """Levels 995 and 997 are one number in bfloat16, 996, yet must not be one for the model."""
    model, inputs = rounded_model(torch.bfloat16), given().to(torch.bfloat16)
    level = [inputs.but(audio_timestep=torch.full((2, 11), value), video_timestep=None) for value in (995.0, 997.0)]
    first, second = (run(model, each)[1] for each in level)
    assert rel_l2(first, second) > 1e-2
