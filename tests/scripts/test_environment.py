"""Which Python and which ComfyUI win, and what is said when none can be had. Nothing large is installed here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import environment
import environment_build
import pytest
from build_cache import Lock, SetupError, cache_folder


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and nothing given by the caller's environment."""
    monkeypatch.setenv("UNITALKING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.delenv("UNITALKING_PYTHON", raising=False)


def fake_comfyui(folder: Path, version: str = environment_build.COMFYUI_VERSION) -> Path:
    folder.mkdir()
    (folder / "main.py").touch()
    (folder / "requirements.txt").write_text("# nothing\n")
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


def test_comfyui_path_wins_over_the_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = fake_comfyui(tmp_path / "mine")
    monkeypatch.setenv("COMFYUI_PATH", str(given))
    assert environment.comfyui() == given
    assert not cache_folder().exists()


def test_comfyui_path_to_something_else_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SetupError, match="is not a ComfyUI folder"):
        environment.comfyui()


def test_running_python_wins_if_it_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "HOST_MODULES", ("json", "torchaudio"))
    monkeypatch.setattr(environment, "TOOL_MODULES", ("pytest",))
    assert environment.python() == Path(sys.executable)
    assert not cache_folder().exists()


def test_what_only_the_tests_import_is_no_reason_to_refuse_a_python_for_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "HOST_MODULES", ("torchaudio",))
    monkeypatch.setattr(environment, "TOOL_MODULES", ("no_such_module",))
    monkeypatch.setenv("UNITALKING_PYTHON", sys.executable)
    try:
        assert environment.python(with_tools=False) == Path(sys.executable)
    except SetupError as error:
        pytest.fail(str(error))
    with pytest.raises(SetupError, match="cannot import no_such_module"):
        environment.python()


def test_an_installed_pack_takes_the_comfyui_around_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    around = fake_comfyui(tmp_path / "ComfyUI")
    monkeypatch.setattr(environment, "SCRIPTS", around / "custom_nodes" / "pack" / "scripts")
    interpreter = environment.python_of(around / ".venv")
    interpreter.parent.mkdir(parents=True)
    interpreter.symlink_to(sys.executable)
    assert environment.comfyui() == around
    assert environment._existing_pythons() == [Path(sys.executable), interpreter]
    given = fake_comfyui(tmp_path / "mine")
    monkeypatch.setenv("COMFYUI_PATH", str(given))
    assert environment.comfyui() == given


def test_an_installed_pack_fetches_nothing_and_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "environment_build", None)
    with pytest.raises(SetupError, match=r"fetches none: set COMFYUI_PATH .* and UNITALKING_PYTHON"):
        environment.comfyui()
    assert not cache_folder().exists()


def test_a_comfyui_that_cannot_be_fetched_is_named() -> None:
    with pytest.raises(SetupError, match=r"ComfyUI 9\.9\.9 cannot be fetched; these can: .*0\.27\.0, 0\.30\.0"):
        environment_build.comfyui("9.9.9")


def test_given_python_that_lacks_modules_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNITALKING_PYTHON", sys.executable)
    monkeypatch.setattr(environment, "HOST_MODULES", ("json", "no_such_module"))
    with pytest.raises(SetupError, match=r"cannot import no_such_module"):
        environment.python(with_tools=False)


def test_python_that_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNITALKING_PYTHON", str(tmp_path / "none"))
    with pytest.raises(SetupError, match="cannot be run"):
        environment.python()


def test_environment_is_built_again_only_when_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(fake_comfyui(tmp_path / "mine")))
    monkeypatch.setattr(environment, "HOST_MODULES", ("no_such_module",))
    monkeypatch.setattr(environment_build, "_FREE_GB", 0)
    pins = tmp_path / "requirements.txt"
    pins.write_text("# one\n")
    monkeypatch.setattr(environment_build, "REQUIREMENTS", pins)
    monkeypatch.setattr(environment_build, "TRAINING_REQUIREMENTS", pins)

    first = environment.python()
    made_at = first.lstat().st_mtime_ns
    assert subprocess.run([first, "-c", "print('up')"], capture_output=True, text=True, check=True).stdout == "up\n"
    assert environment.python() == first
    assert first.lstat().st_mtime_ns == made_at

    pins.write_text("# two\n")
    assert environment.python() != first

    pins.write_text("# one\n")
    first.unlink()
    assert environment.python() == first
    assert first.exists()


def test_constraints_apply_only_to_the_comfyui_they_were_made_for(tmp_path: Path) -> None:
    same = environment_build._host_requirements(fake_comfyui(tmp_path / "same"))
    other = environment_build._host_requirements(fake_comfyui(tmp_path / "other", "0.31.0"))
    assert same[-1] == environment_build.CONSTRAINTS
    assert environment_build.CONSTRAINTS not in other


def test_too_little_disk_says_how_much_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupError, match=r"needs 9 GB .* 3\.0 GB free.*UNITALKING_CACHE"):
        environment_build._build_python(tmp_path, Lock(-1), [])


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Temporary failure in name resolution", "check the network"),
        ("ERROR: Could not find a version (from versions: none); No matching distribution", "check the network"),
        ("ERROR: No matching distribution found for torch==9", "no such version"),
    ],
)
def test_failed_command_shows_its_output_and_what_to_do(output: str, hint: str, tmp_path: Path) -> None:
    failing = [sys.executable, "-c", f"print({output!r}); raise SystemExit(1)"]
    with Lock.held(tmp_path / "lock") as lock, pytest.raises(SetupError) as caught:
        environment_build._run(failing, tmp_path / "log", lock)
    assert output in str(caught.value)
    assert hint in str(caught.value)
    assert output in (tmp_path / "log").read_text()
