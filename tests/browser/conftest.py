"""The browser of the browser tests; they are left out where `scripts/test.py --browser` has not set one up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Helper modules: `editor` here, `graphs` beside the tests of the host.
FOLDERS = [str(folder) for folder in (Path(__file__).parent, Path(__file__).parents[1] / "host")]
sys.path += [folder for folder in FOLDERS if folder not in sys.path]

from editor import Editor, opened  # noqa: E402 (needs the path)

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from playwright.sync_api import Browser

# A root's Chromium has no sandbox; shared memory and graphics are what a machine without a screen lacks.
OPTIONS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--autoplay-policy=no-user-gesture-required")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window; closed before other tests, which could not run an event loop beside its driver's."""
    chromium, playwright = os.environ.get("UNITALKING_CHROMIUM"), os.environ.get("UNITALKING_PLAYWRIGHT")
    if not chromium or not playwright:
        pytest.skip("no browser: `python scripts/test.py --browser` sets one up")
    sys.path.append(playwright)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: `$UNITALKING_SHOTS`, else a temporary folder."""
    given = os.environ.get("UNITALKING_SHOTS")
    if not given:
        return tmp_path_factory.mktemp("shots")
    Path(given).mkdir(parents=True, exist_ok=True)
    return Path(given)


@pytest.fixture
def editor(browser: Browser, host: ComfyUI, shots: Path) -> Iterator[Editor]:
    """The editor of the running ComfyUI, with nothing of ours open yet."""
    with opened(browser, host.url, shots) as opened_editor:
        yield opened_editor
