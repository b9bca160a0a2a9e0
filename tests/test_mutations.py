"""Every known mistake is found by the tests that are there to find it (`mutations.py`)."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).with_name("mutations.py")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unitalking_mutations", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


mutations = load_script()
MISTAKES = {mistake.name: mistake for mistake in mutations.load_mistakes()}


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The verdict on every mistake that this run asks for; all in one process that imports PyTorch once."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    asked = [item.callspec.params["name"] for item in request.session.items if item.originalname == FOUND]
    result = tmp_path_factory.mktemp("mutations") / "verdicts.json"
    # -P: the folder of the script, which Python would put first on its path, holds names of ComfyUI's. For this process
    # alone: the servers that some tests start find their own folder there.
    command = [sys.executable, "-P", SCRIPT, "--json", result, *asked]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert result.exists(), done.stderr[-2000:]
    return json.loads(result.read_text(encoding="utf-8"))


FOUND = "test_mistake_is_found_by_its_tests"


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_found_by_its_tests(name: str, verdicts: dict[str, str]) -> None:
    if verdicts[name].startswith("skipped"):
        pytest.skip(verdicts[name])
    assert verdicts[name] == "found"


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_change_of_code_that_is_there(name: str) -> None:
    mistake = MISTAKES[name]
    text = (mutations.ROOT / mistake.file).read_text(encoding="utf-8")
    assert text.count(mistake.old) == 1
    assert mistake.new != mistake.old


def test_text_that_is_not_there_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    for old, count in (("x = 1", 2), ("y = 1", 0)):
        with pytest.raises(ValueError, match=f"a.py has {count} times, expected once"):
            mutations.Mistake("name", "a.py", old, "z", ("test",)).apply(tmp_path)


OUTCOMES = {"t.py::a": "passed", "t.py::b[1]": "passed", "t.py::b[2]": "failed", "t.py::c": "error: TypeError"}


@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        ("t.py::a", "passed"),
        ("t.py::b", "failed"),
        ("t.py::b[1]", "passed"),
        ("t.py::c", "error: TypeError"),
        ("t.py::d", "error: no such test"),
    ],
)
def test_worst_case_of_a_test_counts(test: str, outcome: str) -> None:
    assert mutations.of_test(OUTCOMES, test) == outcome


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ("passed", "failed", "found"),
        ("passed", "passed", "not found"),
        ("passed", "error: TypeError", "not found"),
        ("failed", "failed", "fails without the mistake"),
        ("skipped: no ComfyUI", "skipped: no ComfyUI", "skipped"),
    ],
)
def test_mistake_counts_as_found_only_by_an_assertion(before: str, after: str, verdict: str) -> None:
    mistake = mutations.Mistake("name", "a.py", "x", "y", ("t.py::a",))
    assert mutations.verdict(mistake, {"t.py::a": after}, {"t.py::a": before}).startswith(verdict)
