"""Run the tests: `python scripts/test.py [pytest arguments]`, for example `-k sampler`, `-m slow`, `tests/host`.

Sets up the environment first where there is none (see environment.py). Without arguments the whole suite runs but for
what is marked `slow`, and for the browser tests: with `--browser` they run as well, in a Chromium that is installed
where it is missing (see browser.py). The exit status is pytest's.
"""

from __future__ import annotations

import sys

import browser
import environment
from build_cache import SetupError, say

BROWSER = "--browser"


def main(arguments: list[str]) -> int:
    """Run pytest in the environment, from the repository root; its exit status."""
    arguments, with_browser = [each for each in arguments if each != BROWSER], BROWSER in arguments
    try:
        host, python = environment.comfyui(), environment.python()
        variables = {"COMFYUI_PATH": str(host)}
        if with_browser:
            variables |= {"UNITALKING_CHROMIUM": str(browser.chromium())}
            variables |= {"UNITALKING_PLAYWRIGHT": str(browser.playwright(python))}
    except SetupError as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    # -P: the working directory is not put on sys.path, see tests/conftest.py.
    command = [str(python), "-P", "-m", "pytest", *arguments]
    return environment.hand_over(command, cwd=environment.SCRIPTS.parent, variables=variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
