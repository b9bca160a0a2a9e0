"""How fast a run is, and how long it will take."""

from __future__ import annotations

import time

from .settings import TrainerSettings


class Clock:
    """Samples per second since the last reading, and the time left."""

    def __init__(self, step: int, settings: TrainerSettings) -> None:
        self.settings, self.step, self.time = settings, step, time.monotonic()

    def read(self, step: int) -> tuple[float, str]:
        """Samples per second, and hours, minutes and seconds to the last step."""
        now = time.monotonic()
        rate = (step - self.step) / max(now - self.time, 1e-9)
        self.step, self.time = step, now
        seconds = int((self.settings.steps - step) / max(rate, 1e-9))
        return rate * self.settings.batch_size, f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
