"""Checkpoints of a run: written beside the old ones and renamed when whole, so that a good one is always there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .settings import TrainingError

STATE = "trainer.json"
# May differ between the run that wrote a checkpoint and the one that goes on with it.
FREE = ("steps", "checkpoint_every", "keep", "log_every", "sample_every", "workers")


class Checkpoints:
    """The checkpoints in one folder, `step-00001000` and so on.

    Args:
        folder: where they lie.
        keep: how many are kept.
        identity: what must be the same to go on with one: settings, and names and shapes of what is trained.
    """

    def __init__(self, folder: Path, keep: int, identity: dict[str, Any]) -> None:
        self.folder, self.keep, self.identity = folder, keep, json.loads(json.dumps(identity))

    def complete(self) -> list[Path]:
        """The whole ones, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if (path / STATE).is_file())

    def save(self, step: int, write: Callable[[Path], None], *, is_main: bool, wait: Callable[[], None]) -> None:
        """Writes a checkpoint; the older ones go only when it is whole.

        Args:
            step: steps done.
            write: writes everything but `trainer.json` into a folder; called on every process.
            is_main: whether this process makes, renames and removes folders.
            wait: returns when every process has come here.

        Raises:
            TrainingError: the disk is full or cannot be written; the last good checkpoint stays.
        """
        partial = self.folder / "writing"
        try:
            if is_main:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            wait()
            write(partial)
            wait()
            if is_main:
                state = {"step": step, "identity": self.identity}
                (partial / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
                final = self.folder / f"step-{step:08d}"
                shutil.rmtree(final, ignore_errors=True)
                partial.rename(final)
                for old in self.complete()[: -self.keep]:
                    shutil.rmtree(old)
            wait()
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            shutil.rmtree(partial, ignore_errors=True)
            good = self.complete()
            left = f"the last good one is {good[-1]}" if good else "there is none yet"
            raise TrainingError(
                f"Checkpoint of step {step} could not be written to {self.folder}: {error}. {left}; "
                "free some space and start the run again."
            ) from error

    def newest(self) -> tuple[Path, int] | None:
        """The newest whole checkpoint and its step.

        Raises:
            TrainingError: it belongs to another run.
        """
        found = self.complete()
        if not found:
            return None
        state = json.loads((found[-1] / STATE).read_text(encoding="utf-8"))
        differing = _differences(state["identity"], self.identity)
        if differing:
            shown = "; ".join(differing[:6]) + (f" and {len(differing) - 6} more" if len(differing) > 6 else "")
            raise TrainingError(
                f"{found[-1]} was written by another run: {shown}. Start in a new folder, or go on with the recipe "
                "that this folder was begun with."
            )
        return found[-1], state["step"]


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in {**new, **old} if name not in FREE]
        return [
            text
            for name in names
            for text in _differences(old.get(name), new.get(name), f"{where}.{name}" if where else name)
        ]
    return [] if old == new else [f"{where} was {old}, is {new}"]
