"""Try the pack on several versions of ComfyUI: `python scripts/test_hosts.py VERSION|FOLDER ...`

Starts each one with the pack and makes the demo's clip. A host older than pyproject.toml asks for has to refuse the
pack in one readable line. Prints a table; 1 where a host did otherwise. Versions are fetched into the cache (those of
COMFYUI_SOURCES in environment_build.py); all run in one Python. Usage: in the environment that scripts/environment.py
builds.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import environment_build
import tomllib
from build_cache import SetupError, say
from comfyui import PACK, PACK_NAME, ComfyUI, ServerError
from make_node_list import node_list

from unitalking.client.outcome import PromptError
from unitalking.client.workflow import to_prompt

WORKFLOW = "talking_portrait_voice"


@dataclass(frozen=True)
class Visit:
    """What a host did with the pack.

    Attributes:
        version: the host's.
        nodes: how many of ours it has.
        refusal: lines of its log in which the pack says what it needs.
        frames: lines of the log's tracebacks that lie in the pack.
        clip_s: length of the clip that the demo's workflow made, 0 without one.
    """

    version: str
    nodes: int
    refusal: tuple[str, ...]
    frames: int
    clip_s: float

    @property
    def as_expected(self) -> bool:
        """Whether a host that is new enough made the clip, or an older one said why not in one line."""
        if numbers(self.version) < numbers(required()):
            return self.nodes == 0 and len(self.refusal) == 1 and self.frames == 0
        return self.nodes > 0 and self.clip_s > 0 and self.frames == 0


def required() -> str:
    """The oldest ComfyUI that pyproject.toml asks for."""
    metadata = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
    return metadata["tool"]["comfy"]["requires-comfyui"].removeprefix(">=")


def numbers(version: str) -> tuple[int, ...]:
    """1.20.3 -> (1, 20, 3)."""
    return tuple(map(int, re.findall(r"\d+", version)))


def visit(host: Path) -> Visit:
    """Start the ComfyUI in the folder `host` with the pack, and make a clip if it takes the pack."""
    (version,) = re.findall(r'__version__ = "(.*)"', (host / "comfyui_version.py").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as base:
        server = ComfyUI(host, Path(base))
        nodes, clip_s, failure = 0, 0.0, ""
        try:
            with server:
                nodes = len(node_list(server.object_info()))
                clip_s = make_clip(server)
        except (ServerError, PromptError, TimeoutError) as error:
            failure = str(error)
        log = server.log_tail(1000).splitlines()
    refusal = tuple(line for line in log if f"{PACK_NAME} needs ComfyUI" in line)
    frames = sum(line.lstrip().startswith('File "') and PACK_NAME in line for line in log)
    visited = Visit(version, nodes, refusal, frames, clip_s)
    if not visited.as_expected:
        say(f"ComfyUI {version}: {failure}")
    return visited


def make_clip(server: ComfyUI) -> float:
    """Length in seconds of what the demo's workflow makes, picture and sound alike.

    Raises:
        ServerError: it saved no such clip.
    """
    workflow = json.loads((PACK / "workflows" / f"{WORKFLOW}.json").read_text(encoding="utf-8"))
    result = server.queue(to_prompt(workflow, server.object_info()), workflow, timeout_s=600)
    (saved,) = (server.output_path(item) for item in result.files() if item["filename"].endswith(".mp4"))
    with av.open(str(saved)) as file:
        lengths = [float(stream.duration * stream.time_base) for stream in (*file.streams.video, *file.streams.audio)]
    if len(lengths) != 2 or abs(lengths[0] - lengths[1]) > 0.1:
        raise ServerError(f"{saved} has streams of {lengths} s, expected picture and sound of one length.")
    return lengths[0]


def row(visited: Visit) -> str:
    """A line of the table."""
    did = f"{visited.nodes} nodes, clip of {visited.clip_s:.1f} s" if visited.clip_s else "refused: " + told(visited)
    return f"| {visited.version} | {did} | {'yes' if visited.as_expected else '**no**'} |"


def told(visited: Visit) -> str:
    """The pack's own words in the log."""
    return "; ".join(line[line.index(PACK_NAME + " needs") :] for line in visited.refusal) or "without a word"


def main(arguments: list[str]) -> int:
    """Try the named hosts."""
    try:
        # One after the other: the cache keeps few of them.
        visits = [
            visit(Path(name).absolute() if Path(name).is_dir() else environment_build.comfyui(name))
            for name in arguments
        ]
    except SetupError as error:
        say(f"Error: {error}")
        return 1
    print("| ComfyUI | what it did with the pack | as it should |\n|---|---|---|")
    for visited in visits:
        print(row(visited))
    return int(not all(visited.as_expected for visited in visits))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
