"""Frozen dataclasses from JSON mappings and back; unknown keys are errors, nested dataclasses are followed."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Data = TypeVar("Data")

SCALARS = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}


def from_mapping(cls: type[Data], mapping: Mapping[str, Any], where: str = "") -> Data:
    """A frozen dataclass from a JSON object.

    Lists become tuples; fields that are dataclasses (or `X | None` of one) are built the same way.

    Args:
        cls: a dataclass type.
        mapping: JSON object whose keys are fields of `cls`.
        where: what the object is, for error messages; the class name if empty.

    Raises:
        ValueError: a key that `cls` does not have, a value of another type, or one that `cls` refuses.
        TypeError: `mapping` is not a mapping, or a field without default is missing.
    """
    where = where or cls.__name__
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{where}: expected a JSON object, got {type(mapping).__name__}.")
    fields = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(mapping) - fields)
    if unknown:
        raise ValueError(
            f"{where}: unknown key(s) {', '.join(unknown)}; this version knows {', '.join(sorted(fields))}."
        )
    hints = typing.get_type_hints(cls)
    values = {name: _value(hints[name], value, f"{where}.{name}") for name, value in mapping.items()}
    return cls(**values)


def to_mapping(data: Any) -> dict[str, Any]:
    """The JSON object of a dataclass, with tuples as lists; `from_mapping` gives an equal dataclass back.

    Only tuples inside a free mapping (a field that is no dataclass) come back as lists.
    """
    return {name: _plain(value) for name, value in dataclasses.asdict(data).items()}


def _value(hint: Any, value: Any, where: str) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint) and not dataclasses.is_dataclass(value):
        return from_mapping(hint, value, where)
    if typing.get_origin(hint) is tuple:
        return _items(typing.get_args(hint), value, where)
    return _scalar(hint, value, where) if hint in SCALARS else _tuples(value)


def _items(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: got {value!r}, expected a list.")
    if hints[1:] == (...,):
        hints = hints[:1] * len(value)
    if len(value) != len(hints):
        raise ValueError(f"{where}: got {value!r}, expected {len(hints)} values.")
    return tuple(_value(hint, item, where) for hint, item in zip(hints, value, strict=True))


def _scalar(hint: type, value: Any, where: str) -> Any:
    """A value of the field's type; whole numbers serve as floats, nothing else is converted."""
    accepted = (int, float) if hint is float else hint
    fits = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
    if not fits or (hint is float and not math.isfinite(value)):
        raise ValueError(f"{where}: got {value!r}, expected {SCALARS[hint]}.")
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
