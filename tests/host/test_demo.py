"""`python scripts/demo.py` from its command line to the MP4."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import av
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """A portrait and a voice clip: grey noise-free picture, a 3 s buzz with the rhythm of syllables."""
    portrait, voice = folder / "my portrait.png", folder / "my voice.wav"
    Image.new("RGB", (96, 128), (180, 150, 130)).save(portrait)
    rate = 16000
    with wave.open(str(voice), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        samples = [((index % 120) * 200 - 12000) * (index // 4000 % 4 != 3) for index in range(3 * rate)]
        file.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    return portrait, voice


def demo(folder: Path, comfyui_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command run in a folder."""
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--out", "made", "--steps", "2", *options]
    variables = {**os.environ, "UNITALKING_PYTHON": sys.executable, "COMFYUI_PATH": str(comfyui_path)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("option", "kind"), [("portrait", "picture"), ("voice", "sound")])
def test_a_file_that_is_none_is_named_as_it_was_given(
    tmp_path: Path, comfyui_path: Path, option: str, kind: str
) -> None:
    suffix = ".png" if option == "portrait" else ".wav"
    (tmp_path / f"mine{suffix}").write_text("neither")
    run = demo(tmp_path, comfyui_path, f"--{option}", f"mine{suffix}")
    assert run.returncode == 1
    assert f"--{option} {tmp_path / f'mine{suffix}'} cannot be read: give another {kind} file." in run.stderr


def test_a_model_of_a_kind_that_comfyui_does_not_list_is_named(tmp_path: Path, comfyui_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    run = demo(tmp_path, comfyui_path, "--model", "notes.txt")
    assert run.returncode == 1
    assert f"--model {tmp_path / 'notes.txt'} is not of a kind that ComfyUI lists as a model: give" in run.stderr


def test_demo_ends_with_an_mp4_of_what_was_asked_for(tmp_path: Path, comfyui_path: Path) -> None:
    portrait, voice = make_inputs(tmp_path)
    asked = ("--speech", "Good morning.", "--portrait", portrait.name, "--voice", voice.name)
    run = demo(tmp_path, comfyui_path, "--seed", "7", *asked)
    assert run.returncode == 0, run.stderr
    assert "Joint Flow Sampler: 2 of 2" in run.stderr
    (line,) = run.stdout.splitlines()
    assert Path(line).parent == tmp_path / "made"
    with av.open(line) as file:
        (video,), (audio,) = file.streams.video, file.streams.audio
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        lengths = [float(stream.duration * stream.time_base) for stream in (video, audio)]
        assert abs(lengths[0] - lengths[1]) <= 1 / float(video.average_rate)
        workflow, prompt = (json.loads(file.metadata[key]) for key in ("workflow", "prompt"))
    widgets = {node["type"]: node.get("widgets_values", []) for node in workflow["nodes"]}
    assert "Good morning." in widgets["UniTalkingTextPrompt"]
    inputs = {node["class_type"]: node["inputs"] for node in prompt.values()}
    assert (inputs["UniTalkingJointSampler"]["steps"], inputs["UniTalkingJointSampler"]["seed"]) == (2, 7)
    assert (inputs["LoadImage"]["image"], inputs["LoadAudio"]["audio"]) == ("portrait.png", "voice.wav")
