"""Makes the pack importable for tests, without ever putting the repository root on `sys.path`.

The root holds a folder `nodes/`, and ComfyUI has a module `nodes.py`: with the root on `sys.path` every `import nodes`
inside ComfyUI would find ours. So three ways of importing stand side by side, each by file location:

- `import unitalking`: the pure PyTorch part, everywhere in the tests;
- `pack("nodes.adapter")`: the whole pack as ComfyUI sees it, as package `unitalking_pack`, inside a process that has
  ComfyUI's own modules (`comfy_imports`);
- `host`: a ComfyUI server in a process of its own, spoken to over HTTP.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from comfyui import ComfyUI

ROOT = Path(__file__).resolve().parent.parent
LOG_LINES = 60

sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
# At the end: `scripts/test.py` must not hide the standard library's `test`.
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests")]


from by_place import import_package  # noqa: E402 (needs the path)

import_package("unitalking", ROOT / "unitalking")


class RootIsNoTestPackage:
    """Keeps pytest from importing the pack's `__init__.py` as the package of the tests: it needs ComfyUI."""

    @pytest.hookimpl
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """The repository root as a plain folder; every other one as usual."""
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks, so that --strict-markers catches a misspelt one."""
    # Not a hook of this file: those are not asked about the folder above.
    config.pluginmanager.register(RootIsNoTestPackage())
    # A terminated run still ends its fixtures, and so the server that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "golden: compares with files of $UNITALKING_GOLDEN, skipped without them")
    config.addinivalue_line("markers", "slow: minutes, or needs what CI lacks; only run with -m slow")
    config.addinivalue_line("markers", "full_size: files of up to 23 GB; only run with -m full_size")
    config.addinivalue_line("markers", "host: runs a real ComfyUI server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever runs a server carries the mark `host`."""
    for item in items:
        if "host" in getattr(item, "fixturenames", ()) or ROOT / "tests" / "host" in item.path.parents:
            item.add_marker(pytest.mark.host)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test that used the server shows the end of the server's log."""
    report = yield
    server = getattr(item, "funcargs", {}).get("host")
    if report.failed and server is not None:
        report.sections.append((f"ComfyUI log, last {LOG_LINES} lines", server.log_tail(LOG_LINES)))
    return report


@pytest.fixture(scope="session")
def comfyui_path() -> Path:
    """The folder of ComfyUI; skips where none is given."""
    path = os.environ.get("COMFYUI_PATH", "")
    if not path:
        pytest.skip("COMFYUI_PATH is not set: `python scripts/test.py` sets it")
    if not (Path(path) / "comfy" / "options.py").is_file():
        pytest.fail(f"COMFYUI_PATH={path} is not a ComfyUI checkout: it has no comfy/options.py")
    return Path(path)


@pytest.fixture(scope="session")
def comfy_imports(comfyui_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes ComfyUI's modules (`comfy`, `nodes`, `folder_paths`, ...) importable here, on the CPU; its folder.

    ComfyUI reads `sys.argv` once, when `comfy.cli_args` is imported, and fixes its base directory with it.
    """
    sys.path.insert(0, str(comfyui_path))
    from tiny_model import add_tiny_model

    pytest_argv, base_directory = sys.argv, tmp_path_factory.mktemp("comfyui")
    add_tiny_model(base_directory)
    sys.argv = ["comfyui", "--cpu", "--base-directory", str(base_directory)]
    try:
        importlib.import_module("comfy.options").enable_args_parsing()
        importlib.import_module("comfy.cli_args")
        host_nodes = importlib.import_module("nodes")
    finally:
        sys.argv = pytest_argv
    if Path(host_nodes.__file__).resolve() != (comfyui_path / "nodes.py").resolve():
        pytest.fail(f"`import nodes` gave {host_nodes.__file__}, not ComfyUI's: is the repository root on sys.path?")
    return comfyui_path


@pytest.fixture(scope="session")
def pack(comfy_imports: Path) -> Callable[[str], ModuleType]:
    """`pack("nodes.adapter")` is that module of the pack, as package `unitalking_pack`; `pack("")` the pack itself."""
    import_package("unitalking_pack", ROOT)
    return lambda name: importlib.import_module(f"unitalking_pack.{name}" if name else "unitalking_pack")


@pytest.fixture(scope="session")
def host(comfyui_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    """A ComfyUI server with this checkout as its only custom node, an empty input folder and the tiny random model."""
    from comfyui import ComfyUI
    from tiny_model import add_tiny_model

    base_directory = tmp_path_factory.mktemp("host")
    add_tiny_model(base_directory)
    with ComfyUI(comfyui_path, base_directory) as server:
        yield server


@pytest.fixture
def upload(host: ComfyUI) -> Iterator[Callable[[Path], str]]:
    """Puts a file into the input folder of the running ComfyUI, which is empty again afterwards."""
    names: list[str] = []

    def put(path: Path) -> str:
        names.append(host.upload(path))
        return names[-1]

    yield put
    for name in names:
        (host.base_directory / "input" / name).unlink()
