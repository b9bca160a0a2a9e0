"""Run the tests: `python scripts/test.py [pytest arguments]`, for example `-k sampler`, `-m slow`, `tests/host`.

Sets up the environment first where there is none (see environment.py). Without arguments the whole suite runs but for
what is marked `slow`. The exit status is pytest's.
"""

from __future__ import annotations

import sys

import environment
from build_cache import SetupError, say


def main(arguments: list[str]) -> int:
    """Run pytest in the environment, from the repository root; its exit status."""
    try:
        host, python = environment.comfyui(), environment.python()
    except SetupError as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    # -P: the working directory is not put on sys.path, see tests/conftest.py.
    command = [str(python), "-P", "-m", "pytest", *arguments]
    return environment.hand_over(command, cwd=environment.SCRIPTS.parent, variables={"COMFYUI_PATH": str(host)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
