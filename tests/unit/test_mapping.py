"""Dataclasses from JSON objects and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from unitalking.mapping import from_mapping, to_mapping


@dataclass(frozen=True)
class Leaf:
    width: int = 3

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width: got {self.width}")


@dataclass(frozen=True)
class Tree:
    name: str
    sizes: tuple[int, ...] = ()
    grid: tuple[tuple[int, int], ...] = ()
    leaf: Leaf = field(default_factory=Leaf)
    maybe: Leaf | None = None
    free: Mapping[str, Any] | None = None


TREES = [
    Tree("bare"),
    Tree("oak", (1, 2), ((3, 4), (5, 6)), Leaf(7), Leaf(8), {"kind": "byte", "rows": 9, "widths": [1, 2]}),
    Tree("none", maybe=None, free=None),
]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_to_mapping_and_from_mapping_are_inverse_through_json(tree: Tree) -> None:
    assert from_mapping(Tree, json.loads(json.dumps(to_mapping(tree)))) == tree


def test_lists_become_tuples_at_every_depth() -> None:
    tree = from_mapping(Tree, {"name": "x", "sizes": [1, 2], "grid": [[3, 4]]})
    assert tree.sizes == (1, 2)
    assert tree.grid == ((3, 4),)


def test_nested_dataclasses_are_built() -> None:
    tree = from_mapping(Tree, {"name": "x", "leaf": {"width": 5}, "maybe": {"width": 6}})
    assert tree.leaf == Leaf(5)
    assert tree.maybe == Leaf(6)


def test_missing_keys_take_their_defaults() -> None:
    assert from_mapping(Tree, {"name": "x"}) == Tree("x")


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"Tree.*colour.*sizes"):
        from_mapping(Tree, {"name": "x", "colour": 1})


def test_an_unknown_key_inside_is_named_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"Tree\.maybe.*height"):
        from_mapping(Tree, {"name": "x", "maybe": {"height": 1}})


def test_a_value_that_the_dataclass_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="width: got 0"):
        from_mapping(Tree, {"name": "x", "leaf": {"width": 0}})


@pytest.mark.parametrize("mapping", [["name"], "name", 3])
def test_something_that_is_not_an_object_is_refused(mapping: object) -> None:
    with pytest.raises(TypeError, match="the file"):
        from_mapping(Tree, mapping, "the file")


def test_a_missing_field_without_default_is_refused() -> None:
    with pytest.raises(TypeError, match="name"):
        from_mapping(Tree, {})


@dataclasses.dataclass(frozen=True)
class Typed:
    count: int = 1
    share: float = 0.5
    name: str = ""
    on: bool = False
    sides: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    maybe: tuple[int, int] | None = None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 3.0),
        ("count", "3"),
        ("count", True),
        ("share", "0.5"),
        ("share", float("nan")),
        ("name", 3),
        ("on", 1),
        ("sides", [1]),
        ("sides", [1, "2"]),
        ("sides", 4),
        ("names", [1]),
        ("maybe", [4]),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_field_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"Typed\.{field}: got "):
        from_mapping(Typed, {field: value})


def test_whole_numbers_serve_as_floats_and_lists_as_tuples() -> None:
    built = from_mapping(Typed, {"share": 2, "sides": [3, 4], "names": ["a"], "maybe": None})
    assert built == Typed(share=2, sides=(3, 4), names=("a",))
