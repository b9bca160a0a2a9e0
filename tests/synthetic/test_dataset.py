"""The command that writes a set of clips: the same bytes with any number of workers, resumable, lossless."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from unitalking.synthetic import SyntheticClips, SyntheticConfig, speech
from unitalking.synthetic import __main__ as command
from unitalking.synthetic.sheet import contact_sheet

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--clips", "5", "--shard-clips", "2", "--size", "32", "--longest", "2")


def run(folder: Path, *options: str) -> int:
    return command.main([str(folder), *OPTIONS, *options])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def written(espeak_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    assert run(folder) == 0
    return folder


def test_any_number_of_workers_writes_the_same_bytes(written: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "unitalking.synthetic", str(tmp_path / "three"), *OPTIONS, "--workers", "3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "three") == digests(written)
    assert len(digests(written)) == 4


def test_an_interrupted_run_keeps_what_is_finished(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "clips-000001.tar"
    tmp_path.joinpath("config.json").write_bytes(written.joinpath("config.json").read_bytes())
    kept.write_bytes(b"finished before")
    tmp_path.joinpath("clips-000000.part").write_bytes(b"half a shard")
    assert run(tmp_path) == 0
    assert capsys.readouterr().out.startswith("2 of 5 clips")
    assert kept.read_bytes() == b"finished before"
    for name in ("clips-000000.tar", "clips-000002.tar"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_another_config_does_not_mix_into_a_folder(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = digests(written)
    assert run(written, "--seed", "3") == 1
    assert "clips of another config" in capsys.readouterr().err
    assert digests(written) == before


def test_files_hold_the_clip_without_loss(written: Path) -> None:
    clips = SyntheticClips(SyntheticConfig(clips=5, size=32, longest_s=2.0))
    clip = clips.clip(3)
    with tarfile.open(written / "clips-000001.tar") as shard:
        assert shard.getnames() == [
            f"0000000{number}.{ending}" for number in (2, 3) for ending in ("json", "mkv", "wav")
        ]
        files = {ending: shard.extractfile(f"00000003.{ending}").read() for ending in ("json", "mkv", "wav")}
    with av.open(io.BytesIO(files["mkv"])) as video:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
        assert video.streams.video[0].average_rate == 24
    assert np.array_equal(frames, clip.frames.numpy())
    with wave.open(io.BytesIO(files["wav"])) as sound:
        assert sound.getframerate() == 16000
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
    assert np.array_equal(samples, clip.samples.numpy() * 32768)
    about = json.loads(files["json"])
    assert (about["speech"], about["scene"], about["speaker"]) == (clip.speech, clip.scene, clip.speaker)
    assert about["frames"] == len(about["openness"]) == len(frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "50"), "multiple of 32"),
        (("--shortest", "9"), "shortest_s, longest_s"),
        (("--workers", "0"), "workers"),
        (("--vocabulary", "unseen"), "held_out"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert run(tmp_path, *options) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_espeak_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    speech.espeak.cache_clear()
    assert run(tmp_path) == 1
    assert "pip install -r requirements-train.txt" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.tar"))


def test_a_sheet_shows_frames_over_their_sound(clips: SyntheticClips) -> None:
    sheet = contact_sheet(clips, 2)
    assert isinstance(sheet, Image.Image)
    assert sheet.size == (12 * 64, 2 * (64 + 64))
    pixels = np.asarray(sheet)
    assert pixels[:64].std() > 20
    assert len(np.unique(pixels[64:128])) > 50
