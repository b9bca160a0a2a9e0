"""Joint Flow Sampler: noise, guidance, solver and schedule in one node, with what it will cost said beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy.nested_tensor import NestedTensor
from comfy_api.latest import io
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from torch import Tensor

from ..unitalking.config import UniTalkingConfig
from ..unitalking.guidance import Guidance, needed_passes
from .checks import check_finite
from .constants import CATEGORY, VOICE_KEY
from .cost import Cost, estimate_cost
from .given_picture import AUTO, RECOMPUTE, keep_picture_input
from .guider import (
    guidance_inputs,
    interval_inputs,
    joint_guider,
    lips_input,
    model_guidance,
    skipped_block_input,
    skipped_block_of,
)
from .inputs import check_latent_shapes
from .messages import config_of, say
from .sampling import FLOW_UNIPC, WAN_SCHEDULER, AVNoise, flow_sigmas, flow_unipc, seed_input

# Steps of a preset, as a share of the model's own.
PRESETS = {"draft": 0.4, "standard": 1.0, "best": 1.6}


class JointSampler(io.ComfyNode):
    """Generates picture and sound together."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingJointSampler",
            display_name="Joint Flow Sampler",
            category=CATEGORY,
            description="Generates picture and sound together. Stock samplers work as well; this one has a guidance "
            "of its own for each, noise that keeps the take, and the solver the models were published with.",
            search_aliases=["ksampler", "sampler", "generate"],
            inputs=[
                io.Model.Input("model", tooltip="A UniTalking model."),
                io.Conditioning.Input("positive", tooltip="What to make, from Text Prompt."),
                io.Conditioning.Input("negative", tooltip="What to keep away from, from Text Prompt."),
                io.Latent.Input("latent", tooltip="The clip to fill, from Empty AV Latent or Portrait Image."),
                seed_input(),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="standard",
                    tooltip="How many steps: draft is 0.4, best 1.6 times the model's own number (50 for the full "
                    "model).",
                ),
                io.Int.Input("steps", default=0, min=0, max=1000, tooltip="Sampling steps. 0: as the preset says."),
                *guidance_inputs(),
                io.Float.Input(
                    "sigma_shift",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="More of the steps at high noise for larger values. 0: as the MODEL is set (5 for the full "
                    "model, or what ModelSamplingSD3 says).",
                    advanced=True,
                ),
                io.Combo.Input(
                    "sampler",
                    options=[FLOW_UNIPC, *comfy.samplers.SAMPLER_NAMES],
                    default=FLOW_UNIPC,
                    tooltip="Solver. flow_unipc is the one Wan2.2 and Ovi were published with; the host's uni_pc is "
                    "another solver.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "scheduler",
                    options=[WAN_SCHEDULER, *comfy.samplers.SCHEDULER_NAMES],
                    default=WAN_SCHEDULER,
                    tooltip="Where the steps lie. wan belongs to flow_unipc; simple is a good choice for euler.",
                    advanced=True,
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 makes a new clip; less keeps more of the clip that comes in.",
                    advanced=True,
                ),
                skipped_block_input(),
                io.Noise.Input(
                    "noise",
                    optional=True,
                    tooltip="Noise of your own (Joint Noise, RandomNoise); the seed is then unused.",
                ),
                *interval_inputs(),
                keep_picture_input(),
                lips_input(),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The finished clip, picture and sound in one; wire it into Decode AV.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: list,
        negative: list,
        latent: dict[str, Any],
        seed: int,
        preset: str,
        steps: int,
        guidance_video: float,
        guidance_audio: float,
        guidance_voice: float,
        sigma_shift: float,
        sampler: str,
        scheduler: str,
        denoise: float,
        skipped_block: int = 0,
        noise: Any = None,
        guidance_from: float = 1.0,
        guidance_to: float = 0.0,
        keep_picture: str = AUTO,
        guidance_lips: float = 0.0,
    ) -> io.NodeOutput:
        """Samples, with a report before the first step and after the last."""
        config = config_of(model, "Joint Flow Sampler")
        _check_latent(latent, config)
        model = shifted(model, sigma_shift)
        interval = guidance_from, guidance_to
        guidance = model_guidance(config, guidance_video, guidance_audio, guidance_voice, *interval, lips=guidance_lips)
        sigmas = make_sigmas(model, scheduler, sampler, steps or preset_steps(config, preset), denoise)
        skipped = skipped_block_of(config, skipped_block)
        guider = joint_guider(model, positive, negative, guidance, skipped, keep_picture)
        passes, kept = _passes(guidance, positive, sigmas), keep_picture != RECOMPUTE
        cost = estimate_cost(model, latent, passes, len(sigmas) - 1, keeps_picture=kept, guidance_lips=guidance.lips)
        say(cls, cost.text())
        noise = AVNoise(seed) if noise is None else noise
        solver = flow_unipc() if sampler == FLOW_UNIPC else comfy.samplers.sampler_object(sampler)
        samples = sample(guider, noise, solver, sigmas, latent, _reporter(cls, cost))
        check_finite(samples, "the latents after sampling", model)
        out = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio")}
        return io.NodeOutput({**out, "samples": samples})


