"""The path, its conversions, the schedule, and UniPC against closed forms; all in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unitalking import flow

SIGMAS = [1e-4, 0.1, 0.5, 0.9, 0.999]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair() -> tuple[Tensor, Tensor]:
    return draw(5, 3, 2, 4, seed=1), draw(5, 3, 2, 4, seed=2)


# ---- the path


def test_path_runs_from_data_to_noise() -> None:
    data, noise = pair()
    torch.testing.assert_close(flow.interpolate(data, noise, torch.zeros(5)), data)
    torch.testing.assert_close(flow.interpolate(data, noise, torch.ones(5)), noise)


def test_velocity_is_the_derivative_of_the_path() -> None:
    data, noise = pair()
    _, derivative = torch.autograd.functional.jvp(
        lambda sigma: flow.interpolate(data, noise, sigma),
        torch.full((5,), 0.3, dtype=torch.float64),
        torch.ones(5, dtype=torch.float64),
    )
    torch.testing.assert_close(flow.velocity(data, noise), derivative)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_data_noise_and_velocity_are_recovered_from_the_noisy_latent(sigma: float) -> None:
    data, noise = pair()
    level = torch.tensor(sigma, dtype=torch.float64)
    x, velocity = flow.interpolate(data, noise, level), flow.velocity(data, noise)
    torch.testing.assert_close(flow.denoised_from_velocity(x, velocity, level), data)
    torch.testing.assert_close(flow.noise_from_velocity(x, velocity, level), noise)
    torch.testing.assert_close(flow.velocity_from_denoised(x, data, level), velocity, rtol=1e-9, atol=1e-9)


def test_each_sample_has_its_own_sigma() -> None:
    data, noise = pair()
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)
    velocity = flow.velocity(data, noise)
    x = flow.interpolate(data, noise, sigma)
    for index, level in enumerate(sigma):
        one = slice(index, index + 1)
        assert torch.equal(x[one], flow.interpolate(data[one], noise[one], level))
        for convert in (flow.denoised_from_velocity, flow.noise_from_velocity, flow.velocity_from_denoised):
            assert torch.equal(convert(x, velocity, sigma)[one], convert(x[one], velocity[one], level))


def test_sigma_of_every_token_broadcasts() -> None:
    data, noise = pair()
    sigma = torch.rand(5, 1, 2, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = data + sigma * (noise - data)
    torch.testing.assert_close(flow.interpolate(data, noise, sigma), expected)


# ---- the schedule


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0, 5.0, 8.0])
def test_unshift_is_the_inverse_of_shift(shift: float) -> None:
    sigma = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(flow.unshift_sigma(flow.shift_sigma(sigma, shift), shift), sigma)
    torch.testing.assert_close(flow.shift_sigma(flow.unshift_sigma(sigma, shift), shift), sigma)


@pytest.mark.parametrize("shift", [0.5, 3.0, 5.0])
def test_shift_multiplies_the_odds_of_noise(shift: float) -> None:
    sigma = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    shifted = flow.shift_sigma(sigma, shift)
    torch.testing.assert_close(shifted / (1 - shifted), shift * sigma / (1 - sigma))


def test_slope_of_the_shift_is_that_of_autograd() -> None:
    sigma = torch.linspace(0, 1, 11, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(flow.shift_sigma(sigma, 5.0).sum(), sigma)
    torch.testing.assert_close(slope, 5.0 / (1 + 4.0 * sigma.detach()) ** 2)


def test_shift_of_one_changes_nothing() -> None:
    sigma = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert torch.equal(flow.shift_sigma(sigma, 1.0), sigma)


def test_wan_sigmas_and_timesteps_are_the_published_ones() -> None:
    sigmas = flow.wan_sigmas(50, 5.0)
    assert sigmas.dtype == torch.float32
    assert sigmas.shape == (51,)
    known = [0.9998, 0.9957, 0.9915, 0.9872, 0.2417, 0.1723, 0.0925, 0.0]
    assert [round(value, 4) for value in [*sigmas[:4].tolist(), *sigmas[-4:].tolist()]] == known
    timesteps = flow.truncated_timestep(sigmas[:-1])
    assert timesteps.dtype == torch.int64
    assert timesteps[:6].tolist() == [999, 995, 991, 987, 982, 978]
    assert timesteps[-4:].tolist() == [302, 241, 172, 92]


def test_timesteps_are_truncated_but_whole_ones_survive_float32() -> None:
    whole = torch.arange(1, 1000)
    for fraction in (0.0, 0.1, 0.5, 0.999):
        sigma = ((whole + fraction) / 1000).float()
        assert torch.equal(flow.truncated_timestep(sigma), whole), fraction


@pytest.mark.parametrize("steps", [1, 2, 4, 30])
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_wan_sigmas_fall_from_below_one_to_zero(steps: int, shift: float) -> None:
    sigmas = flow.wan_sigmas(steps, shift)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == pytest.approx(shift * 0.999 / (1 + (shift - 1) * 0.999))
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


@pytest.mark.parametrize(("steps", "shift"), [(0, 5.0), (-1, 5.0), (4, 0.0), (4, -2.0), (4, math.nan)])
def test_a_schedule_without_steps_or_shift_is_refused(steps: int, shift: float) -> None:
    with pytest.raises(ValueError, match=r"steps|shift"):
        flow.wan_sigmas(steps, shift)


# ---- UniPC on a linear ODE: data is normal with mean MEAN and deviation SPREAD, so everything has a closed form

MEAN = torch.tensor([0.7, -1.3, 0.2], dtype=torch.float64)
SPREAD = torch.tensor([0.5, 0.2, 1.5], dtype=torch.float64)


def deviation(sigma: Tensor) -> Tensor:
    return ((1 - sigma) ** 2 * SPREAD**2 + sigma**2).sqrt()


def denoise_exactly(x: Tensor, sigma: Tensor) -> Tensor:
    """The expected data given x, at sigma."""
    return MEAN + SPREAD**2 * (1 - sigma) / deviation(sigma) ** 2 * (x - (1 - sigma) * MEAN)


def flow_exactly(x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Where the ODE carries x from sigma `start` to sigma `end`."""
    return (1 - end) * MEAN + deviation(end) / deviation(start) * (x - (1 - start) * MEAN)


