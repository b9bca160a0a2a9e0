"""Flow UniPC through the host's whole machinery (patcher, guider, KSAMPLER), with a velocity that is known."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab, normal, rel
from safetensors import safe_open
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


class Given:
    """NOISE that is given."""

    seed = 0

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        return self.noise


class Toy:
    """A model whose network is replaced by `velocity(latent, timestep)`, and what it was called with."""

    def __init__(self, lab: Lab, channels: int, velocity: Velocity) -> None:
        config = lab.make_config(in_dim=channels, out_dim=channels, audio_channels=channels)
        self.lab, self.latents, self.timesteps = lab, [], []
        loaded = lab.load(lab.write(f"toy{channels}.safetensors", config))

        def replace(executor: Any, latents: list[Tensor], timestep: Tensor, *_: Any) -> Tensor:
            self.latents.append(latents[0].clone())
            self.timesteps.append(float(timestep))
            return velocity(latents[0], timestep)

        self.model = lab.wrapped(loaded, replace)

    def sample(self, noise: Tensor, sigmas: Tensor) -> Tensor:
        """The result in the network's space, of a plain video latent; `latents` has the input of every step."""
        empty = {"samples": torch.zeros_like(noise)}
        guider = self.lab.guider(self.model, (self.lab.text("a"), self.lab.text("")), 1.0, 1.0, 0.0)
        (out,) = self.lab.advanced(Given(noise), guider, self.lab.flow_unipc(), sigmas, empty)
        return self.model.model.latent_format.process_in(out)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["schedule"])
def test_flow_unipc_in_the_host_reproduces_the_golden_trajectories(lab: Lab, name: str) -> None:
    folder = os.environ.get("UNITALKING_GOLDEN", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("UNITALKING_GOLDEN is not set, or no folder")
    with safe_open(Path(folder) / f"{name}.safetensors", framework="pt") as file:
        metadata, data = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    offset = data["traj.c"]
    shift = json.loads(metadata["shifts"])[0]
    for steps in json.loads(metadata["steps"]):
        toy = Toy(lab, offset.shape[1], lambda latent, t: 0.7 * latent + torch.sin(3 * t / 1000) * offset)
        sigmas = lab.flow_sigmas(toy.model, steps, shift)
        assert rel(sigmas, data[f"unipc.n{steps}.shift{shift:g}.sigmas"]) <= 1e-6
        result = toy.sample(data["traj.x_init"], sigmas)
        assert toy.timesteps == pytest.approx(data[f"unipc.n{steps}.shift{shift:g}.timesteps"].tolist(), abs=1e-3)
        after = [*toy.latents[1:], result]
        keys = [key for key in data if key.startswith(f"traj.unipc.n{steps}.after")]
        assert keys
        for key in keys:
            assert rel(after[int(key.rsplit("after", 1)[1])], data[key]) <= 1e-6, key


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_flow_unipc_in_the_host_is_the_packs_own_solver(lab: Lab, steps: int) -> None:
    flow, offset, noise = lab.pack("unitalking.flow"), normal(1, 5, 2, 4, 4, seed=1), normal(1, 5, 2, 4, 4, seed=2)

    def velocity(latent: Tensor, timestep: Tensor) -> Tensor:
        return 0.3 * latent.sin() + offset * timestep / 1000

    toy = Toy(lab, 5, velocity)
    sigmas = lab.flow_sigmas(toy.model, steps)

    def denoise(latent: Tensor, step: int) -> Tensor:
        timestep = torch.floor(1000 * sigmas[step].double() + 1e-4).float()
        return latent - sigmas[step] * velocity(latent, timestep)

    assert rel(toy.sample(noise, sigmas), flow.sample_unipc(denoise, noise, sigmas)) <= 1e-6


def test_the_network_is_called_at_whole_timesteps(lab: Lab) -> None:
    toy = Toy(lab, 5, lambda latent, timestep: latent)
    sigmas = lab.flow_sigmas(toy.model, 7)
    toy.sample(normal(1, 5, 2, 4, 4, seed=1), sigmas)
    given = (1000 * sigmas[:-1].double()).tolist()
    assert any(abs(timestep - round(timestep)) > 0.1 for timestep in given), "truncation must have something to do"
    assert toy.timesteps == pytest.approx([int(timestep + 1e-4) for timestep in given], abs=1e-3)


def test_other_solvers_are_called_at_the_schedules_own_sigmas(lab: Lab) -> None:
    model, calls = lab.watched(lab.model)
    guider = lab.guider(model, lab.prompt(), 0.0, 0.0, 0.0)
    sigmas = lab.flow_sigmas(model, 7)
    lab.advanced(lab.joint_noise(), guider, "euler", sigmas, lab.latent())
    assert [float(call["timestep"][0]) for call in calls] == pytest.approx((1000 * sigmas[:-1]).tolist(), abs=1e-3)


def test_a_full_schedule_starts_from_the_noise_alone(lab: Lab) -> None:
    noise = normal(1, 5, 2, 4, 4, seed=1)
    toy = Toy(lab, 5, lambda latent, timestep: latent)
    sigmas = lab.flow_sigmas(toy.model, 4)
    assert 0.999 < float(sigmas[0]) < 1
    toy.sample(noise, sigmas)
    assert torch.equal(toy.latents[0], noise)
    toy.sample(noise, sigmas[1:])
    assert torch.allclose(toy.latents[-3], sigmas[1] * noise), "a later start adds noise to what is there"


def test_the_last_step_gives_the_denoised_latent(lab: Lab) -> None:
    clean, noise = normal(1, 5, 2, 4, 4, seed=1), normal(1, 5, 2, 4, 4, seed=2)
    sigmas = lab.flow_sigmas(lab.model, 6)

    def velocity(latent: Tensor, timestep: Tensor) -> Tensor:
        sigma = sigmas[(1000 * sigmas - timestep - 0.5).abs().argmin()]
        return (latent - clean) / sigma

    assert rel(Toy(lab, 5, velocity).sample(noise, sigmas), clean) <= 1e-5
