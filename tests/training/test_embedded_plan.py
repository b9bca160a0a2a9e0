"""The chain of commands that makes the pack's own model: order, failure, stopping, and that every command is valid."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

from tiny_model import TINY_MODEL

from unitalking.checkpoint.files import read_model, read_part
from unitalking.checkpoint.parts import build_part
from unitalking.codec.vocoder import Vocoder, VocoderConfig
from unitalking.training import assemble, embedded
from unitalking.training.jobs import Job, run_jobs
from unitalking.training.part_files import save_part
from unitalking.training.prepare.__main__ import parser as prepare_parser
from unitalking.training.recipe import load_recipe
from unitalking.training.result import ABOUT_KEY
from unitalking.training.settings import TrainingError
from unitalking.training.start import read_tensors

ROOT = Path(__file__).resolve().parents[2]


def job(name: str, code: str, *needs: str) -> Job:
    return Job(name, (sys.executable, "-c", code), needs)


def note(folder: Path, name: str, wait_s: float = 0.0) -> str:
    """Code that notes when it began and ended, in one file for all."""
    return (
        "import time\n"
        f"file = open({str(folder / 'notes')!r}, 'a', buffering=1)\n"
        f"file.write('+{name}\\n'); time.sleep({wait_s}); file.write('-{name}\\n')"
    )


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text().split()


def test_jobs_wait_for_what_they_need_and_for_processors(tmp_path: Path) -> None:
    jobs = [
        job("a", note(tmp_path, "a", 0.5)),
        job("b", note(tmp_path, "b", 1.5)),
        job("c", note(tmp_path, "c"), "a"),
        job("d", note(tmp_path, "d", 0.1), "b", "c"),
        job("e", note(tmp_path, "e"), "d"),
    ]
    said: list[str] = []
    run_jobs(jobs, tmp_path / "logs", 3, said.append)
    seen = notes(tmp_path)
    assert set(seen[:2]) == {"+a", "+b"}
    assert seen[2:] == ["-a", "+c", "-c", "-b", "+d", "-d", "+e", "-e"]
    assert said[-1].startswith("e: done after")


def test_one_at_a_time_where_there_is_one_processor(tmp_path: Path) -> None:
    run_jobs([job(name, note(tmp_path, name)) for name in "abc"], tmp_path / "logs", 1, lambda _: None)
    assert notes(tmp_path) == ["+a", "-a", "+b", "-b", "+c", "-c"]


def test_a_failure_stops_the_others_and_shows_its_log(tmp_path: Path) -> None:
    jobs = [
        job("slow", note(tmp_path, "slow", 60)),
        job("broken", "import time; time.sleep(0.5); raise SystemExit('no such voice')"),
        job("after", note(tmp_path, "after"), "broken"),
    ]
    began = time.monotonic()
    with pytest.raises(TrainingError, match=r"(?s)broken failed with status 1.*no such voice"):
        run_jobs(jobs, tmp_path / "logs", 2, lambda _: None)
    assert time.monotonic() - began < 30
    assert notes(tmp_path) == ["+slow"]


@pytest.mark.parametrize("name", embedded.PLANS)
def test_every_command_of_a_plan_is_valid(name: str, tmp_path: Path) -> None:
    plan = embedded.PLANS[name]
    changes = [f"{plan.joint}:trainer.steps=77", "embedded_video_vae:data.clips=3"]
    jobs = embedded.jobs_of(plan, tmp_path / "runs", tmp_path / "data", changes, 2)
    recipes = {}
    known: set[str] = set()
    for each in jobs:
        assert known.issuperset(each.needs), each.name
        known.add(each.name)
        command = list(each.command)
        if "unitalking.training" in command:
            recipe, *own = command[command.index("unitalking.training") + 1 :]
            recipes[recipe] = load_recipe(recipe, own)[1]
    parts = ("embedded_audio_vae", "embedded_video_vae", "embedded_text_encoder")
    heard = {plan.hearing} - {""}
    assert set(recipes) == {*parts, *plan.vocoder, *heard, plan.speech, plan.pictures, plan.joint}
    assert recipes[plan.joint].trainer.steps == 77
    assert recipes["embedded_video_vae"].data.clips == 3
    for change in plan.changes:
        recipe, _, steps = change.partition(":trainer.steps=")
        assert recipes[recipe].trainer.steps == (77 if recipe == plan.joint else int(steps))
    by_name = {each.name: each for each in jobs}
    spoken, faces = (
        prepare_parser().parse_args(made_by(by_name[f"{stage}_data"])) for stage in (plan.speech, plan.joint)
    )
    assert (spoken.audio_only, faces.audio_only) == (True, False)
    assert [spoken.source, faces.source] == [f"synthetic:{plan.spoken}", f"synthetic:{plan.faces}"]
    # Each reads what the one before leaves.
    bundle = by_name[embedded.CODECS].command[-1]
    assert bundle == spoken.model == faces.model == recipes[plan.speech].model.codecs
    assert (recipes[plan.speech].data, recipes[plan.joint].data) == (str(spoken.out), str(faces.out))
    assert recipes[plan.pictures].data == recipes[plan.joint].data
    assert recipes[plan.pictures].model.start == str(Path(recipes[plan.speech].folder) / "model.safetensors")
    assert recipes[plan.joint].model.start == str(Path(recipes[plan.pictures].folder) / "model.safetensors")
    text_encoder = Path(recipes["embedded_text_encoder"].folder) / "text_encoder.safetensors"
    assert recipes[plan.speech].model.text_encoder == str(text_encoder)
    assert recipes[plan.joint].hearing == (f"{recipes[plan.hearing].folder}/hearing.safetensors" if heard else "")
    for name in heard:
        assert (recipes[name].data, recipes[name].held_out) == (str(faces.out), str(spoken.out))
        assert recipes[name].model == recipes[plan.pictures].model.start
    audio_vae = str(Path(recipes["embedded_audio_vae"].folder) / "audio_vae.safetensors")
    assert audio_vae in by_name[embedded.CODECS].command
    starts = ["", *(str(Path(recipes[name].folder) / "vocoder.safetensors") for name in plan.vocoder)]
    assert [(recipes[name].audio_vae, recipes[name].start) for name in plan.vocoder] == [
        (audio_vae, start) for start in starts[:-1]
    ]


@pytest.mark.parametrize("name", embedded.PLANS)
def test_the_network_has_all_processors_once_nothing_else_is_left(name: str, tmp_path: Path) -> None:
    plan = embedded.PLANS[name]
    jobs = {each.name: each for each in embedded.jobs_of(plan, tmp_path, tmp_path, [], 2)}
    stages = [stage for stage in (plan.speech, plan.hearing, plan.pictures, plan.joint) if stage]
    for stage in stages:
        command = jobs[stage].command
        assert command[command.index("--nproc_per_node") + 1] == "2"

    def needed(name: str) -> set[str]:
        return set(jobs[name].needs).union(*map(needed, jobs[name].needs))

    assert needed(plan.speech) == set(jobs) - set(stages)
    assert needed(plan.joint) == set(jobs) - {plan.joint}


@pytest.mark.parametrize("cores", [1, 3, 6, 12, 20])
def test_a_batch_is_shared_evenly_whatever_the_number_of_processors(cores: int, tmp_path: Path) -> None:
    plan = embedded.PLANS["embedded_cpu"]
    jobs = {each.name: each.command for each in embedded.jobs_of(plan, tmp_path, tmp_path, [], cores)}
    for stage in (plan.speech, plan.pictures, plan.joint):
        command = jobs[stage]
        processes = int(command[command.index("--nproc_per_node") + 1])
        trainer = load_recipe(stage)[1].trainer
        assert trainer.batch_size % (trainer.accumulation * processes) == 0
        assert cores // 2 < processes <= cores


def made_by(job: Job) -> list[str]:
    return list(job.command[job.command.index("unitalking.training.prepare") + 1 :])


def test_the_plan_ends_with_the_model_and_the_trained_vocoder(tmp_path: Path) -> None:
    tensors, metadata = read_tensors(TINY_MODEL)
    about = {"recipe": {"trainer": {"seed": 5}}}
    save_file(tensors, tmp_path / "model.safetensors", metadata | {ABOUT_KEY: json.dumps(about)})
    config = VocoderConfig(80, (16, 16), (32, 32), 8, (3,), ((1,),))
    vocoder = Vocoder(config)
    save_part(tmp_path / "vocoder.safetensors", "vocoder", config, vocoder.state_dict(), 1)
    made = tmp_path / "models" / "made.safetensors"
    more = {"commit": "abc", "spoken": "clips=3"}
    size = embedded.publish(tmp_path / "model.safetensors", tmp_path / "vocoder.safetensors", made, more)
    assert size == made.stat().st_size
    after, metadata = read_tensors(made)
    assert json.loads(metadata[ABOUT_KEY]) == about | more
    codec = build_part(read_model(after, metadata, made.name).config, "audio_vae")
    codec.load_state_dict(read_part(after, metadata, "audio_vae", made.name)[1])
    assert codec.config.vocoder == config
    assert codec.config.refine_steps == embedded.REFINE_STEPS > 0
    mel = torch.randn(1, 80, 12)
    assert (codec.vocoder(mel) - vocoder(mel)).norm() < 1e-2 * vocoder(mel).norm()
    same = {name for name in after if name in tensors and torch.equal(after[name], tensors[name])}
    assert {name for name in tensors if ".vocoder." not in name} - same == {"unitalking.config"}
    assert [file.name for file in made.parent.iterdir()] == [made.name]


def test_the_command_reports_a_step_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = ["--runs", str(tmp_path / "runs"), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "m")]
    status = embedded.main([*folders, "--change", "embedded_audio_vae:no_such_key=1", "--cores", "1"])
    assert status == 1
    assert "embedded_audio_vae failed with status 1" in caplog.text
    assert "no_such_key" in caplog.text


def test_ended_from_outside_it_ends_its_jobs(tmp_path: Path) -> None:
    folders = ["--runs", str(tmp_path / "runs"), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "m")]
    command = [sys.executable, "-m", "unitalking.training.embedded", *folders, "--cores", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert "embedded_audio_vae: started" in process.stdout.readline()
        (child,) = psutil.Process(process.pid).children()
        process.terminate()
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "goes on from here" in rest
    assert not child.is_running()


def test_assemble_takes_what_the_plan_gives_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = embedded.PLANS["embedded_cpu"]
    jobs = {each.name: each for each in embedded.jobs_of(plan, tmp_path, tmp_path, [], 1)}
    command = list(jobs[embedded.CODECS].command)
    assert assemble.main(command[command.index("unitalking.training.assemble") + 1 :]) == 1
    assert "embedded_video_vae/video_vae.safetensors" in caplog.text
