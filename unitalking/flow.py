"""Flow matching on the straight path, the sigma schedule, and the UniPC solver for it.

    x_sigma = (1 - sigma) * data + sigma * noise        sigma = 1 is pure noise
    velocity = noise - data
    denoised = x_sigma - sigma * velocity

The paper writes t = 1 - sigma with velocity data - noise: the same path walked the other way. The network takes
1000 * sigma; that factor is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TIMESTEPS = 1000
FLOAT32_ROUNDING = 3e-5  # of 1000 * sigma


def per_sample(sigma: Tensor, like: Tensor) -> Tensor:
    """sigma (B,) or () with trailing axes of length 1, so that it broadcasts over `like` (B, ...)."""
    return sigma.reshape(sigma.shape + (1,) * (like.ndim - sigma.ndim)) if sigma.ndim else sigma


def interpolate(data: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The noisy latent at sigma: (1 - sigma) * data + sigma * noise.

    Args:
        data: clean latent, (B, ...), normalised.
        noise: standard normal, shape of `data`.
        sigma: noise level in [0, 1], (), (B,) or any shape that broadcasts against `data`.

    Source: UniTalking Sec. 3 (conditional flow matching), with t = 1 - sigma.
    """
    sigma = per_sample(sigma, data)
    return (1 - sigma) * data + sigma * noise


def velocity(data: Tensor, noise: Tensor) -> Tensor:
    """What the network is trained to predict: noise - data, (B, ...)."""
    return noise - data


def denoised_from_velocity(x: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """x - sigma * velocity, (B, ...)."""
    return x - per_sample(sigma, x) * velocity


def noise_from_velocity(x: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """x + (1 - sigma) * velocity, (B, ...)."""
    return x + (1 - per_sample(sigma, x)) * velocity


def velocity_from_denoised(x: Tensor, denoised: Tensor, sigma: Tensor) -> Tensor:
    """(x - denoised) / sigma, (B, ...); sigma must be above 0."""
    return (x - denoised) / per_sample(sigma, x)


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """shift * sigma / (1 + (shift - 1) * sigma): more of the schedule at high noise for shift > 1."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def unshift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """The sigma that `shift_sigma` maps to `sigma`."""
    return sigma / (shift - (shift - 1) * sigma)


def wan_sigmas(steps: int, shift: float) -> Tensor:
    """The UniPC schedule of Wan2.2: linspace(0.999, 0, steps + 1), shifted, ending in 0.

    Returns:
        float32 (steps + 1,), descending.

    Raises:
        ValueError: fewer than one step, or a shift that is not above 0.

    Source: Wan2.2's FlowUniPC scheduler (reference.md A1).
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, expected at least 1.")
    if not shift > 0:
        raise ValueError(f"sigma shift: got {shift}, expected a number above 0.")
    highest = torch.tensor(1 - 1 / TIMESTEPS).item()  # 0.999 as float32 has it, like the reference
    base = torch.linspace(highest, 0, steps + 1, dtype=torch.float64)[:-1]
    return torch.cat([shift_sigma(base, shift), base.new_zeros(1)]).float()


def truncated_timestep(sigma: Tensor) -> Tensor:
    """The integer timestep at which Wan2.2's UniPC calls the network: trunc(1000 * sigma), int64, shape of sigma.

    The reference truncates in float64 what reaches us as float32; an integer that the rounding has pushed just below
    itself is taken as that integer.
    """
    return (sigma.double() * TIMESTEPS + FLOAT32_ROUNDING).to(torch.int64)


@dataclass(frozen=True)
class _History:
    """What the next step needs of the last ones: corrected latents and denoised predictions."""

    latent: Tensor
    denoised: tuple[Tensor, ...]  # newest first
    order: int


def sample_unipc(
    denoise: Callable[[Tensor, int], Tensor],
    latent: Tensor,
    sigmas: Tensor,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """UniPC of order 2 ("bh2", predicting the denoised latent) on the straight path.

    Args:
        denoise: (latent (B, ...), step index) -> denoised latent (B, ...). It is called once a step, with the latent
            before the corrector, and its result is not recomputed after it.
        latent: noise or noised latent at sigmas[0], (B, ...).
        sigmas: (n + 1,), descending from at most 1, the last 0 or above.
        callback: (step index, denoised, latent) after each network call.

    Returns:
        The latent at the last sigma; the last denoised prediction where that is 0.

    Source: Wan2.2's FlowUniPC scheduler (reference.md A1), from its equations.
    """
    sigma = sigmas.double().tolist()
    log_snr = [_log_snr(value) for value in sigma]
    history: _History | None = None
    steps = len(sigma) - 1
    for step in range(steps):
        denoised = denoise(latent, step)
        if history is not None:
            latent = _correct(history, denoised, sigma, log_snr, step)
        if callback is not None:
            callback(step, denoised, latent)
        order = min(2, steps - step, step + 1)
        previous = () if history is None else history.denoised[:1]
        history = _History(latent, (denoised, *previous), order)
        latent = _predict(history, sigma, log_snr, step)
    return latent


def _log_snr(sigma: float) -> float:
    return float("inf") if sigma == 0 else float(torch.logit(torch.tensor(1 - sigma, dtype=torch.float64)))


def _predict(history: _History, sigma: list[float], log_snr: list[float], step: int) -> Tensor:
    newest = history.denoised[0]
    if sigma[step + 1] == 0:
        return newest
    h = log_snr[step + 1] - log_snr[step]
    growth = _expm1(-h)
    latent = (sigma[step + 1] / sigma[step]) * history.latent - (1 - sigma[step + 1]) * growth * newest
    if history.order == 2:
        ratio = (log_snr[step - 1] - log_snr[step]) / h
        slope = (history.denoised[1] - newest) / ratio
        latent = latent - (1 - sigma[step + 1]) * growth * 0.5 * slope
    return latent


def _correct(history: _History, newest: Tensor, sigma: list[float], log_snr: list[float], step: int) -> Tensor:
    last = history.denoised[0]
    h = log_snr[step] - log_snr[step - 1]
    growth = _expm1(-h)
    base = (sigma[step] / sigma[step - 1]) * history.latent - (1 - sigma[step]) * growth * last
    if history.order == 1:
        return base - (1 - sigma[step]) * growth * 0.5 * (newest - last)
    ratio = (log_snr[step - 2] - log_snr[step - 1]) / h
    phi_1 = growth / -h - 1
    phi_2 = phi_1 / -h - 0.5
    b_1, b_2 = phi_1 / growth, 2 * phi_2 / growth
    older_weight = (b_1 - b_2) / (1 - ratio)
    newest_weight = b_1 - older_weight
    change = older_weight * (history.denoised[1] - last) / ratio + newest_weight * (newest - last)
    return base - (1 - sigma[step]) * growth * change


def _expm1(value: float) -> float:
    return float(torch.expm1(torch.tensor(value, dtype=torch.float64)))
