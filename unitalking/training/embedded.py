"""`python -m unitalking.training.embedded`: the model that the pack carries, from nothing.

Codecs, text encoder, data sets, speech, pictures, speech with pictures, the file: every step is a command that can be
run by itself, and one that is complete is not done again; interrupted, the same command goes on. Needs nothing but this
pack and requirements-train.txt, no downloads. docs/embedded_model.md has what came of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint.files import CheckpointError, read_model
from ..codec.audio_codec import AudioCodecConfig
from ..codec.vocoder import VocoderConfig
from ..mapping import from_mapping, to_mapping
from ..samples import EMBEDDED_MODEL
from .flow_run import MODEL_FILE
from .hearing_run import PART_FILE as HEARING_FILE
from .jobs import Job, run_jobs
from .part_files import load_part
from .recipe import load_recipe
from .result import ABOUT_KEY, write_bundle
from .settings import TrainerSettings, TrainingError
from .start import read_tensors
from .vocoder import PART_FILE as VOCODER_FILE

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
# A vocoder trained for hours loses low voices' harmonics; more rounds than this gave little.
REFINE_STEPS = 24
CODECS, TEXT_ENCODER = "embedded_codecs", "embedded_text_encoder"


@dataclass(frozen=True)
class Plan:
    """What one of the two recipes does.

    Attributes:
        vocoder: recipes of the vocoder, one after the other.
        speech, pictures, joint: recipes of the stages; pictures are learnt alone before they speak.
        spoken, faces: synthetic data sets, without pictures for the first stage and with them for the others.
        hearing: recipe of what listens to the last stage; "": nothing does.
        changes: `RECIPE:KEY=VALUE`, what this plan has different in the runs.
    """

    vocoder: tuple[str, ...]
    speech: str
    pictures: str
    joint: str
    spoken: str
    faces: str
    hearing: str = ""
    changes: tuple[str, ...] = ()


PLANS = {
    "embedded_cpu": Plan(
        ("embedded_vocoder",),
        "embedded_cpu_speech",
        "embedded_cpu_pictures",
        "embedded_cpu_joint",
        "clips=9000,longest_s=2.1,vocabulary=few,timbres=0.85",
        "clips=3000,seed=1,longest_s=2.1,vocabulary=few,timbres=0.85",
        # Two cores have 150 minutes for all of it.
        changes=(
            "embedded_audio_vae:trainer.steps=3000",
            "embedded_video_vae:trainer.steps=1000",
            "embedded_text_encoder:trainer.steps=450",
            "embedded_vocoder:trainer.steps=1600",
            "embedded_cpu_speech:trainer.steps=1300",
            "embedded_cpu_pictures:trainer.steps=300",
            "embedded_cpu_joint:trainer.steps=1800",
        ),
    ),
    "embedded": Plan(
        ("embedded_vocoder", "embedded_vocoder_gan"),
        "embedded_speech",
        "embedded_pictures",
        "embedded_joint",
        "clips=60000,vocabulary=common+open+made_up,timbres=0.85",
        "clips=20000,seed=1,vocabulary=common+open+made_up,timbres=0.85",
        hearing="embedded_hearing",
    ),
}


def jobs_of(plan: Plan, runs: Path, data: Path, changes: list[str], cores: int) -> list[Job]:
    """The commands of a plan, each after those that it needs.

    What one processor does comes first, several at a time: codecs, vocoder, text encoder, data. Then the network has
    all of them, or as many as share its batch evenly. The codecs' file has a random vocoder until `publish`.

    Args:
        plan: which.
        runs: folder of the runs.
        data: folder of the data sets.
        changes: `RECIPE:key=value`, what a run has different.
        cores: processors.

    Raises:
        TrainingError: a change that a recipe of the network does not know.
    """

    def trained(recipe: str, *more: str, needs: tuple[str, ...] = (), shared: bool = False) -> Job:
        given = (text.partition(":") for text in (*plan.changes, *changes))
        own = [change for name, _, change in given if name == recipe]
        settings = (f"folder={runs / recipe}", *more, *own)
        launcher = _launcher(load_recipe(recipe, settings)[1].trainer, cores) if shared else ()
        return Job(recipe, (sys.executable, "-m", *launcher, "unitalking.training", recipe, *settings), needs)

    def prepared(name: str, source: str, *more: str) -> Job:
        command = ("unitalking.training.prepare", f"synthetic:{source}", str(data / name), "--model", str(bundle))
        return Job(name, (sys.executable, "-m", *command, "--workers", str(max(1, cores // 2)), *more), (CODECS,))

    audio_vae, video_vae = (runs / f"embedded_{part}" / f"{part}.safetensors" for part in ("audio_vae", "video_vae"))
    bundle = runs / CODECS / "bundle.safetensors"
    assemble = ("--audio-vae", str(audio_vae), "--video-vae", str(video_vae), "--out", str(bundle))
    codecs = Job(
        CODECS,
        (sys.executable, "-m", "unitalking.training.assemble", *assemble),
        ("embedded_audio_vae", "embedded_video_vae"),
    )
    jobs = [trained("embedded_audio_vae"), trained("embedded_video_vae"), trained(TEXT_ENCODER), codecs]
    needs, more = "embedded_audio_vae", (f"audio_vae={audio_vae}",)
    for recipe in plan.vocoder:
        jobs.append(trained(recipe, *more, needs=(needs,)))
        needs, more = recipe, (f"audio_vae={audio_vae}", f"start={runs / recipe / VOCODER_FILE}")
    spoken, faces = f"{plan.speech}_data", f"{plan.joint}_data"
    text_encoder = runs / TEXT_ENCODER / "text_encoder.safetensors"
    speech = (f"data={data / spoken}", f"model.codecs={bundle}", f"model.text_encoder={text_encoder}")

    def shown(before: str) -> tuple[str, str]:
        return f"data={data / faces}", f"model.start={runs / before / MODEL_FILE}"

    before = (spoken, faces, TEXT_ENCODER, plan.vocoder[-1])
    jobs += [
        *(prepared(spoken, plan.spoken, "--audio-only"), prepared(faces, plan.faces)),
        trained(plan.speech, *speech, needs=before, shared=True),
    ]
    last, heard = plan.speech, ()
    if plan.hearing:
        sources = (f"held_out={data / spoken}", f"model={runs / plan.speech / MODEL_FILE}")
        jobs.append(trained(plan.hearing, f"data={data / faces}", *sources, needs=(plan.speech,), shared=True))
        last, heard = plan.hearing, (f"hearing={runs / plan.hearing / HEARING_FILE}",)
    return [
        *jobs,
        trained(plan.pictures, *shown(plan.speech), needs=(last,), shared=True),
        trained(plan.joint, *shown(plan.pictures), *heard, needs=(plan.pictures,), shared=True),
    ]


def _launcher(trainer: TrainerSettings, cores: int) -> tuple[str, ...]:
    """Runs a module in as many processes as there are processors, or fewer, so that each has as much of a batch."""
    micro_batch = trainer.samples_per_batch(1)
    processes = max(number for number in range(1, cores + 1) if micro_batch % number == 0)
    return ("torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m")


def publish(trained: Path, vocoder: Path, path: Path, about: dict[str, str]) -> int:
    """The model of a run with its vocoder, under its final name, and with more said of where it is from.

    Args:
        trained: the model that a run left.
        vocoder: a trained one, for the random one in there.
        path: where to; replaced at once or not at all.
        about: added to what the run says in the metadata.

    Returns:
        Bytes written.

    Raises:
        TrainingError, CheckpointError, OSError: a file that cannot be read, used or written.
    """
    tensors, metadata = read_tensors(trained)
    model = read_model(tensors, metadata, trained.name)
    given, weights = load_part(vocoder, "vocoder", VocoderConfig)
    codec = replace(
        from_mapping(AudioCodecConfig, model.config.audio_codec, "audio_codec"),
        vocoder=given,
        refine_steps=REFINE_STEPS,
    )
    parts = {**model.parts, "video": _stream(tensors, "video"), "audio": _stream(tensors, "audio")}
    kept = {name: value for name, value in parts["audio_vae"].items() if not name.startswith("vocoder.")}
    parts["audio_vae"] = kept | {f"vocoder.{name}": value.half() for name, value in weights.items()}
    return write_bundle(
        path,
        replace(model.config, audio_codec=to_mapping(codec)),
        parts,
        {"video": model.video, "audio": model.audio},
        model.rgb,
        json.loads(metadata[ABOUT_KEY]) | about,
        dtype=None,
        domain=model.domain,
    )


def _stream(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


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
    parser.add_argument("--out", type=Path, default=EMBEDDED_MODEL, help="the model file")
    parser.add_argument("--spoken", help="synthetic clips of the first stage (default: the recipe's)")
    parser.add_argument("--faces", help="synthetic clips of the second stage")
    parser.add_argument("--change", action="append", default=[], metavar="RECIPE:KEY=VALUE", help="for a run")
    parser.add_argument("--cores", type=int, default=0, help="processors to use (default: all, with a GPU 1)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    cores = given.cores or (1 if torch.accelerator.is_available() else os.cpu_count() or 1)
    named = PLANS[given.recipe]
    plan = replace(named, spoken=given.spoken or named.spoken, faces=given.faces or named.faces)
    try:
        jobs = jobs_of(plan, given.runs, given.data, given.change, cores)
        run_jobs(jobs, given.runs / "logs", cores, log.info, {"OMP_NUM_THREADS": "1"})
        about = {"plan": given.recipe, "commit": commit(), "spoken": plan.spoken, "faces": plan.faces}
        vocoder = given.runs / plan.vocoder[-1] / VOCODER_FILE
        size = publish(given.runs / plan.joint / MODEL_FILE, vocoder, given.out, about)
    except (TrainingError, CheckpointError, ValueError, OSError) as error:
        log.error("Error: %s", error)
        return 1
    except KeyboardInterrupt:
        log.error("Interrupted; the same command goes on from here.")
        return 130
    log.info("%s: %.1f MB", given.out, size / 1e6)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, it still ends its jobs
    sys.exit(main())
