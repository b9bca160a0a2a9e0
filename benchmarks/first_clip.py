"""How long a newcomer waits for the first clip: from starting ComfyUI to a clip that can be played, by clicks alone.

    python benchmarks/first_clip.py [--runs 3] [--shots DIR]

A fresh ComfyUI with the pack, Chromium with the settings of somebody who is there for the first time: the editor opens
the template browser by itself. Run it in the environment of scripts/environment.py, with nothing else at work.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from package import ROOT, import_package

CATEGORY, TEMPLATE = "ComfyUI-UniTalking", "talking_portrait_voice"
SCREEN = {"width": 1800, "height": 1100}
PLAYS = """() => {
    const player = document.querySelector("video")
    return player && player.readyState >= 3
}"""


def main() -> int:
    """Prints a line for each run: seconds, and clicks."""
    import_package()
    sys.path.append(str(ROOT / "scripts"))
    import browser
    from comfyui import temporary_server

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--shots", type=Path, help="folder for a picture of the end of each run")
    chosen = parser.parse_args()
    sys.path.append(str(browser.playwright(Path(sys.executable))))
    from playwright.sync_api import sync_playwright

    arguments = () if torch.accelerator.is_available() else ("--cpu",)
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu"]
        chromium = driver.chromium.launch(executable_path=browser.chromium(), args=options)
        for run in range(chosen.runs):
            started = time.monotonic()
            with temporary_server(extra_args=arguments) as server:
                page = chromium.new_page(viewport=SCREEN)
                ready_s = time.monotonic() - started
                page.goto(server.url, wait_until="domcontentloaded")
                clicks = (
                    page.get_by_text(CATEGORY, exact=True).first,
                    page.get_by_test_id(f"template-workflow-{TEMPLATE}"),
                    page.get_by_test_id("queue-button"),
                )
                for click in clicks:
                    click.click()
                page.wait_for_function(PLAYS, timeout=300_000)
                waited_s = time.monotonic() - started
                if chosen.shots:
                    chosen.shots.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=chosen.shots / f"run_{run}.png")
                page.close()
            print(f"{waited_s:.1f} s by {len(clicks)} clicks; the server answered after {ready_s:.1f} s", flush=True)
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
