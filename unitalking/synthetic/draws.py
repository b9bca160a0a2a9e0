"""Random draws that depend on what they are for, and on nothing else: the same on every machine and in any order."""

from __future__ import annotations

import hashlib
import random


def draw(*purpose: str | int) -> random.Random:
    """A generator of its own for a purpose, such as ("speech", seed, index)."""
    return random.Random(number(*purpose))


def number(*purpose: str | int) -> int:
    """A number of 64 bits that looks random and belongs to a purpose."""
    text = "\x1f".join(map(str, purpose)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def between(generator: random.Random, low: float, high: float) -> float:
    """A number between two others, all alike probable."""
    return low + (high - low) * generator.random()