def unipc_error(sigmas: Tensor) -> float:
    latent = torch.tensor([[1.0, 0.3, -2.0]], dtype=torch.float64)
    result = flow.sample_unipc(lambda x, step: denoise_exactly(x, sigmas[step]), latent, sigmas)
    return float((result - flow_exactly(latent, sigmas[0], sigmas[-1])).abs().max())


def even_in_log_snr(steps: int) -> Tensor:
    return torch.sigmoid(-torch.linspace(-5, 2.5, steps + 1, dtype=torch.float64))


def even_in_sigma(steps: int) -> Tensor:
    return torch.linspace(0.98, 0.05, steps + 1, dtype=torch.float64)


@pytest.mark.parametrize("schedule", [even_in_log_snr, even_in_sigma])
def test_unipc_converges_to_the_closed_form_with_order_two(schedule: Callable[[int], Tensor]) -> None:
    errors = [unipc_error(schedule(steps)) for steps in (10, 40, 160)]
    assert errors[0] / errors[1] > 14, "four times the steps, a sixteenth of the error"
    assert errors[1] / errors[2] > 12
    assert errors[2] < 1e-4


def test_the_corrector_gains_an_order() -> None:
    coarse, fine = unipc_error(even_in_log_snr(80)), unipc_error(even_in_log_snr(160))
    assert coarse / fine > 7, "twice the steps, an eighth of the error; without the corrector a quarter"


def test_unipc_is_exact_where_the_denoised_latent_is_constant() -> None:
    target, latent = draw(2, 3, seed=4), draw(2, 3, seed=5)
    sigmas = torch.tensor([0.999, 0.8, 0.55, 0.2, 0.1], dtype=torch.float64)
    noise = (latent - (1 - sigmas[0]) * target) / sigmas[0]
    result = flow.sample_unipc(lambda x, step: target, latent, sigmas)
    torch.testing.assert_close(result, flow.interpolate(target, noise, sigmas[-1]))


def test_unipc_ends_at_the_last_denoised_latent() -> None:
    sigmas = flow.wan_sigmas(6, 5.0)
    seen = []

    def denoise(x: Tensor, step: int) -> Tensor:
        seen.append(denoise_exactly(x, sigmas[step].double()))
        return seen[-1]

    result = flow.sample_unipc(denoise, draw(1, 3, seed=6), sigmas)
    assert torch.equal(result, seen[-1])


