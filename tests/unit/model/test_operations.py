"""Weights come from the injected operations and attention from the injected function, without exception."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from builders import given, rel_l2, run, tiny_config, tiny_model
from torch import Tensor, nn

from unitalking.model.modulation import ModulationTable


class Linear(nn.Linear):
    pass


class Conv3d(nn.Conv3d):
    pass


class LayerNorm(nn.LayerNorm):
    pass


class RMSNorm(nn.RMSNorm):
    pass


class Embedding(nn.Embedding):
    pass


KINDS = (Linear, Conv3d, LayerNorm, RMSNorm, Embedding)
OPERATIONS = SimpleNamespace(**{kind.__name__: kind for kind in KINDS})
CONFIG = tiny_config(extra_positions=(2, 2))


def test_every_module_with_weights_comes_from_the_given_operations() -> None:
    model = tiny_model(CONFIG, operations=OPERATIONS)
    owners = [module for module in model.modules() if list(module.parameters(recurse=False))]
    assert {type(module) for module in owners} == {*KINDS, ModulationTable}
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert {type(module) for module in norms} == {LayerNorm}, "those without weights too"


def test_modulation_comes_from_the_given_operations_where_they_have_it() -> None:
    """A host's own kind casts and patches its weight."""

    class HostsTable(ModulationTable):
        pass

    model = tiny_model(operations=SimpleNamespace(**vars(OPERATIONS), ModulationTable=HostsTable))
    tables = [module for module in model.modules() if isinstance(module, ModulationTable)]
    assert len(tables) == 2 * (2 + 1)
    assert {type(table) for table in tables} == {HostsTable}


def test_weights_are_used_through_their_modules_forward() -> None:
    """A host casts and dequantises in `forward`; a weight that is read past it would miss that."""
    model = tiny_model(CONFIG, operations=OPERATIONS)
    called: set[str] = set()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_call, name=name: called.add(name))
    run(model, given(voice=True))
    owners = {name for name, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert owners - called == set()


def test_device_and_dtype_are_handed_to_every_operation() -> None:
    model = tiny_model(CONFIG, operations=OPERATIONS, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (queries, keys, values))
    return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)


def test_attention_is_called_through_the_given_function_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = tiny_model(), given(voice=True)
    expected = run(model, inputs)
    calls: list[int] = []

    def counting(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        calls.append(heads)
        return plain_attention(queries, keys, values, heads)

    monkeypatch.delattr(nn.functional, "scaled_dot_product_attention")
    results = run(model, inputs, attention=counting)
    assert calls == [2] * 8, "two blocks: joint, text of each stream, voice"
    for actual, wanted in zip(results, expected, strict=True):
        assert rel_l2(actual, wanted) < 1e-12


def test_all_token_mixing_goes_through_attention() -> None:
    """With an attention that gives nothing, a token knows of no other."""
    model, inputs = tiny_model(), given()

    def nothing(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        return torch.zeros_like(queries)

    changed = inputs.audio.clone()
    changed[:, :, 4] += 1
    before, after = (run(model, each, attention=nothing) for each in (inputs, inputs.but(audio=changed)))
    assert torch.equal(before[0], after[0])
    differs = (before[1] != after[1]).any(1)
    assert differs.nonzero()[:, 1].unique().tolist() == [4]
