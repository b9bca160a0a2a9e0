"""The command that writes a set of clips: the same bytes with any number of workers, resumable, lossless."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from unitalking.synthetic import SyntheticClips, SyntheticConfig, dataset
from unitalking.synthetic.sheet import contact_sheet

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--clips", "5", "--shard-clips", "2", "--size", "32", "--longest", "2")


def run(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "unitalking.synthetic", str(folder), *OPTIONS, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def written(espeak_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_any_number_of_workers_writes_the_same_bytes(written: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "three", "--workers", "3")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "three") == digests(written)
    assert len(digests(written)) == 4


def test_an_interrupted_run_keeps_what_is_finished(written: Path, tmp_path: Path) -> None:
    config = SyntheticConfig(clips=5, size=32, longest_s=2.0)
    kept = tmp_path / "clips-000001.tar"
    tmp_path.joinpath("config.json").write_bytes(written.joinpath("config.json").read_bytes())
    kept.write_bytes(b"finished before")
    tmp_path.joinpath("clips-000000.part").write_bytes(b"half a shard")
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 of 5 clips")
    assert kept.read_bytes() == b"finished before"
    for name in ("clips-000000.tar", "clips-000002.tar"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()
    assert not list(tmp_path.glob("*.part"))
    assert config == SyntheticConfig(clips=5, size=32, longest_s=2.0)


def test_another_config_does_not_mix_into_a_folder(written: Path) -> None:
    before = digests(written)
    done = run(written, "--seed", "3")
    assert done.returncode == 1
    assert "clips of another config" in done.stderr
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
def test_wrong_options_are_told_in_one_line(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    done = run(tmp_path, *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_espeak_the_command_says_what_to_install(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "espeakng_loader.py").write_text("raise ImportError('not here')\n")
    source = (
        f"import sys; sys.path.insert(0, {str(blocked)!r})\n"
        f"sys.argv = ['synthetic', {str(tmp_path / 'out')!r}, '--clips', '2', '--sheet']\n"
        "import runpy; runpy.run_module('unitalking.synthetic', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install -r requirements-train.txt" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sheet_shows_frames_over_their_sound(clips: SyntheticClips) -> None:
    sheet = contact_sheet(clips, 2)
    assert isinstance(sheet, Image.Image)
    assert sheet.size == (12 * 64, 2 * (64 + 64))
    pixels = np.asarray(sheet)
    assert pixels[:64].std() > 20
    assert len(np.unique(pixels[64:128])) > 50


def test_half_written_shards_are_never_taken_for_whole(espeak_installed: None, tmp_path: Path) -> None:
    config = SyntheticConfig(clips=3, size=32, longest_s=2.0)
    with pytest.raises(ValueError, match="workers"):
        next(dataset.write_shards(tmp_path, config, 0))
    assert not list(tmp_path.iterdir())