def test_unipc_calls_the_network_once_a_step_before_the_corrector() -> None:
    sigmas = even_in_sigma(5)
    calls, reports = [], []

    def denoise(x: Tensor, step: int) -> Tensor:
        calls.append((step, x))
        return denoise_exactly(x, sigmas[step])

    flow.sample_unipc(
        denoise, draw(1, 3, seed=7), sigmas, lambda step, denoised, latent: reports.append((step, denoised, latent))
    )
    assert [step for step, _ in calls] == [step for step, *_ in reports] == list(range(5))
    for (step, entered), (_, denoised, latent) in zip(calls, reports, strict=True):
        assert torch.equal(denoised, denoise_exactly(entered, sigmas[step])), "not computed again after the corrector"
        assert torch.equal(entered, latent) == (step == 0), "the corrector acts from the second step on"


def test_unipc_starts_from_pure_noise() -> None:
    sigmas = torch.tensor([1.0, 0.7, 0.3, 0.0], dtype=torch.float64)
    result = flow.sample_unipc(lambda x, step: denoise_exactly(x, sigmas[step]), draw(1, 3, seed=8), sigmas)
    assert result.isfinite().all()


def plain_unipc(denoise: Callable[[float, int], float], x: float, sigma: list[float]) -> float:
    """One number through UniPC of order 2, written out from its equations."""
    lam = [math.log((1 - s) / s) if s else math.inf for s in sigma]
    steps, corrected, found = len(sigma) - 1, [], []
    for i in range(steps):
        m = denoise(x, i)
        if i == 1:
            f = math.expm1(lam[0] - lam[1])
            x = sigma[1] / sigma[0] * corrected[0] - (1 - sigma[1]) * f * (found[0] + 0.5 * (m - found[0]))
        elif i > 1:
            h = lam[i] - lam[i - 1]
            f, r = math.expm1(-h), (lam[i - 2] - lam[i - 1]) / h
            k1 = f / -h - 1
            b1, b2 = k1 / f, 2 * (k1 / -h - 0.5) / f
            q1 = (b1 - b2) / (1 - r)
            change = q1 * (found[i - 2] - found[i - 1]) / r + (b1 - q1) * (m - found[i - 1])
            x = sigma[i] / sigma[i - 1] * corrected[i - 1] - (1 - sigma[i]) * f * (found[i - 1] + change)
        corrected.append(x)
        found.append(m)
        if sigma[i + 1] == 0:
            return m
        h = lam[i + 1] - lam[i]
        slope = 0.0
        if i >= 1 and i < steps - 1:
            slope = 0.5 * (found[i - 1] - m) / ((lam[i - 1] - lam[i]) / h)
        x = sigma[i + 1] / sigma[i] * x - (1 - sigma[i + 1]) * math.expm1(-h) * (m + slope)
    return x


@pytest.mark.parametrize("sigmas", [[0.999, 0.9, 0.6, 0.35, 0.2, 0.05], [0.9998, 0.97, 0.8, 0.4, 0.0], [0.9, 0.0]])
def test_unipc_equals_its_equations_written_out(sigmas: list[float]) -> None:
    def denoise(x: Tensor, step: int) -> Tensor:
        return x * math.cos(step) + 0.3 * step**2 - 0.1 * x**2

    expected = plain_unipc(denoise, 0.8, sigmas)
    result = flow.sample_unipc(
        denoise, torch.tensor([0.8], dtype=torch.float64), torch.tensor(sigmas, dtype=torch.float64)
    )
    assert float(result) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 8.0])
def test_schedule_and_timesteps_are_the_reference_s_to_the_bit(shift: float) -> None:
    # Wan2.2's scheduler as it computes: float64 from a float32 0.999, truncated before it is rounded to float32.
    for steps in (4, 20, 30, 50, 98, 100):
        base = torch.linspace(torch.tensor(0.999).item(), 0, steps + 1, dtype=torch.float64)[:-1]
        shifted = shift * base / (1 + (shift - 1) * base)
        sigmas = flow.wan_sigmas(steps, shift)
        torch.testing.assert_close(sigmas[:-1], shifted.float(), rtol=1e-7, atol=0)
        assert torch.equal(flow.truncated_timestep(sigmas[:-1]), (shifted * 1000).to(torch.int64))
