"""Stock samplers and ours give the same clip from the same numbers, bit for bit where the design says so."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from lab import STEPS, Lab, differ, equal, normal
from torch import Tensor

PORTRAIT = pytest.mark.parametrize("portrait", [False, True], ids=["text", "portrait"])
STOCK = [
    ("euler", "simple"),
    ("euler_ancestral", "normal"),
    ("uni_pc", "simple"),
    ("dpmpp_2m", "sgm_uniform"),
    ("dpmpp_2m_sde", "karras"),
    ("res_multistep", "beta"),
    ("ddim", "ddim_uniform"),
    ("lcm", "linear_quadratic"),
    ("heun", "kl_optimal"),
]


def clip_of(lab: Lab, *, portrait: bool, **size: Any) -> dict[str, Any]:
    latent = lab.latent(**size)
    return lab.held(latent) if portrait else latent


@PORTRAIT
@pytest.mark.parametrize("strengths", [(2.5, 2.5, 0.0), (2.5, 2.5, 2.5), (1.0, 1.0, 0.0)], ids=str)
def test_ksampler_equals_the_joint_guider_at_equal_strengths(
    lab: Lab, strengths: tuple[float, ...], *, portrait: bool
) -> None:
    conds, latent = lab.prompt(), clip_of(lab, portrait=portrait)
    guider = lab.guider(lab.model, conds, *strengths)
    ours = lab.advanced(lab.random_noise(), guider, "euler", lab.sigmas(lab.model), latent)
    assert equal(ours, lab.ksampler(lab.model, conds, latent, cfg=strengths[0]))


def test_a_linked_voice_takes_each_streams_own_strength(lab: Lab) -> None:
    conds, latent, sigmas = lab.prompt(), lab.latent(), lab.sigmas(lab.model)
    unlike = lab.guider(lab.model, conds, 2.5, 2.0, 0.0)
    default = lab.guider(lab.model, conds, 0.0, 0.0, 0.0)
    results = [lab.advanced(lab.random_noise(), guider, "euler", sigmas, latent) for guider in (unlike, default)]
    assert equal(*results), "0 is the model's own strength"
    assert differ(results[0], lab.ksampler(lab.model, conds, latent, cfg=2.5)) == [True, True]


@PORTRAIT
@pytest.mark.parametrize("strengths", [(0.0, 0.0, 0.0), (3.0, 2.0, 1.5)], ids=str)
def test_joint_flow_sampler_equals_its_parts(lab: Lab, strengths: tuple[float, ...], *, portrait: bool) -> None:
    conds, latent = lab.prompt(), clip_of(lab, portrait=portrait)
    guider = lab.guider(lab.model, conds, *strengths)
    parts = lab.advanced(lab.joint_noise(), guider, lab.flow_unipc(), lab.flow_sigmas(lab.model), latent)
    names = ("guidance_video", "guidance_audio", "guidance_voice")
    ours = lab.joint(lab.model, conds, latent, **dict(zip(names, strengths, strict=True)))
    if portrait:
        held = latent["samples"].unbind()[0][:, :, :1]
        assert torch.allclose(parts[0][:, :, :1], held, atol=1e-6), "stock nodes move held tokens by rounding alone"
        parts[0][:, :, :1] = held
    assert equal(ours, parts)


def test_joint_flow_sampler_with_stock_settings_equals_its_parts(lab: Lab) -> None:
    conds, latent = lab.prompt(), lab.latent()
    guider = lab.guider(lab.model, conds, 2.5, 2.5, 0.0)
    parts = lab.advanced(lab.random_noise(), guider, "dpmpp_2m", lab.sigmas(lab.model, scheduler="beta"), latent)
    settings = {"guidance_audio": 2.5, "sampler": "dpmpp_2m", "scheduler": "beta", "noise": lab.random_noise()}
    assert equal(lab.joint(lab.model, conds, latent, **settings), parts)


@pytest.mark.parametrize("denoise", [0.3, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "dpm_2"])
def test_denoise_means_what_it_means_in_ksampler(lab: Lab, sampler: str, denoise: float) -> None:
    conds = lab.prompt()
    latent = {"samples": lab.nested((normal(1, 8, 3, 4, 4, seed=1), normal(1, 6, 12, seed=2)))}
    stock = lab.ksampler(lab.model, conds, latent, sampler_name=sampler, denoise=denoise)
    settings = {"guidance_audio": 2.5, "sampler": sampler, "scheduler": "simple", "noise": lab.random_noise()}
    assert equal(lab.joint(lab.model, conds, latent, denoise=denoise, **settings), stock)


def test_denoise_0_gives_the_clip_back(lab: Lab) -> None:
    latent = {"samples": lab.nested((normal(1, 8, 3, 4, 4, seed=1), normal(1, 6, 12, seed=2)))}
    assert equal(lab.joint(lab.model, lab.prompt(), latent, denoise=0.0), latent["samples"].unbind())


@PORTRAIT
@pytest.mark.parametrize(("sampler", "scheduler"), STOCK, ids=[name for name, _ in STOCK])
def test_stock_samplers_and_schedulers_run(lab: Lab, sampler: str, scheduler: str, *, portrait: bool) -> None:
    latent = clip_of(lab, portrait=portrait)
    out = lab.ksampler(lab.model, lab.prompt(), latent, sampler_name=sampler, scheduler=scheduler, steps=4)
    assert [part.shape for part in out] == [part.shape for part in latent["samples"].unbind()]
    assert all(bool(part.isfinite().all()) and float(part.std()) > 0.1 for part in out)


def test_the_denoised_output_is_the_result_at_the_last_step(lab: Lab) -> None:
    guider = lab.guider(lab.model, lab.prompt(), 2.5, 2.0, 0.0)
    arguments = (lab.random_noise(), guider, "euler", lab.sigmas(lab.model), lab.latent())
    result, denoised = lab.advanced(*arguments), lab.advanced(*arguments, output=1)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(result, denoised, strict=True))


def test_latents_of_ours_keep_what_they_say_of_themselves(lab: Lab) -> None:
    latent = {**lab.held(lab.latent()), "batch_index": [0]}
    out = lab.pack("nodes.sampler").JointSampler.execute(
        lab.model, *lab.prompt(), latent, 3, "draft", 0, 0.0, 0.0, 0.0, 0.0, "flow_unipc", "wan", 1.0
    )
    assert out.args[0]["unitalking"] == {"fps": 24, "frames": 9}
    assert out.args[0]["noise_mask"] is latent["noise_mask"]


# Noise


def test_the_sounds_noise_does_not_change_with_the_pictures_size(lab: Lab) -> None:
    small, large = (lab.joint_noise().generate_noise(lab.latent(width=width)).unbind() for width in (64, 128))
    assert torch.equal(small[1], large[1])
    stock = [lab.random_noise().generate_noise(lab.latent(width=width)).unbind()[1] for width in (64, 128)]
    assert not torch.equal(*stock), "the stock node is what it is compared with"


def test_picture_and_sound_get_unrelated_noise(lab: Lab) -> None:
    video, audio = (part.flatten() for part in lab.joint_noise().generate_noise(lab.latent()).unbind())
    assert not torch.equal(video[: audio.numel()], audio)
    assert float(torch.corrcoef(torch.stack([video[: audio.numel()], audio]))[0, 1].abs()) < 0.3
    assert float(video.mean().abs()) < 0.2
    assert float(video.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("portrait", [False, True], ids=["text", "portrait"])
def test_the_first_clip_of_a_batch_is_the_single_clip(lab: Lab, *, portrait: bool) -> None:
    conds = lab.prompt()
    single, batch = (lab.joint(lab.model, conds, clip_of(lab, portrait=portrait, batch_size=size)) for size in (1, 2))
    for one, two in zip(single, batch, strict=True):
        assert two.shape[0] == 2
        assert torch.allclose(one, two[:1], atol=1e-5)
        moving = slice(1, None) if one.ndim == 5 and portrait else slice(None)
        assert not torch.allclose(two[:1, :, moving], two[1:, :, moving], atol=0.1), "each clip has its own noise"


def test_a_seed_says_which_clip(lab: Lab) -> None:
    conds, latent = lab.prompt(), lab.latent()
    first, again, other = (lab.joint(lab.model, conds, latent, seed=seed) for seed in (3, 3, 4))
    assert equal(first, again)
    assert differ(first, other) == [True, True]


# Sigmas and shift


def shifted(lab: Lab, shift: float) -> Any:
    return importlib.import_module("comfy_extras.nodes_model_advanced").ModelSamplingSD3().patch(lab.model, shift)[0]


def test_flow_sigmas_default_to_the_models_steps_and_shift(lab: Lab) -> None:
    flow = lab.pack("unitalking.flow")
    assert torch.equal(lab.flow_sigmas(lab.model, steps=0), flow.wan_sigmas(4, 3.0))
    assert torch.equal(lab.flow_sigmas(lab.model, steps=7, shift=2.0), flow.wan_sigmas(7, 2.0))


def test_model_sampling_sd3_stays_in_charge_at_shift_0(lab: Lab) -> None:
    conds, latent, model = lab.prompt(), lab.latent(), shifted(lab, 6.0)
    assert torch.equal(lab.flow_sigmas(model), lab.pack("unitalking.flow").wan_sigmas(STEPS, 6.0))
    patched = lab.joint(model, conds, latent)
    assert equal(patched, lab.joint(lab.model, conds, latent, sigma_shift=6.0))
    assert differ(patched, lab.joint(lab.model, conds, latent)) == [True, True]
    stock = {"sampler": "euler", "scheduler": "simple"}
    assert equal(
        lab.joint(model, conds, latent, **stock), lab.joint(lab.model, conds, latent, sigma_shift=6.0, **stock)
    )


def test_the_shift_widget_patches_a_clone_alone(lab: Lab) -> None:
    lab.joint(lab.model, lab.prompt(), lab.latent(), sigma_shift=6.0)
    assert lab.model.get_model_object("model_sampling").shift == 3.0


@pytest.mark.parametrize(("preset", "steps"), [("draft", 2), ("standard", 4), ("best", 6)])
def test_presets_are_shares_of_the_models_steps(lab: Lab, preset: str, steps: int) -> None:
    model, calls = lab.watched(lab.model)
    lab.joint(model, lab.prompt(), lab.latent(), preset=preset, steps=0)
    assert len(calls) == steps


def test_previews_and_progress_come_once_a_step(lab: Lab) -> None:
    steps: list[tuple[int, Tensor]] = []
    guider = lab.guider(lab.model, lab.prompt(), 0.0, 0.0, 0.0)
    guider.sample(
        lab.joint_noise().generate_noise(lab.latent()),
        lab.latent()["samples"],
        lab.flow_unipc(),
        lab.flow_sigmas(lab.model),
        callback=lambda step, denoised, now, total: steps.append((step, denoised)),
        disable_pbar=True,
        seed=3,
    )
    assert [step for step, _ in steps] == list(range(STEPS))
    assert all(denoised.is_nested for _, denoised in steps)
