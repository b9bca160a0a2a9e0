"""What the tests of synthetic data share; those that speak skip where espeak-ng is not installed."""

from __future__ import annotations

import importlib.util

import pytest

from unitalking.synthetic import SyntheticClips, SyntheticConfig


@pytest.fixture(scope="session")
def espeak_installed() -> None:
    """Skips where the pip package with espeak-ng is missing."""
    if importlib.util.find_spec("espeakng_loader") is None:
        pytest.skip("espeakng_loader is not installed: pip install -r requirements-train.txt")


@pytest.fixture(scope="session")
def clips(espeak_installed: None) -> SyntheticClips:
    """Small pictures of the split that training sees."""
    return SyntheticClips(SyntheticConfig(clips=500, size=64))


@pytest.fixture(scope="session")
def held_out_clips(espeak_installed: None) -> SyntheticClips:
    """The size that the embedded model has, of the split that training never sees."""
    return SyntheticClips(SyntheticConfig(clips=500, split="held_out"))
