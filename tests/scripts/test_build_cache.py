"""What is built once stays whole: interruption, changed keys, two builders at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from build_cache import Lock, provide

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
posix_only = pytest.mark.skipif(os.name == "nt", reason="kills by signal")

# Builds slowly in a process of its own, and writes down that it did.
BUILDER = """
import sys, time
from pathlib import Path
from build_cache import provide

def build(folder, lock):
    with (folder.parent / "builds").open("a") as file:
        file.write("built\\n")
    (folder / "half").touch()
    child = lock.popen([sys.executable, "-c", "import time; time.sleep(float(%r))" % sys.argv[2]])
    (folder.parent / "started").touch()
    child.communicate()
    (folder / "whole").touch()

provide("toy", "1", build, cache=Path(sys.argv[1]))
"""


def start_builder(cache: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", BUILDER, str(cache), str(seconds)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SCRIPTS)}, start_new_session=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def build_file(content: str) -> Callable[[Path, Lock], None]:
    def build(folder: Path, lock: Lock) -> None:
        (folder / "file").write_text(content)

    return build


def refuse(folder: Path, lock: Lock) -> None:
    raise AssertionError(f"{folder} was built although it is there")


def test_same_key_is_built_once(tmp_path: Path) -> None:
    first = provide("toy", "1", build_file("a"), cache=tmp_path)
    assert provide("toy", "1", refuse, cache=tmp_path) == first
    assert (first / "file").read_text() == "a"


def test_changed_key_is_built_beside_the_last_and_older_ones_go(tmp_path: Path) -> None:
    for key in ("1", "2", "3"):
        folder = provide("toy", key, build_file(key), cache=tmp_path)
        os.utime(folder / "complete", (int(key), int(key)))
    assert sorted(path.name for path in tmp_path.glob("toy-*")) == ["toy-2", "toy-3"]
    assert (folder / "file").read_text() == "3"


def test_old_folders_of_another_kind_stay(tmp_path: Path) -> None:
    other = provide("other", "1", build_file("x"), cache=tmp_path)
    for key in ("1", "2", "3"):
        provide("toy", key, build_file(key), cache=tmp_path)
    assert provide("other", "1", refuse, cache=tmp_path) == other


def test_failed_build_is_built_anew_from_nothing(tmp_path: Path) -> None:
    def fail(folder: Path, lock: Lock) -> None:
        (folder / "half").touch()
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError, match="no network"):
        provide("toy", "1", fail, cache=tmp_path)
    folder = provide("toy", "1", build_file("a"), cache=tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["complete", "file"]


def test_folder_that_became_unusable_is_built_anew(tmp_path: Path) -> None:
    folder = provide("toy", "1", build_file("a"), cache=tmp_path)
    (folder / "file").unlink()
    again = provide("toy", "1", build_file("b"), is_usable=lambda folder: (folder / "file").exists(), cache=tmp_path)
    assert (again / "file").read_text() == "b"


@posix_only
def test_killed_builder_leaves_nothing_that_counts_as_built(tmp_path: Path) -> None:
    with start_builder(tmp_path, 60) as builder:
        wait_for(tmp_path / "started")
        os.killpg(builder.pid, signal.SIGKILL)
    folder = provide("toy", "1", build_file("a"), cache=tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["complete", "file"]


@posix_only
def test_killed_builders_child_keeps_the_lock_until_it_ends(tmp_path: Path) -> None:
    with start_builder(tmp_path, 1.5) as builder:
        wait_for(tmp_path / "started")
        start = time.monotonic()
        builder.kill()
    provide("toy", "1", build_file("a"), cache=tmp_path)
    assert time.monotonic() - start > 0.75


def test_two_builders_at_once_build_once(tmp_path: Path) -> None:
    with start_builder(tmp_path, 0.5) as first, start_builder(tmp_path, 0.5) as second:
        assert first.wait(30) == 0
        assert second.wait(30) == 0
    assert (tmp_path / "builds").read_text() == "built\n"
    assert (tmp_path / "toy-1" / "whole").exists()
