"""The archive that users install: what is in it, and that it is enough."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import pack as packer
import pytest
from build_cache import SetupError
from comfyui import ComfyUI
from graphs import fetch

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("assets", "locales", "models", "nodes", "subgraphs", "unitalking", "web", "workflows")
HELP = "web/docs"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
COMMAND = re.compile(r"python -m (unitalking[\w.]*\w)")
# The registry's users get a folder of the project's name, and not of the repository's.
FOLDER = "unitalking"
# Whatever `ip` needs, only loopback is there.
OFFLINE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')


def git(*arguments: str) -> list[str]:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return [name for name in run.stdout.split("\0") if name] if run.returncode == 0 else []


def repository_files() -> set[str]:
    """What git tracks; in a copy without git, everything."""
    names = git("ls-files", "-z") or [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*")]
    return {name for name in names if (ROOT / name).is_file() and "__pycache__" not in name}


def packed_files(empty: Path) -> list[str]:
    """What comfy-cli packs: the repository's files but for those that .comfyignore names."""
    subprocess.run(["git", "init", "--quiet", "--bare", empty], check=True)
    anew = ("--git-dir", str(empty), "--work-tree", str(ROOT), "-c", "core.bare=false")
    kept = git(*anew, "ls-files", "-z", "--others", "--exclude-from", ".comfyignore")
    return sorted(repository_files().intersection(kept))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the packed files, from the repository's root."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed, and comfy-cli packs what git tracks")
    return packed_files(tmp_path_factory.mktemp("empty") / "git")


@pytest.fixture(scope="module")
def installed(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack as a user has it: in the custom_nodes folder of a ComfyUI, without the repository around it."""
    folder = tmp_path_factory.mktemp("installed") / "custom_nodes" / FOLDER
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def python(installed: Path, comfyui_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs this Python in the installed pack's folder, cut off from the network; its standard output."""
    if subprocess.run([*OFFLINE, "true"], capture_output=True).returncode:
        pytest.skip("this system does not let `unshare` and `ip` cut a process off from the network")
    routes = subprocess.run([*OFFLINE, "cat", "/proc/net/route"], capture_output=True, text=True, check=True)
    assert len(routes.stdout.splitlines()) == 1, "the network is not cut off"
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    cache = tmp_path_factory.mktemp("cache")
    variables |= {
        "COMFYUI_PATH": str(comfyui_path),
        "UNITALKING_PYTHON": sys.executable,
        "UNITALKING_CACHE": str(cache),
    }

    def run(*arguments: object) -> str:
        command = [*OFFLINE, sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=installed, env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def test_the_archive_has_all_of_what_runs_and_nothing_of_what_tests(files: list[str]) -> None:
    folders = {name for name in FOLDERS if (ROOT / name).is_dir()}
    assert {name for name in repository_files() if name.split("/")[0] in folders} - set(files) == set()
    assert {name.split("/")[0] for name in files if "/" in name} == {*folders, "docs", "scripts"}
    assert {name for name in files if "/" not in name} == {
        *("README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "requirements.txt", "requirements-train.txt"),
        *("__init__.py", "node_list.json"),
    }
    assert sum((ROOT / name).stat().st_size for name in files) < 60e6


def test_the_scripts_are_the_demo_and_what_it_imports(files: list[str]) -> None:
    found, waiting = set(), ["demo"]
    while waiting:
        name = waiting.pop()
        # What installs packages is for a clone, not for an archive of a registry that does not allow it.
        if name in found or name == "environment_build" or not (ROOT / "scripts" / f"{name}.py").is_file():
            continue
        found.add(name)
        for node in ast.walk(ast.parse((ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                waiting.append(node.module)
    assert {name for name in files if name.startswith("scripts/")} == {f"scripts/{name}.py" for name in found}


def test_no_document_of_the_archive_links_to_a_file_that_is_not_in_it(files: list[str]) -> None:
    missing = []
    for name in [name for name in files if name.endswith(".md")]:
        folder = HELP if name.startswith(HELP) else Path(name).parent  # where the editor looks, in any language
        for target in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
            path = os.path.normpath(Path(folder) / target)
            if "://" not in target and path not in files:
                missing.append(f"{name}: {target}")
    assert missing == []


def test_the_installed_folder_serves_nodes_help_examples_and_the_model(installed: Path, comfyui_path: Path) -> None:
    with ComfyUI(
        comfyui_path, installed.parents[1], extra_args=("--cpu", "--whitelist-custom-nodes", FOLDER)
    ) as server:
        ours = {name: i for name, i in server.object_info().items() if i["python_module"] == f"custom_nodes.{FOLDER}"}
        examples = server.get("/workflow_templates")[FOLDER]
        helped = [fetch(server, f"/extensions/{FOLDER}/docs/{name}.md") for name in ours]
    assert set(ours) == set(json.loads((installed / "node_list.json").read_text(encoding="utf-8")))
    assert all(helped)
    assert set(examples) == {path.stem for path in (installed / "workflows").glob("*.json")}
    models = ours["UniTalkingModelLoader"]["input"]["required"]["model"][1]["options"]
    assert models == ["unitalking_embedded.safetensors"]


def test_the_demo_and_the_judges_need_nothing_but_the_archive(python: Callable[..., str], tmp_path: Path) -> None:
    said = python("scripts/demo.py", "--out", tmp_path / "made", "--speech", "Good morning, the river is near.")
    clip = Path(said.splitlines()[-1])
    with av.open(str(clip)) as file:
        (video,), (audio,) = file.streams.video, file.streams.audio
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert float(video.duration * video.time_base) > 1
    clip.with_suffix(".json").write_text(json.dumps({"speech": "Good morning, the river is near."}))
    result = tmp_path / "table.json"
    python("-m", "unitalking.evaluate", clip.parent, "--out", result)
    assert str(clip.stem) in result.read_text(encoding="utf-8")


def test_every_command_that_the_documents_name_starts(python: Callable[..., str], files: list[str]) -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in files if name.endswith(".md")]
    commands = sorted({command for text in texts for command in COMMAND.findall(text)})
    assert {"unitalking.training", "unitalking.evaluate", "unitalking.checkpoint"} < set(commands)
    started = (
        "import runpy, sys\n"
        "for name in sys.argv[1:]:\n"
        "    sys.argv = [name, '--help']\n"
        "    try:\n"
        "        runpy.run_module(name, run_name='__main__', alter_sys=True)\n"
        "    except SystemExit as end:\n"
        "        print('started', name, end.code)\n"
    )
    said = python("-c", started, *commands)
    assert [line for line in said.splitlines() if line.startswith("started ")] == [f"started {n} 0" for n in commands]


def test_the_models_command_reads_the_model_of_the_archive(python: Callable[..., str]) -> None:
    assert "UniTalking" in python("-m", "unitalking.checkpoint", "inspect", "models/unitalking_embedded.safetensors")


def test_comfy_cli_validates_the_pack_without_a_warning_and_packs_these_files(files: list[str], tmp_path: Path) -> None:
    try:
        archive = packer.pack(tmp_path / "node.zip")
    except SetupError as error:
        pytest.skip(f"comfy-cli cannot be installed here: {error}")
    with zipfile.ZipFile(archive) as content:
        assert sorted(content.namelist()) == files
