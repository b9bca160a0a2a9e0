"""Makes the clips of embedded_model.py: the shipped workflows, queued clip by clip in headless ComfyUIs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from comfyui import PACK_NAME, ComfyUI
from embedded_cases import LOADER, PORTRAIT, SAMPLER, TEXT, VOICE, Case, Given
from package import ROOT

from unitalking.client.workflow import to_prompt
from unitalking.client.workflow_edit import set_widget, wire_source
from unitalking.evaluation.clips import read_media

NODES = Path(__file__).resolve().parent / "embedded_nodes"
MODEL_SUBFOLDER = "judged"
TIMEOUT_S = 3600


@dataclass(frozen=True)
class Job:
    """One clip to make.

    Attributes:
        case: how it is asked for.
        real: sidecar of the real clip that says what is asked for.
        seed: of the noise.
        folder: of the case's clips, beside that of the real ones.
    """

    case: Case
    real: Path
    seed: int
    folder: Path

    @property
    def sidecar(self) -> Path:
        """Written last: a clip that has it is finished."""
        return self.folder / f"{self.real.stem}-s{self.seed}.json"


def make_clips(jobs: Sequence[Job], comfyui: Path, model: Path | None = None, workers: int = 1) -> None:
    """Makes every clip that is not there yet, saying how long the rest takes.

    Args:
        jobs: what to make.
        comfyui: folder of ComfyUI.
        model: file to use instead of the workflows' own.
        workers: servers that run at once.

    Raises:
        PromptError, WorkflowError: a clip could not be made.
        ServerError: a server could not be started, or ended.
    """
    waiting = deque(job for job in jobs if not job.sidecar.is_file())
    total, started, lock, numbers = len(waiting), time.monotonic(), Lock(), count(1)

    def next_job() -> Job | None:
        with lock:
            return waiting.popleft() if waiting else None

    def work() -> None:
        with open_server(comfyui, model) as server:
            maker = Maker(server, model)
            while job := next_job():
                duration_s = maker.make(job)
                done = next(numbers)
                rest_min = (time.monotonic() - started) / done * (total - done) / 60
                clip = f"{job.case.name} {job.sidecar.stem}"
                print(f"{done}/{total} {clip}: {duration_s:.1f} s, {rest_min:.0f} min left", flush=True)

    if not waiting:
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(min(workers, total))]:
                worker.result()
        except BaseException:
            waiting.clear()
            raise


@contextmanager
def open_server(comfyui: Path, model: Path | None = None) -> Iterator[ComfyUI]:
    """A ComfyUI with the pack, the two nodes of `embedded_nodes`, and `model` among its files; ended by itself."""
    with tempfile.TemporaryDirectory(prefix="unitalking-judged-") as base:
        own_nodes = ("--whitelist-custom-nodes", PACK_NAME, NODES.name)
        device = () if torch.accelerator.is_available() else ("--cpu",)
        server = ComfyUI(comfyui, Path(base), extra_args=(*device, *own_nodes))
        shutil.copytree(NODES, server.base_directory / "custom_nodes" / NODES.name)
        if model is not None:
            place = server.base_directory / "models" / "diffusion_models" / MODEL_SUBFOLDER
            place.mkdir()
            (place / model.name).symlink_to(model.absolute())
        with server:
            yield server


class Maker:
    """Makes clips with one server.

    Args:
        server: from `open_server`.
        model: the file that it was opened with.
    """

    def __init__(self, server: ComfyUI, model: Path | None = None) -> None:
        self.server, self.object_info = server, server.object_info()
        self.widgets = [] if model is None else [(LOADER, "model", os.path.join(MODEL_SUBFOLDER, model.name))]

    def make(self, job: Job) -> float:
        """One clip with its sidecar; how long the server took, in seconds.

        Raises:
            PromptError, WorkflowError, ServerError: see `make_clips`.
        """
        asked = json.loads(job.real.read_text(encoding="utf-8"))
        workflow = self._filled_in(job, asked)
        prompt = to_prompt(workflow, self.object_info)
        if job.case.change is not None:
            frames = read_media(job.real.with_suffix(".mp4"))[1]
            job.case.change(prompt, Given(lambda end: self.server.upload(job.real.with_suffix(end)), len(frames)))
        result = self.server.queue(prompt, None if job.case.change else workflow, timeout_s=TIMEOUT_S)
        (saved,) = (self.server.output_path(item) for item in result.files() if item["type"] == "output")
        job.folder.mkdir(parents=True, exist_ok=True)
        # A copy, because the server answers a prompt that it knows already with the file that it has saved.
        kept = shutil.copyfile(saved, job.sidecar.with_suffix(saved.suffix))
        job.sidecar.write_text(json.dumps(sidecar_of(job, asked, kept.name), indent=1), encoding="utf-8")
        return result.duration_s

    def _filled_in(self, job: Job, asked: dict[str, Any]) -> dict[str, Any]:
        """The case's workflow with the clip's words, scene, portrait, voice and seed."""
        workflow = json.loads((ROOT / "workflows" / f"{job.case.workflow}.json").read_text(encoding="utf-8"))
        asked_for = [(TEXT, key, asked[key]) for key in ("speech", "scene")]
        for class_type, name, value in [*asked_for, (SAMPLER, "seed", job.seed), *self.widgets, *job.case.widgets]:
            set_widget(workflow, class_type, name, value, self.object_info)
        types = {node["type"] for node in workflow["nodes"]}
        if PORTRAIT in types:
            picture = self.server.upload(job.real.parent / asked["portrait"])
            wire_source(workflow, "LoadImage", [picture, "image"], PORTRAIT, "image", self.object_info)
        if VOICE in types:
            sound = self.server.upload(job.real.parent / asked["reference"])
            wire_source(workflow, "LoadAudio", [sound], VOICE, "audio", self.object_info)
        return workflow


def sidecar_of(job: Job, asked: dict[str, Any], clip: str) -> dict[str, Any]:
    """What the clip is judged by: the real clip's sidecar, without what this case says nothing about.

    Args:
        job: of the clip.
        asked: the real clip's sidecar.
        clip: the clip's file.
    """
    kept = {key: value for key, value in asked.items() if key not in job.case.unjudged}
    beside = os.path.relpath(job.real.parent, job.folder)
    files = {key: Path(beside, kept[key]).as_posix() for key in ("reference", "portrait") if key in kept}
    return {**kept, **files, "seed": job.seed, "clip": clip}
