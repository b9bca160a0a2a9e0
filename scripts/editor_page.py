"""ComfyUI's real editor in a Chromium without a window, for the scripts that make what it shows or publishes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import browser
from comfyui import ComfyUI

if TYPE_CHECKING:
    from playwright.sync_api import Page

SETTINGS = {"Comfy.TutorialCompleted": True, "LiteGraph.Canvas.MinFontSizeForLOD": 0, "Comfy.Minimap.Visible": False}
READY = """() => {
    try { return app.graph && app.extensionManager && "UniTalkingSaveMP4" in LiteGraph.registered_node_types }
    catch (error) { return false }  // the graph cannot be asked for before the editor is set up
}"""


@contextmanager
def editor_page(server: ComfyUI, width: int = 1600, height: int = 900, scale: float = 1.0) -> Iterator[Page]:
    """The editor of a running server, without the welcome and the minimap, once it knows the pack's nodes.

    Args:
        server: whose editor.
        width, height: of the window.
        scale: pixels of a screenshot per pixel of the window.
    """
    sys.path.append(str(browser.playwright(Path(sys.executable))))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser.chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
        for name, value in SETTINGS.items():
            page.request.post(f"{server.url}/api/settings/{name}", data=json.dumps(value))
        page.goto(server.url, wait_until="domcontentloaded")
        page.wait_for_function(READY)
        yield page
        chromium.close()
