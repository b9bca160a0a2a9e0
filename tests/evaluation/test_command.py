"""`python -m unitalking.evaluate`, on real clips in the place of generated ones."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from unitalking.checkpoint.random_model import TINY, write_random
from unitalking.evaluate import main
from unitalking.evaluation.clips import JudgedClip
from unitalking.evaluation.write_clip import write_clip

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, real: list[JudgedClip]) -> Path:
    """Three clips, of two seeds."""
    folder = tmp_path_factory.mktemp("clips")
    for place, clip in enumerate(real[:3]):
        write_clip(folder, replace(clip, name=f"clip{place}", seed=place % 2))
    return folder


def test_a_folder_of_clips_becomes_a_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--out", str(tmp_path / "table.json")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("| figure | generated (n = 3) |")
    assert "| word error % |" in shown
    assert ", sd " in shown
    row = json.loads((tmp_path / "table.json").read_text())["rows"]["generated"]
    assert [clip["name"] for clip in row["clips"]] == ["clip0", "clip1", "clip2"]
    assert row["figures"]["sync correlation"]["value"] > 0.8
    assert set(row["figures"]["sync correlation"]["by_seed"]) == {"0", "1"}


def test_anchors_stand_beside_the_clips(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_random(tmp_path / "tiny.safetensors", TINY, 0)
    arguments = [str(folder), "--anchors", "--anchor-clips", "2", "--codec", str(tmp_path / "tiny.safetensors")]
    assert main([*arguments, "--name", "ours", "--out", str(tmp_path / "table.md")]) == 0
    head = (tmp_path / "table.md").read_text().splitlines()[0]
    assert head == "| figure | ours (n = 3) | real (n = 2) | real through the codec (n = 2) | shuffled pairs (n = 2) |"
    assert head in capsys.readouterr().out


def test_missing_full_size_judges_are_named_under_the_table(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--full-size", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"Sync-C and Sync-D need {tmp_path / 'syncnet_v2.model'}" in shown
    assert f"{tmp_path / 'whisper'}/" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: expected a folder of clips"),
        ([".", "--judges", "nowhere"], "no judge there"),
        ([".", "--full-size", "nowhere", "--judges", "nowhere"], "no judge there"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unitalking.evaluate", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "--full-size" in done.stdout
