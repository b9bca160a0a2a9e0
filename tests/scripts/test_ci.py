"""What CI runs where there is no browser; a Python stands in that notes its commands and runs none of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
echo "$*" >> "$COMMANDS"
case "$1" in
    scripts/browser.py) exit 1 ;;
    scripts/environment.py) echo "$0" ;;
esac
"""


def run(folder: Path, **variables: str) -> tuple[int, str, list[str]]:
    """Exit status, what is said, and the commands of Python."""
    python, commands = folder / "python3", folder / "commands"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    known = {name: value for name, value in os.environ.items() if name != "UNITALKING_NO_BROWSER"}
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    environment = {**known, "PATH": path, "COMMANDS": str(commands), **variables}
    done = subprocess.run(["bash", str(ROOT / ".ci" / "run")], env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr, commands.read_text(encoding="utf-8").splitlines()


def test_without_a_browser_all_else_runs_and_the_run_fails(tmp_path: Path) -> None:
    status, said, commands = run(tmp_path)
    assert status == 1
    assert "UNITALKING_NO_BROWSER=1" in said
    assert "scripts/test.py" in commands
    assert "-m ruff check ." in commands


def test_the_browser_is_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    status, said, commands = run(tmp_path, UNITALKING_NO_BROWSER="1")
    assert (status, "left out" in said) == (0, True)
    assert "scripts/test.py" in commands
    assert "scripts/browser.py" not in commands
