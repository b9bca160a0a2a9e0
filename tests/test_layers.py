"""Who may import whom, checked on the source: each rule is a function of one module's name and source.

Names are dotted from the repository root: `unitalking.model.block`, `nodes.sampler`; relative imports are resolved to
such names. Every rule is also shown to refuse a source that breaks it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
Rule = Callable[[str, str], list[str]]

THIRD_PARTY = {"torch", "torchaudio", "numpy", "scipy", "safetensors"}
HOST = {
    *("comfy", "comfy_api", "comfy_execution", "comfy_extras", "comfyui_version", "folder_paths"),
    *("latent_preview", "node_helpers", "nodes", "server", "aiohttp", "av", "PIL"),
}
NETWORK = {"urllib", "http", "socket", "ssl", "ftplib", "requests", "aiohttp", "httpx", "huggingface_hub"}
# Data making, training and judging: rooms that need more than inference does, and that nothing else may need.
WORKSHOP = tuple(f"unitalking.{name}" for name in ("synthetic", "training", "evaluation", "evaluate"))
# The node that judges clips.
CHECK = "nodes.check"
# ComfyUI's own encoders for making data sets, imported when a person names a folder of it; `comfy` and nothing else.
HOST_ENCODERS = "unitalking.training.prepare.host_encoders"
# The commands that fetch files, and that queue clips on servers, run by a person; nothing else of the pack knows them.
DOWNLOAD, BATCH = "unitalking.download", "unitalking.batch"
# What answers the editor, on the host's own server.
ROUTES = "nodes.routes"
# What a room imports only where a person asks for it, beyond the libraries of all.
ON_DEMAND = {
    DOWNLOAD: {"huggingface_hub", "tqdm"},
    "unitalking.checkpoint.gguf_files": {"gguf"},
    f"{BATCH}.server": {"aiohttp"},
    f"{BATCH}.run": {"aiohttp"},
}
WITHOUT_TENSORS = ("unitalking.timeline", "unitalking.mapping", "unitalking.speech_timing", "unitalking.config")
NOT_FOR_THE_NETWORK = (*(f"unitalking.{name}" for name in ("flow", "guidance", "checkpoint", "codec")), *WORKSHOP)


def modules() -> Iterator[tuple[str, str]]:
    """Name and source of every module of the pack."""
    for folder in ("unitalking", "nodes"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts), path.read_text(encoding="utf-8")


def imports(name: str, source: str) -> Iterator[tuple[str, bool]]:
    """What a module imports, as dotted names, and whether the import is relative.

    `from .x import y` gives both `x` and `x.y`, as y may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".")[: -node.level] if node.level else []
            target = ".".join([*package, *([node.module] if node.module else [])])
            if target:
                yield target, node.level > 0
            yield from ((f"{target}.{alias.name}".lstrip("."), node.level > 0) for alias in node.names)


def within(target: str, *packages: str) -> bool:
    """Whether a dotted name is one of `packages`, or lies in one."""
    return any(target == package or target.startswith(f"{package}.") for package in packages)


def imports_ours_relatively(name: str, source: str) -> list[str]:
    """ComfyUI loads the pack under another name, so `unitalking` is not importable by its own."""
    return [target for target, relative in imports(name, source) if not relative and within(target, "unitalking")]


def pure_part_takes_only_its_libraries(name: str, source: str) -> list[str]:
    """unitalking/ knows no ComfyUI, reads no video or picture files, and adds no dependency; the workshop may."""
    allowed = THIRD_PARTY | set(sys.stdlib_module_names)
    tops = [(target.split(".")[0], relative) for target, relative in imports(name, source)]
    if within(name, *WORKSHOP):
        host = HOST - {"av", "PIL"} - ({"comfy"} if name == HOST_ENCODERS else set())
        return [top for top, relative in tops if not relative and top in host]
    if within(name, "unitalking"):
        return [top for top, relative in tops if not relative and top not in allowed | ON_DEMAND.get(name, set())]
    return []


def nodes_add_no_dependency(name: str, source: str) -> list[str]:
    """nodes/ uses what ComfyUI itself installs, and nothing else."""
    allowed = THIRD_PARTY | HOST | set(sys.stdlib_module_names)
    tops = {target.split(".")[0] for target, relative in imports(name, source) if not relative}
    return sorted(tops - allowed) if within(name, "nodes") else []


def pack_uses_no_network(name: str, source: str) -> list[str]:
    """Nothing is fetched or sent behind the user's back: by two commands, which nothing imports. What the editor asks
    the host's own server is answered there."""
    if within(name, DOWNLOAD, BATCH, ROUTES):
        return []
    if commands := [target for target, _ in imports(name, source) if within(target, DOWNLOAD, BATCH)]:
        return commands
    return [top for target, _ in imports(name, source) if (top := target.split(".")[0]) in NETWORK]


def lengths_take_no_tensors(name: str, source: str) -> list[str]:
    """Arithmetic of lengths and plain data is usable, and testable, without torch."""
    if name not in WITHOUT_TENSORS:
        return []
    return [target for target, _ in imports(name, source) if within(target, *THIRD_PARTY)]


def network_knows_no_task(name: str, source: str) -> list[str]:
    """unitalking/model/ never sees schedules, guidance, files, codecs or training."""
    if not within(name, "unitalking.model"):
        return []
    return [target for target, _ in imports(name, source) if within(target, *NOT_FOR_THE_NETWORK)]


