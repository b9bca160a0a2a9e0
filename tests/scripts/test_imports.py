"""What tests/conftest.py promises about imports."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_repository_root_is_not_on_the_path() -> None:
    assert ROOT not in [Path(entry).resolve() for entry in sys.path]


def test_unitalking_is_this_checkouts() -> None:
    import unitalking

    assert Path(unitalking.__file__).resolve() == ROOT / "unitalking" / "__init__.py"


def test_nodes_stays_comfyuis_beside_the_pack(pack: Callable[[str], ModuleType], comfy_imports: Path) -> None:
    import nodes

    assert Path(nodes.__file__).resolve() == (comfy_imports / "nodes.py").resolve()
    assert Path(pack("nodes").__file__).resolve() == ROOT / "nodes" / "__init__.py"


def test_pytest_does_not_import_the_pack_as_a_test_package(request: pytest.FixtureRequest) -> None:
    assert [type(node) for node in request.node.iter_parents() if node.path == ROOT][:1] == [pytest.Dir]
