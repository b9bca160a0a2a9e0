"""Muon's steps are PyTorch's, in bfloat16 bit for bit; and a processor without bf16 instructions gets fp32."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

from unitalking.training.muon import Muon, orthogonalise
from unitalking.training.processes import BF16_INSTRUCTIONS, fastest_precision, make_accelerator
from unitalking.training.settings import TrainerSettings

SHAPES = [(12, 12), (12, 12), (40, 12), (12, 40), (12, 40)]
SETTINGS = {"lr": 0.02, "weight_decay": 0.1}


def after_three_steps(build: type, **settings: object) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(0.1 * torch.randn(shape, generator=random)) for shape in SHAPES]
    optimiser = build(parameters, **SETTINGS, **settings)
    for _ in range(3):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random)
        optimiser.step()
    return [parameter.detach() for parameter in parameters]


def test_the_steps_are_those_of_pytorch() -> None:
    expected = after_three_steps(torch.optim.Muon)
    assert all(map(torch.equal, after_three_steps(Muon, dtype=torch.bfloat16), expected))
    for got, wanted in zip(after_three_steps(Muon), expected, strict=True):
        assert (got - wanted).norm() < 5e-3 * wanted.norm()


def test_singular_values_come_near_one_and_directions_stay() -> None:
    matrices = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(1))
    made = orthogonalise(matrices, torch.float32)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.6
    assert values.max() < 1.3
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    aligned = (u.mT @ made @ vh.mT).diagonal(dim1=1, dim2=2)
    assert torch.allclose(aligned.sort(descending=True)[0], values, atol=1e-3)
    assert torch.allclose(orthogonalise(matrices.mT, torch.float32), made.mT, atol=1e-5)


def test_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Muon moves matrices; got a parameter of shape \(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)


@pytest.mark.parametrize("name", BF16_INSTRUCTIONS)
def test_bf16_is_taken_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, name: True})
    assert fastest_precision(cpu=True) == "bf16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, name: False})
    assert fastest_precision(cpu=True) == "fp32"
    settings = TrainerSettings(steps=1, batch_size=1, precision="auto")
    assert make_accelerator(settings).mixed_precision == "no"
