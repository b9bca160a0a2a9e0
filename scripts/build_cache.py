"""Folders that take long to make, made once: keyed, safe against interruption, and against two makers at a time.

Standard library only: this runs before there is an environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_MARKER = "complete"


class SetupError(Exception):
    """Setting up failed; the message says what to do."""


def say(message: str) -> None:
    """One line of progress to stderr: stdout is kept for results."""
    print(message, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """`$UNITALKING_CACHE`, or `~/.cache/comfyui-unitalking`."""
    return Path(os.environ.get("UNITALKING_CACHE") or Path.home() / ".cache" / "comfyui-unitalking").absolute()


def provide(
    kind: str,
    key: str,
    build: Callable[[Path, Lock], None],
    *,
    is_usable: Callable[[Path], bool] = Path.is_dir,
    cache: Path | None = None,
) -> Path:
    """The folder `<kind>-<key>` of the cache, built by `build(folder, lock)` unless it is complete.

    The folder counts as complete once a marker, written last, is in it, and as long as `is_usable(folder)`; any other
    is removed and built anew. Before
    a build, folders of the same kind are removed but for the most recently used one, so that the cache does not grow
    and yet two checkouts with different pins do not take turns in rebuilding.

    Raises:
        SetupError: what `build` raises.
    """
    cache = cache or cache_folder()
    folder = cache / f"{kind}-{key}"
    if not (_is_complete(folder) and is_usable(folder)):
        cache.mkdir(parents=True, exist_ok=True)
        with Lock.held(cache / "lock") as lock:
            if not (_is_complete(folder) and is_usable(folder)):
                (folder / _MARKER).unlink(missing_ok=True)
                _remove_old(cache, kind)
                folder.mkdir()
                build(folder, lock)
                (folder / _MARKER).touch()
    os.utime(folder / _MARKER)
    return folder


def _is_complete(folder: Path) -> bool:
    return (folder / _MARKER).is_file()


def _remove_old(cache: Path, kind: str) -> None:
    """Remove what was left unfinished, and all but the most recently used folder."""
    folders = list(cache.glob(f"{kind}-*"))
    complete = sorted(filter(_is_complete, folders), key=lambda folder: (folder / _MARKER).stat().st_mtime)
    for folder in set(folders) - set(complete[-1:]):
        say(f"Removing {folder}")
        # The marker goes first: an interrupted removal must not leave a folder that looks complete.
        (folder / _MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder)


class Lock:
    """A lock file that the operating system releases when its holder, and whoever it started, has ended."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @staticmethod
    @contextmanager
    def held(path: Path) -> Iterator[Lock]:
        """Wait for the lock at `path`, and hold it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            if not _try_lock(descriptor):
                say(f"Another process is setting up in {path.parent}; waiting for it to finish ...")
                _wait_lock(descriptor)
            yield Lock(descriptor)
        finally:
            os.close(descriptor)

    def popen(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a child that shares the lock, its output (stderr included) piped as text.

        A killed parent can leave its child at work in the folder; the lock then lasts as long as the child.
        """
        shared = {} if os.name == "nt" else {"pass_fds": (self._descriptor,)}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **shared,
        )


if os.name == "nt":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_lock(descriptor: int) -> None:
        # LK_LOCK gives up after ten seconds.
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError:
                continue
            return
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
