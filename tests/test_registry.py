"""What a registry shows of the pack: metadata that agrees with the code, and pictures that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import make_icon
import numpy as np
import pytest
import tomllib
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def picture_of(metadata: dict[str, Any], key: str) -> Path:
    """The repository's file that an address of the raw form points to."""
    raw = metadata["project"]["urls"]["Repository"].replace("//github.com/", "//raw.githubusercontent.com/") + "/main/"
    address = metadata["tool"]["comfy"][key]
    assert address.startswith(raw)
    return ROOT / address.removeprefix(raw)


def test_the_changelogs_newest_heading_names_the_version(metadata: dict[str, Any]) -> None:
    version = metadata["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    newest, *_ = re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)
    assert newest == version


def test_the_name_is_one_that_a_registry_takes(metadata: dict[str, Any]) -> None:
    name = metadata["project"]["name"]
    assert re.fullmatch(r"[a-z](?:[._-]?[a-z0-9])*", name)
    assert "comfyui" not in name


def test_the_host_that_is_asked_for_is_the_oldest_that_the_code_accepts(metadata: dict[str, Any]) -> None:
    (accepted,) = re.findall(r'^MINIMUM_HOST = "(.+)"', text("nodes/__init__.py"), re.MULTILINE)
    assert metadata["tool"]["comfy"]["requires-comfyui"] == f">={accepted}"


def test_users_install_what_the_requirements_name(metadata: dict[str, Any]) -> None:
    lines = [line for line in text("requirements.txt").splitlines() if line and not line.startswith("#")]
    assert metadata["project"]["dependencies"] == lines
    assert not (ROOT / "install.py").exists()


def test_the_icon_is_a_small_square(metadata: dict[str, Any]) -> None:
    path = picture_of(metadata, "Icon")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width == picture.height <= 400
    assert path.stat().st_size < 100_000


def test_the_banner_is_21_to_9(metadata: dict[str, Any]) -> None:
    path = picture_of(metadata, "Banner")
    with Image.open(path) as picture:
        assert picture.width * 9 == picture.height * 21
    assert path.stat().st_size < 300_000


def test_the_script_draws_the_icon_and_the_banner_again(metadata: dict[str, Any]) -> None:
    # Fonts and filters of other versions, and JPEG, change little.
    for key, drawn, most in (("Icon", make_icon.icon(), 0.2), ("Banner", make_icon.banner(), 2.5)):
        with Image.open(picture_of(metadata, key)) as picture:
            difference = np.asarray(picture, dtype=float) - np.asarray(drawn, dtype=float)
        assert np.abs(difference).mean() < most, f"{key}: run scripts/make_icon.py"
