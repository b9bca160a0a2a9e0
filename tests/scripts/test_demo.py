"""The demo's options, what they change in a workflow, and what it says. Nothing is started here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import demo
import pytest
from comfyui_events import Event
from demo_progress import Progress

from unitalking.client.workflow import WorkflowError, to_prompt

LOADERS = {
    kind: {"input": {"required": {name: [[], {}]}}, "output": [kind[4:].upper()], "output_name": [kind[4:].upper()]}
    for kind, name in (("LoadImage", "image"), ("LoadAudio", "audio"))
}
SEED = {"default": 0, "control_after_generate": True}
OBJECT_INFO: dict[str, Any] = {
    **LOADERS,
    "UniTalkingModelLoader": {"input": {"required": {"model": [["tiny.safetensors"]]}}},
    "UniTalkingTextPrompt": {"input": {"required": {"model": ["MODEL"], "speech": ["STRING", {"default": ""}]}}},
    "UniTalkingPortrait": {"input": {"required": {"fit": [["crop"]]}, "optional": {"image": ["IMAGE"]}}},
    "UniTalkingEncodeVoiceReference": {"input": {"optional": {"audio": ["AUDIO"]}}},
    "UniTalkingJointSampler": {
        "input": {"required": {"seed": ["INT", SEED], "steps": ["INT", {"default": 0}]}},
        "display_name": "Joint Flow Sampler",
    },
}


def workflow(*, without: tuple[str, ...] = ()) -> dict[str, Any]:
    values = {
        "UniTalkingModelLoader": ["tiny.safetensors"],
        "UniTalkingTextPrompt": ["Hello."],
        "UniTalkingPortrait": ["crop"],
        "UniTalkingEncodeVoiceReference": [],
        "UniTalkingJointSampler": [1, "fixed", 0],
    }
    kinds = [kind for kind in values if kind not in without]
    nodes = [{"id": number, "type": kind, "widgets_values": values[kind]} for number, kind in enumerate(kinds, 1)]
    return {"nodes": nodes, "links": []}


@pytest.fixture(autouse=True)
def one_workflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with one workflow of the default name."""
    monkeypatch.setattr(demo, "WORKFLOWS", tmp_path)
    (tmp_path / "talking_portrait_voice.json").write_text("{}")


def adapted(arguments: list[str], **kwargs: Any) -> dict[str, Any]:
    """The prompt after the options, by class."""
    graph = workflow(**kwargs)
    demo.adapt(graph, demo.parse(arguments), OBJECT_INFO, lambda path, name: name)
    prompt = to_prompt(graph, OBJECT_INFO)
    return {node["class_type"]: {"id": number, **node["inputs"]} for number, node in prompt.items()}


def test_without_options_the_workflow_runs_as_it_is() -> None:
    graph = workflow()
    demo.adapt(graph, demo.parse([]), OBJECT_INFO, lambda path, name: name)
    assert graph == workflow()


def test_values_reach_their_nodes() -> None:
    nodes = adapted(["--speech", "Good day.", "--steps", "3", "--seed", str(2**64 - 1)])
    assert nodes["UniTalkingTextPrompt"]["speech"] == "Good day."
    assert nodes["UniTalkingJointSampler"] == {"id": "5", "seed": 2**64 - 1, "steps": 3}


def test_seed_zero_is_a_seed() -> None:
    assert adapted(["--seed", "0"])["UniTalkingJointSampler"]["seed"] == 0


def test_files_are_uploaded_and_wired(tmp_path: Path) -> None:
    for name in ("My face.JPG", "me.wav", "own.safetensors"):
        (tmp_path / name).touch()
    options = ["--portrait", str(tmp_path / "My face.JPG"), "--voice", str(tmp_path / "me.wav")]
    nodes = adapted([*options, "--model", str(tmp_path / "own.safetensors")])
    assert nodes["LoadImage"]["image"] == "portrait.JPG"
    assert nodes["UniTalkingPortrait"]["image"] == [nodes["LoadImage"]["id"], 0]
    assert nodes["LoadAudio"]["audio"] == "voice.wav"
    assert nodes["UniTalkingEncodeVoiceReference"]["audio"] == [nodes["LoadAudio"]["id"], 0]
    assert Path(nodes["UniTalkingModelLoader"]["model"]) == Path("demo/own.safetensors")


def test_option_that_the_workflow_has_no_node_for_is_named(tmp_path: Path) -> None:
    (tmp_path / "me.png").touch()
    with pytest.raises(WorkflowError, match="no UniTalkingPortrait node"):
        adapted(["--portrait", str(tmp_path / "me.png")], without=("UniTalkingPortrait",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workflow", "nope"], "there is no workflow 'nope'; there are: talking_portrait_voice"),
        (["--portrait", "nope.png"], "nope.png is not a file"),
        (["--steps", "0"], "'0' is not a whole number from 1 to 1000"),
        (["--seed", "-1"], "'-1' is not a whole number from 0 to 18446744073709551615"),
    ],
)
def test_wrong_option_is_refused_at_once(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        demo.parse(arguments)
    assert message in capsys.readouterr().err


def test_result_never_takes_the_place_of_another(tmp_path: Path) -> None:
    made = tmp_path / "made.mp4"
    made.write_bytes(b"new")
    options = demo.parse(["--out", str(tmp_path)])
    assert demo._keep(made, options).name == "talking_portrait_voice_00001.mp4"
    assert demo._keep(made, options).name == "talking_portrait_voice_00002.mp4"
    assert not list(tmp_path.glob("*.part"))


def test_output_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert demo.main(["--comfyui", str(tmp_path), "--out", str(tmp_path / "file" / "x")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--out" in line


def test_comfyui_that_cannot_start_is_one_line_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNITALKING_CACHE", str(tmp_path / "cache"))
    (tmp_path / "main.py").write_text("raise SystemExit('broken on purpose')")
    assert demo.main(["--comfyui", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("Error: ComfyUI ended with status 1.")
    assert "broken on purpose" in (tmp_path / "cache" / "demo.log").read_text()


def test_progress_says_stage_step_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    prompt = {"5": {"class_type": "UniTalkingJointSampler", "inputs": {}}}
    progress = Progress(prompt, OBJECT_INFO)
    progress(Event("executing", {"node": "5"}))
    for step in range(1, 4):
        progress(Event("text", {"node": "5", "text": f"2 passes, 1 GB\nstep {step} of 3"}))
        progress(Event("progress", {"node": "5", "value": step, "max": 3}))
    progress(Event("execution_success", {}))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["Joint Flow Sampler ...", "  2 passes, 1 GB"]
    assert lines[-2:] == ["Joint Flow Sampler: 3 of 3", "Done."]
    assert lines.count("  2 passes, 1 GB") == 1