def preset_steps(config: UniTalkingConfig, preset: str) -> int:
    """Steps of a preset for this model, at least 1."""
    return max(1, round(config.sampling.steps * PRESETS[preset]))


def shifted(model: Any, shift: float) -> Any:
    """The model with another sigma shift on a clone; 0 leaves whatever the MODEL is set to."""
    return ModelSamplingSD3().patch(model, shift)[0] if shift else model


def make_sigmas(model: Any, scheduler: str, sampler: str, steps: int, denoise: float) -> Tensor:
    """Schedule of `steps` steps, for `denoise` below 1 the last part of a longer one, as the host's KSampler has it."""
    total = steps if denoise >= 1 else int(steps / max(denoise, 1e-4))
    if denoise <= 0:
        return torch.zeros(0)
    if scheduler == WAN_SCHEDULER:
        sigmas = flow_sigmas(model, total, 0.0)
    elif sampler in comfy.samplers.KSampler.DISCARD_PENULTIMATE_SIGMA_SAMPLERS:
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, total + 1)
        sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
    else:
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, total)
    return sigmas[-(steps + 1) :]


def sample(
    guider: Any,
    noise: Any,
    solver: Any,
    sigmas: Tensor,
    latent: dict[str, Any],
    report: Callable[[int, int], None],
) -> Any:
    """Samples as SamplerCustomAdvanced does, then puts held tokens back exactly as they came."""
    samples = latent["samples"]
    if not len(sigmas):
        return samples
    preview = latent_preview.prepare_callback(guider.model_patcher, len(sigmas) - 1)

    def callback(step: int, denoised: Any, now: Any, total: int) -> None:
        preview(step, denoised, now, total)
        report(step, total)

    result = guider.sample(
        noise.generate_noise(latent),
        samples,
        solver,
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=noise.seed,
    )
    result = result.to(comfy.model_management.intermediate_device())
    return put_back_held(result, samples, latent.get("noise_mask"))


def put_back_held(result: Any, given: Any, mask: Any) -> Any:
    """`result` with every token whose mask is 0 replaced by the given one, bit for bit.

    Normalising and restoring latents moves held ones by up to 5e-7 in stock nodes.
    """
    if mask is None:
        return result
    if not getattr(result, "is_nested", False):
        return torch.where(_broadcast(mask, result) == 0, given.to(result), result)
    masks = mask.unbind() if getattr(mask, "is_nested", False) else [mask]
    streams = list(result.unbind())
    for index, (part, stream) in enumerate(zip(masks, given.unbind(), strict=False)):
        streams[index] = torch.where(_broadcast(part, streams[index]) == 0, stream.to(streams[index]), streams[index])
    return NestedTensor(streams)


def _broadcast(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of the latent's own resolution on its device; a mask of another shape holds nothing exactly."""
    mask = mask.to(like.device)
    fits = mask.ndim == like.ndim and all(a in (1, b) for a, b in zip(mask.shape, like.shape, strict=True))
    return mask if fits else like.new_ones(())


def _check_latent(latent: dict[str, Any], config: UniTalkingConfig) -> None:
    samples = latent["samples"]
    parts = samples.unbind() if getattr(samples, "is_nested", False) else [samples]
    check_latent_shapes([tuple(part.shape) for part in parts], config)


def _passes(guidance: Guidance, positive: list, sigmas: Tensor) -> float:
    """Network passes per step, on average over the schedule."""
    has_voice = any(VOICE_KEY in more for _, more in positive)

    def passes(now: Guidance) -> int:
        return len(needed_passes(now, ("video", "audio"), has_voice=has_voice and now.voice is not None))

    counts = [passes(guidance.at(sigma)) for sigma in sigmas[:-1].tolist()]
    return sum(counts) / len(counts) if counts else passes(guidance)


def _reporter(node: type[io.ComfyNode], cost: Cost) -> Callable[[int, int], None]:
    """After the first step: how long the rest takes."""
    started = time.monotonic()
    measured: list[float] = []

    def report(step: int, total: int) -> None:
        measured.append(time.monotonic())
        done = step + 1
        pace = (measured[-1] - (measured[0] if done > 1 else started)) / max(done - 1, 1)
        if done in (1, 2) or done == total or done % 5 == 0:
            left = f"{pace * (total - done):.0f} s left" if done < total else "done"
            say(node, f"{cost.text()}\nstep {done} of {total}, {pace:.2g} s per step, {left}")

    return report
