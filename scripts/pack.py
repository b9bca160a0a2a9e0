"""Check the pack as the registry does, and make its archive: `python scripts/pack.py [FILE.zip]`, default node.zip.

Runs comfy-cli's `node validate` and `node pack`, from an environment of its own in the cache; nothing is published.
Whatever they say beyond that all is well is an error. The last line is the archive's path.

Standard library only, Python 3.11 or newer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import environment_build
from build_cache import SetupError, say

ROOT = Path(__file__).resolve().parent.parent
COMFY_CLI = "comfy-cli==1.23.0"
# What comfy-cli says when all is well, and the archive that it leaves in the folder it runs in.
WELL = {
    "Validating node configuration...",
    "Running security checks...",
    "✓ All validation checks passed successfully",
    "Created zip file: node.zip",
}
ARCHIVE = "node.zip"


class PackError(Exception):
    """comfy-cli found something; the message is what it said."""


def pack(target: Path, root: Path = ROOT) -> Path:
    """Validate the pack in `root`, and write its archive to `target`.

    Raises:
        PackError: comfy-cli failed, or warned.
        SetupError: comfy-cli could not be installed.
    """
    python = environment_build.tool(COMFY_CLI)
    for command in ("validate", "pack"):
        _comfy_node(python, command, root)
    shutil.move(root / ARCHIVE, target)
    return target


def _comfy_node(python: Path, command: str, root: Path) -> None:
    """`comfy node COMMAND`, with its settings in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="comfy-cli-") as home:
        variables = {
            **os.environ,
            **{"HOME": home, "USERPROFILE": home, "GIT_CONFIG_GLOBAL": str(Path.home() / ".gitconfig")},
            **{"NO_COLOR": "1", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"},
        }
        run = subprocess.run(
            [python, "-m", "comfy_cli", "--skip-prompt", "--no-enable-telemetry", "node", command],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
    lines = [line.strip() for line in run.stdout.splitlines()]
    warnings = [line for line in lines if line and line not in WELL]
    if run.returncode or warnings:
        raise PackError(f"`comfy node {command}` ended with status {run.returncode} and said:\n" + "\n".join(warnings))


def main(arguments: list[str]) -> int:
    """Pack; 1 where something is wrong."""
    try:
        archive = pack(Path(*arguments[:1] or [ROOT / ARCHIVE]).absolute())
    except (PackError, SetupError) as error:
        say(f"Error: {error}")
        return 1
    say(f"{archive.stat().st_size / 1e6:.1f} MB")
    print(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
