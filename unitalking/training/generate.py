"""Sampling without a host: what sample clips during training are made with. B clips.

UniPC on Wan's schedule with classifier-free guidance, through the objective's own `predict`; users have the nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..flow import denoised_from_velocity, sample_unipc, wan_sigmas
from ..guidance import Guidance, combine, needed_passes, pass_weights
from .flow_batches import FlowBatch, StreamBatch, TextBatch
from .flow_objective import FlowObjective

STREAMS = ("video", "audio")


def generate(
    objective: FlowObjective, batch: FlowBatch, empty: TextBatch, guidance: Guidance, steps: int, shift: float
) -> tuple[Tensor | None, Tensor | None]:
    """Latents of a batch, normalised: what it holds is kept, the rest is generated from its noise.

    Args:
        objective: with the weights to use.
        batch: conditions, held latents (factor 0) and noise; its sigma is not used.
        empty: the empty prompt for every clip.
        guidance: strengths; the voice is linked to the text.
        steps: of the solver.
        shift: of the schedule.
    """
    streams = {name: stream for name, stream in zip(STREAMS, (batch.video, batch.audio), strict=True) if stream}
    has_voice = batch.reference is not None
    sigmas = wan_sigmas(steps, shift).to(next(iter(streams.values())).data.device)
    generated = {name: stream.per_latent((stream.factor != 0).float()) for name, stream in streams.items()}

    def denoise(packed: Tensor, step: int) -> Tensor:
        now = _unpack(packed, streams)
        sigma = sigmas[step].expand(packed.shape[0])
        passes = {
            name: _velocities(objective, _conditioned(batch, name, empty), now, sigma)
            for name in needed_passes(guidance, tuple(streams), has_voice=has_voice)
        }
        found = {}
        for name, latent in now.items():
            weights = pass_weights(guidance, name, has_voice=has_voice)
            guided = combine({key: value[name] for key, value in passes.items()}, weights)
            found[name] = torch.where(generated[name] > 0, denoised_from_velocity(latent, guided, sigma), latent)
        return _pack(found)

    begin = {name: torch.where(generated[name] > 0, stream.noise, stream.data) for name, stream in streams.items()}
    result = _unpack(sample_unipc(denoise, _pack(begin), sigmas), streams)
    kept = {name: torch.where(generated[name] > 0, result[name], stream.data) for name, stream in streams.items()}
    return kept.get("video"), kept.get("audio")


def _conditioned(batch: FlowBatch, name: str, empty: TextBatch) -> FlowBatch:
    """The batch with the conditions of one pass of guidance."""
    present = batch.voice_present
    if present is not None and name != "text_voice":
        present = torch.zeros_like(present)
    return batch._replace(text=empty if name == "none" else batch.text, voice_present=present)


def _velocities(objective: FlowObjective, batch: FlowBatch, now: dict[str, Tensor], sigma: Tensor) -> dict[str, Tensor]:
    """Velocities at `sigma` of latents that are noisy already: as data and noise they stay what they are."""
    streams = {
        name: getattr(batch, name)._replace(data=latent, noise=latent, sigma=sigma) for name, latent in now.items()
    }
    found = objective.predict(batch._replace(**streams))
    return {name: value.float() for name, value in zip(STREAMS, found, strict=True) if value is not None}


def _pack(streams: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten(1) for value in streams.values()], dim=1)


def _unpack(packed: Tensor, like: dict[str, StreamBatch]) -> dict[str, Tensor]:
    sizes = [stream.data[0].numel() for stream in like.values()]
    parts = packed.split(sizes, dim=1)
    return {name: part.reshape(stream.data.shape) for (name, stream), part in zip(like.items(), parts, strict=True)}
