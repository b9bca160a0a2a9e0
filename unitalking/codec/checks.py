"""Refusals shared by the codec configs: each names the field, the value and what is expected."""

from __future__ import annotations

import math
from typing import Any


def positive_integer(name: str, value: Any) -> None:
    """Refuse anything but an integer of at least 1.

    Raises:
        ValueError: naming `name`, `value` and what is expected.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: got {value!r}, expected a positive integer.")


def positive_integers(name: str, values: Any) -> None:
    """Refuse anything but a non-empty tuple of positive integers.

    Raises:
        ValueError: naming `name`, the value and what is expected.
    """
    if not isinstance(values, tuple) or not values:
        raise ValueError(f"{name}: got {values!r}, expected a non-empty tuple of positive integers.")
    for index, value in enumerate(values):
        positive_integer(f"{name}[{index}]", value)


def positive_number(name: str, value: Any) -> None:
    """Refuse anything but a finite number above 0.

    Raises:
        ValueError: naming `name`, `value` and what is expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name}: got {value!r}, expected a finite number above 0.")


def one_of(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a value that is not among `choices`.

    Raises:
        ValueError: naming `name`, `value` and the choices.
    """
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, choices))}.")
