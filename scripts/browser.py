"""What the browser tests need: Playwright for Python, in a folder of the cache, and a Chromium of the system.

    python scripts/browser.py

sets both up and prints the browser's path. Playwright brings no browser here: Debian's Chromium, or any that
`$UNITALKING_CHROMIUM` names, is the one that runs. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import environment
from build_cache import Lock, SetupError, provide, say

PLAYWRIGHT = "playwright==1.65.2"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> Path:
    """The browser: `$UNITALKING_CHROMIUM`, else one on the PATH, else Debian's, installed where we may.

    Raises:
        SetupError: there is none and it cannot be installed.
    """
    given = os.environ.get("UNITALKING_CHROMIUM")
    if given and shutil.which(given) is None:
        raise SetupError(f"UNITALKING_CHROMIUM={given} cannot be run: give the path of a Chromium, or unset it.")
    found = shutil.which(given) if given else _on_the_path()
    if found is None and shutil.which("apt-get") and os.name == "posix" and os.geteuid() == 0:
        _install()
        found = _on_the_path()
    if found is None:
        raise SetupError(
            "The browser tests need Chromium and none was found: install it (Debian: `apt install chromium`), or set "
            "UNITALKING_CHROMIUM to the path of one."
        )
    return Path(found)


def playwright(python: Path) -> Path:
    """The folder to put on PYTHONPATH for `import playwright`, filled by pip of `python` where it is missing.

    Raises:
        SetupError: pip failed.
    """

    def build(folder: Path, lock: Lock) -> None:
        say(f"Installing {PLAYWRIGHT} (45 MB) in {folder}")
        command = [str(python), "-I", "-m", "pip", "install", "--quiet", "--target", str(folder), PLAYWRIGHT]
        with lock.popen(command) as process:
            output, _ = process.communicate()
        if process.returncode:
            raise SetupError(f"pip could not install {PLAYWRIGHT}:\n{output.strip()}")

    version, tag = PLAYWRIGHT.rsplit("=", 1)[1], "{}{}".format(*sys.version_info)
    return provide("playwright", f"{version}-py{tag}", build)


def _on_the_path() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


def _install() -> None:
    say("Installing Debian's Chromium (about 100 MB)")
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "text": True}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
        run = subprocess.run(command, stdin=subprocess.DEVNULL, **quiet)
        if run.returncode:
            raise SetupError(f"{' '.join(command)} failed:\n{run.stderr.strip()[-800:]}")


def main() -> int:
    """Set up what is missing; print the browser."""
    try:
        found = chromium()
        playwright(environment.python())
    except SetupError as error:
        say(f"Error: {error}")
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
