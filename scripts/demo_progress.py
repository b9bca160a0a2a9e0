"""Progress of a prompt as lines on stderr: stage, step, time left."""

from __future__ import annotations

import html
import re
import sys
import time
from typing import Any

from comfyui_events import Event

# A line per step is for a terminal, where it is overwritten; a log gets one every so many seconds.
_LOG_INTERVAL_S = 10.0


class Progress:
    """Called with every event of a prompt.

    Args:
        prompt: API format.
        object_info: what the server answers on /object_info, for the names that users know.
    """

    def __init__(self, prompt: dict[str, Any], object_info: dict[str, Any]) -> None:
        self._names = {
            node: object_info[content["class_type"]].get("display_name") or content["class_type"]
            for node, content in prompt.items()
        }
        self._stage = ""
        self._first: tuple[float, float] | None = None
        self._texts: set[str] = set()
        self._said_at = 0.0
        self._open_line = False

    def __call__(self, event: Event) -> None:
        """Say what `event` is about, if it is progress."""
        node = event.data.get("node")
        if event.kind == "executing" and node in self._names:
            self._stage, self._first, self._texts = self._names[node], None, set()
            self._say(f"{self._stage} ...")
        elif event.kind == "text":
            # A node shows its whole text anew at each step; steps are said from the numbers.
            lines = [line for line in html.unescape(event.data["text"]).splitlines() if not re.match(r"step \d", line)]
            for line in lines:
                if line not in self._texts:
                    self._say(f"  {line}")
            self._texts.update(lines)
        elif event.kind == "progress":
            self._step(event.data["value"], event.data["max"])
        elif event.kind == "execution_success":
            self._say("Done.")

    def _step(self, value: float, total: float) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (value, now)
        done, elapsed = value - self._first[0], now - self._first[1]
        left = f", {elapsed / done * (total - value):.0f} s left" if done > 0 and value < total else ""
        line = f"{self._stage}: {value:g} of {total:g}{left}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
            self._open_line = True
        elif value >= total or now - self._said_at > _LOG_INTERVAL_S:
            self._said_at = now
            self._say(line)

    def _say(self, line: str) -> None:
        if self._open_line:
            sys.stderr.write("\n")
            self._open_line = False
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
