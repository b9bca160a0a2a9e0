"""`python -m unitalking.training.embedded`: the model that the pack carries, from nothing.

Codecs, data sets, speech, speech with pictures, the file: every step is a command that can be run by itself, and one
that is complete is not done again; interrupted, the same command goes on. Needs nothing but this pack and
requirements-train.txt, no downloads. docs/embedded_model.md has what came of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from .jobs import Job, run_jobs
from .result import ABOUT_KEY
from .settings import TrainingError
from .start import read_tensors

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "models" / "unitalking_embedded.safetensors"
CODECS = "embedded_codecs"


@dataclass(frozen=True)
class Plan:
    """What one of the two recipes does.

    Attributes:
        vocoder: recipes of the vocoder, one after the other.
        speech, joint: recipes of the two stages.
        spoken, faces: synthetic data sets of the stages, without and with pictures.
    """

    vocoder: tuple[str, ...]
    speech: str
    joint: str
    spoken: str
    faces: str


PLANS = {
    "embedded_cpu": Plan(
        ("embedded_vocoder",),
        "embedded_cpu_speech",
        "embedded_cpu_joint",
        "clips=12000,vocabulary=common",
        "clips=3500,vocabulary=common",
    ),
    "embedded": Plan(
        ("embedded_vocoder", "embedded_vocoder_gan"),
        "embedded_speech",
        "embedded_joint",
        "clips=60000,vocabulary=open",
        "clips=20000,vocabulary=open",
    ),
}


def jobs_of(plan: Plan, runs: Path, data: Path, changes: list[str], processes: int) -> list[Job]:
    """The commands of a plan, each after those that it needs.

    Args:
        plan: which.
        runs: folder of the runs.
        data: folder of the data sets.
        changes: `RECIPE:key=value`, what a run has different.
        processes: of the two stages and of making data.
    """

    def training(name: str, *more: str) -> tuple[str, ...]:
        own = [text.partition(":")[2] for text in changes if text.partition(":")[0] == name]
        return ("unitalking.training", name, f"folder={runs / name}", *more, *own)

    def module(*command: str) -> tuple[str, ...]:
        return (sys.executable, "-m", *command)

    bundle = runs / CODECS / "bundle.safetensors"
    audio_vae, video_vae = runs / "embedded_audio_vae/audio_vae.safetensors", runs / "embedded_video_vae"
    jobs = [Job("embedded_audio_vae", module(*training("embedded_audio_vae")))]
    before: list[str] = []
    for name in plan.vocoder:
        more = [] if not before else [f"start={runs / before[-1] / 'vocoder.safetensors'}", f"audio_vae={audio_vae}"]
        needs = ("embedded_audio_vae", *before[-1:]) if before else ()
        jobs.append(Job(name, module(*training(name, *more)), needs))
        before.append(name)
    jobs.insert(1, Job("embedded_video_vae", module(*training("embedded_video_vae"))))
    parts = {
        "--audio-vae": audio_vae,
        "--vocoder": runs / before[-1] / "vocoder.safetensors",
        "--video-vae": video_vae / "video_vae.safetensors",
        "--out": bundle,
    }
    given = [text for option, path in parts.items() for text in (option, str(path))]
    needs = ("embedded_audio_vae", "embedded_video_vae", before[-1])
    jobs.append(Job(CODECS, module("unitalking.training.assemble", *given), needs))

    prepare = ("unitalking.training.prepare", "--model", str(bundle), "--workers", str(processes))
    spoken, faces = data / plan.speech, data / plan.joint
    jobs.append(
        Job("spoken", module(*prepare, f"synthetic:{plan.spoken}", str(spoken), "--audio-only"), (CODECS,), True)
    )
    jobs.append(Job("faces", module(*prepare, f"synthetic:{plan.faces}", str(faces)), (CODECS,), True))
    launch = ("torch.distributed.run", "--standalone", "--nproc_per_node", str(processes))
    stages = {
        plan.speech: (f"data={spoken}", f"model.codecs={bundle}"),
        plan.joint: (f"data={faces}", f"model.start={runs / plan.speech / 'model.safetensors'}"),
    }
    needed = ("spoken", "faces")
    for name, more in stages.items():
        jobs.append(Job(name, module(*launch, "-m", *training(name, *more)), needed, True))
        needed = (name,)
    return jobs


def publish(trained: Path, path: Path, about: dict[str, str]) -> int:
    """The model file of a run under its final name, with more said of where it is from.

    Args:
        trained: what a run left.
        path: where to; replaced at once or not at all.
        about: added to what the run says in the metadata.

    Returns:
        Bytes written.

    Raises:
        OSError, SafetensorError: a file that cannot be read or written.
    """
    tensors, metadata = read_tensors(trained)
    metadata[ABOUT_KEY] = json.dumps(json.loads(metadata[ABOUT_KEY]) | about)
    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        safetensors.torch.save_file(tensors, temporary, metadata)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path.stat().st_size


def commit() -> str:
    """The commit of this pack's folder, "-dirty" behind it where files differ; "unknown" outside of a clone."""
    found = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> int:
    """Parses, runs, publishes; the exit status."""
    parser = argparse.ArgumentParser("python -m unitalking.training.embedded", description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=PLANS, default="embedded_cpu", help="embedded needs a GPU, or many hours")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="the model file")
    parser.add_argument("--change", action="append", default=[], metavar="RECIPE:KEY=VALUE", help="for a run")
    parser.add_argument("--cores", type=int, default=0, help="processors to use (default: all, with a GPU 1)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    cores = given.cores or (1 if torch.accelerator.is_available() else os.cpu_count() or 1)
    plan = PLANS[given.recipe]
    try:
        jobs = jobs_of(plan, given.runs, given.data, given.change, cores)
        run_jobs(jobs, given.runs / "logs", cores, log.info, {"OMP_NUM_THREADS": "1"})
        about = {"plan": given.recipe, "commit": commit(), "spoken": plan.spoken, "faces": plan.faces}
        size = publish(given.runs / plan.joint / "model.safetensors", given.out, about)
    except (TrainingError, safetensors.SafetensorError, OSError) as error:
        log.error("Error: %s", error)
        return 1
    except KeyboardInterrupt:
        log.error("Interrupted; the same command goes on from here.")
        return 130
    log.info("%s: %.1f MB", given.out, size / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
