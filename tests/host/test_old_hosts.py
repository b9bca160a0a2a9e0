"""What a ComfyUI does that is older than the pack needs: a real one that gives its version as an older one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import test_hosts


@pytest.fixture
def old_host(comfyui_path: Path, tmp_path: Path) -> Path:
    """ComfyUI's folder, copied, with version 0.29.9."""
    host = tmp_path / "ComfyUI"
    shutil.copytree(comfyui_path, host, ignore=shutil.ignore_patterns("__pycache__", ".git", "*.safetensors"))
    (host / "comfyui_version.py").write_text('__version__ = "0.29.9"\n')
    return host


def test_an_old_host_says_in_one_line_what_is_needed_and_goes_on_without_the_pack(old_host: Path) -> None:
    visited = test_hosts.visit(old_host)
    assert len(visited.refusal) == 1, visited
    assert "needs ComfyUI 0.30.0 or newer and this is 0.29.9: update ComfyUI." in visited.refusal[0]
    assert (visited.nodes, visited.frames, visited.clip_s) == (0, 0, 0)
    assert visited.as_expected


@pytest.mark.parametrize(("version", "old"), [("0.9.30", True), ("0.29.9", True), ("0.30.0", False), ("1.0.0", False)])
def test_only_an_old_host_may_refuse_and_only_a_new_one_may_take_the_pack(version: str, old: bool) -> None:
    refused = test_hosts.Visit(version, 0, ("ComfyUI-UniTalking needs ComfyUI",), 0, 0.0)
    taken = test_hosts.Visit(version, 25, (), 0, 3.0)
    silent = test_hosts.Visit(version, 0, (), 0, 0.0)
    assert (refused.as_expected, taken.as_expected, silent.as_expected) == (old, not old, False)
