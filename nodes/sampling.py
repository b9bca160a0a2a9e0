"""Joint Noise, Flow UniPC and Flow Sigmas: the parts of sampling, for SamplerCustomAdvanced and for our own node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import torch
from comfy.nested_tensor import NestedTensor
from comfy_api.latest import io
from torch import Tensor

from ..unitalking import flow
from .constants import CATEGORY
from .messages import config_of

# Keeps the sound's generator apart from the picture's at every seed (the golden ratio in 64 bits).
AUDIO_SEED = 0x9E3779B97F4A7C15
# Schedules that start this high start from pure noise, as Wan2.2's does.
PURE_NOISE_SIGMA = 0.999
FLOW_UNIPC, WAN_SCHEDULER = "flow_unipc", "wan"


class AVNoise:
    """Noise whose sound depends on the seed and the clip's length alone, not on the picture's size."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def generate_noise(self, latent: dict[str, Any]) -> Any:
        """Standard normal noise of the shapes of a LATENT, float32 on the CPU; each clip of a batch has its own."""
        samples = latent["samples"]
        if not getattr(samples, "is_nested", False):
            return self._noise(samples.shape, self.seed)
        seeds = (self.seed, self.seed ^ AUDIO_SEED)
        streams = zip(samples.unbind(), seeds, strict=True)
        return NestedTensor(tuple(self._noise(part.shape, seed) for part, seed in streams))

    def _noise(self, shape: torch.Size, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        # Clip by clip: the last numbers of a draw depend on its length, and clip 0 of a batch is the single clip.
        return torch.stack([torch.randn(shape[1:], generator=generator) for _ in range(shape[0])])


@torch.no_grad()
def sample_flow_unipc(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
) -> Tensor:
    """Wan2.2's UniPC as a sampler of the host.

    The network is called at trunc(1000 sigma) / 1000 while the solver continues with sigma itself; a schedule that
    starts at the top starts from the noise alone, unscaled. Both are the reference's.

    Args:
        model: denoiser of the host, (x, sigma (B,)) -> denoised.
        x: noised latent, (B, ...).
        sigmas: (n + 1,), descending.
        extra_args: passed to the model; `denoise_mask` says what is held.
        callback: the host's, for progress and previews.
        disable: unused; the host's progress bar comes through the callback.
    """
    extra_args = extra_args or {}
    ones = x.new_ones(x.shape[0])
    called = (flow.truncated_timestep(sigmas) / flow.TIMESTEPS).to(sigmas)
    called = torch.where(called > 0, called, sigmas)
    mask = extra_args.get("denoise_mask")
    noise = getattr(model, "noise", None)
    if noise is not None and float(sigmas[0]) >= PURE_NOISE_SIGMA:
        x = noise.to(x)

    def denoise(latent: Tensor, step: int) -> Tensor:
        denoised = model(latent, called[step] * ones, **extra_args)
        at_sigma = latent + (denoised - latent) * (sigmas[step] / called[step])
        return at_sigma if mask is None else at_sigma * mask + denoised * (1 - mask)

    def report(step: int, denoised: Tensor, latent: Tensor) -> None:
        if callback is not None:
            values = {"i": step, "x": latent, "denoised": denoised}
            callback({**values, "sigma": sigmas[step], "sigma_hat": sigmas[step]})

    return flow.sample_unipc(denoise, x, sigmas, report)


def flow_unipc() -> comfy.samplers.KSAMPLER:
    """The SAMPLER."""
    return comfy.samplers.KSAMPLER(sample_flow_unipc)


def flow_sigmas(model: Any, steps: int, shift: float) -> Tensor:
    """Wan2.2's schedule, (steps + 1,); 0 stands for the model's steps, and for the shift the MODEL is set to."""
    config = config_of(model, "Flow Sigmas")
    shift = shift or model.get_model_object("model_sampling").shift
    return flow.wan_sigmas(steps or config.sampling.steps, shift)


class JointNoise(io.ComfyNode):
    """Seed -> NOISE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingNoise",
            display_name="Joint Noise",
            category=CATEGORY,
            description="Noise for SamplerCustomAdvanced whose sound does not change with the picture's size.",
            search_aliases=["noise", "seed"],
            inputs=[seed_input()],
            outputs=[
                io.Noise.Output(
                    display_name="noise",
                    tooltip="The noise of this seed; wire it into SamplerCustomAdvanced, or into noise of Joint Flow "
                    "Sampler.",
                )
            ],
        )

    @classmethod
    def execute(cls, seed: int) -> io.NodeOutput:
        """Wraps the seed."""
        return io.NodeOutput(AVNoise(seed))


def seed_input() -> io.Input:
    """The seed widget, the same in every node that has it."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        control_after_generate=True,
        tooltip="The same seed with the same settings gives the same clip. Another size keeps the take of the sound.",
    )


class FlowUniPC(io.ComfyNode):
    """Wan2.2's solver as SAMPLER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingFlowUniPC",
            display_name="Flow UniPC",
            category=CATEGORY,
            description="The solver that Wan2.2 and Ovi were published with. The host's uni_pc is another one.",
            search_aliases=["unipc", "uni_pc", "sampler"],
            inputs=[],
            outputs=[
                io.Sampler.Output(display_name="sampler", tooltip="The solver; wire it into SamplerCustomAdvanced.")
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Makes the sampler."""
        return io.NodeOutput(flow_unipc())


class FlowSigmas(io.ComfyNode):
    """Wan2.2's schedule as SIGMAS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="UniTalkingSigmas",
            display_name="Flow Sigmas",
            category=CATEGORY,
            description="The schedule of Wan2.2's UniPC: linear from 0.999 to 0, shifted.",
            search_aliases=["scheduler", "sigmas", "shift"],
            inputs=[
                io.Model.Input("model", tooltip="A UniTalking model; gives the defaults."),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Sampling steps. 0: the model's own (50 for the full model).",
                ),
                io.Float.Input(
                    "shift",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Sigma shift: more of the steps at high noise. 0: as the MODEL is set (5 for the full "
                    "model, or what ModelSamplingSD3 says).",
                ),
            ],
            outputs=[
                io.Sigmas.Output(
                    display_name="sigmas",
                    tooltip="The noise level before every step and after the last; wire it into SamplerCustomAdvanced.",
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, steps: int, shift: float) -> io.NodeOutput:
        """Computes the schedule."""
        return io.NodeOutput(flow_sigmas(model, steps, shift))