def nobody_imports_upwards(name: str, source: str) -> list[str]:
    """unitalking/ never imports nodes/; only the workshop imports the workshop, and Check Clip what judges; data
    making none of the others."""
    found = [target for target, _ in imports(name, source)]
    above = [target for target in found if within(name, "unitalking") and within(target, "nodes")]
    closed = WORKSHOP if not within(name, *WORKSHOP) else ()
    closed = WORKSHOP[1:] if within(name, "unitalking.synthetic") else closed
    closed = [room for room in closed if room != "unitalking.evaluation"] if name == CHECK else closed
    return above + [target for target in found if within(target, *closed)]


def pure_part_does_not_print(name: str, source: str) -> list[str]:
    """Only a command line (`__main__`, and the one that fetches) prints."""
    if not within(name, "unitalking") or name.endswith(".__main__") or name == DOWNLOAD:
        return []
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [f"line {node.lineno}" for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


def names_say_what_is_inside(name: str, source: str) -> list[str]:
    """No module of leftovers."""
    return [part for part in name.split(".") if part in ("utils", "util", "helpers", "misc", "common")]


RULES: dict[Rule, list[tuple[str, str]]] = {
    imports_ours_relatively: [
        ("nodes.sampler", "from unitalking.flow import shift"),
        ("unitalking.flow", "import unitalking.timeline"),
    ],
    pure_part_takes_only_its_libraries: [
        ("unitalking.flow", "def f():\n    import comfy.utils"),
        ("unitalking.codec.mel", "from PIL import Image"),
        ("unitalking.types", "import einops"),
        ("unitalking.types", "import nodes"),
        ("unitalking.training.loop", "import folder_paths"),
        ("unitalking.training.prepare.encoders", "import comfy.sd"),
        (HOST_ENCODERS, "import folder_paths"),
    ],
    nodes_add_no_dependency: [("nodes.output", "import cv2")],
    pack_uses_no_network: [
        ("nodes.loaders", "from urllib.request import urlopen"),
        ("nodes.loaders", "from ..unitalking.download import fetch"),
        ("nodes.save", "from ..unitalking.batch.server import Server"),
        ("unitalking.client.outcome", "import aiohttp"),
    ],
    lengths_take_no_tensors: [("unitalking.timeline", "from torch import Tensor")],
    network_knows_no_task: [
        ("unitalking.model.block", "from ..flow import shift"),
        ("unitalking.model.__init__", "from ..codec.mel import Mel"),
        ("unitalking.model.block", "from .. import guidance"),
    ],
    nobody_imports_upwards: [
        ("unitalking.flow", "from ..nodes.adapter import Adapter"),
        ("unitalking.checkpoint.files", "from ..training import loop"),
        ("nodes.loaders", "from ..unitalking.training.loop import run"),
        ("unitalking.codec.mel", "from ..synthetic import clips"),
        ("unitalking.synthetic.clips", "from ..training import loop"),
    ],
    pure_part_does_not_print: [("unitalking.flow", "def f():\n    print(1)")],
    names_say_what_is_inside: [("unitalking.utils", ""), ("nodes.helpers", "")],
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_pack_keeps_the_rule(rule: Rule) -> None:
    broken = {name: found for name, source in modules() if (found := rule(name, source))}
    assert not broken, rule.__doc__


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [(rule, *case) for rule, cases in RULES.items() for case in cases],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_rule_refuses_what_breaks_it(rule: Rule, name: str, source: str) -> None:
    assert rule(name, source)


def test_rules_accept_what_the_design_wants() -> None:
    accepted = [
        ("unitalking.model.block", "import torch\nfrom .attention import attend\nfrom ..types import Stream"),
        ("unitalking.checkpoint.__main__", "print('saved')"),
        (HOST_ENCODERS, "def load():\n    import comfy.sd"),
        ("unitalking.training.loop", "import av\nfrom . import data\nfrom ..model.transformer import UniTalking"),
        ("unitalking.evaluation.words", "import transformers\nfrom ..synthetic import clips"),
        ("nodes.sampler", "import comfy.samplers\nfrom ..unitalking.flow import shift\nfrom .run import Run"),
        ("unitalking.speech_timing", "import math\nfrom .timeline import frames"),
    ]
    assert not [(rule.__name__, case) for case in accepted for rule in RULES if rule(*case)]


def test_every_part_of_the_pack_is_read() -> None:
    names = {name for name, _ in modules()}
    assert {"unitalking.config", "unitalking.model.__init__", "nodes.__init__"} <= names


def top_level_names(source: str) -> set[str]:
    """Every name that a module binds outside of functions and classes."""
    bound = set()
    pending = list(ast.parse(source).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If | ast.Try | ast.With):
            pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        else:
            bound |= {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    return bound


def test_root_hands_over_the_entry_point_and_nothing_else() -> None:
    names = top_level_names((ROOT / "__init__.py").read_text(encoding="utf-8"))
    assert names - {"__all__"} == {"comfy_entrypoint", "WEB_DIRECTORY"}


def test_another_name_in_the_root_would_be_seen() -> None:
    source = "if __package__:\n    from .nodes import comfy_entrypoint, NODE_CLASS_MAPPINGS\nimport torch\nX = 1"
    assert top_level_names(source) == {"comfy_entrypoint", "NODE_CLASS_MAPPINGS", "torch", "X"}
