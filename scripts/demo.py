"""Make one talking portrait, from nothing but Python: `python scripts/demo.py --speech "Hello there."`

Sets up an environment and a ComfyUI where there is none (see environment.py), starts ComfyUI headless with this pack
and an empty input folder, runs a workflow of workflows/, and prints the path of the MP4 as the last line of stdout.
Everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import environment
from build_cache import SetupError, cache_folder, say

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
MAX_SEED = 2**64 - 1
# Models given with --model lie in a folder of their own, so that no name hides another.
MODEL_SUBFOLDER = "demo"


class DemoError(Exception):
    """The demo cannot go on; the message is one line."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options, files as absolute paths; exits with a message for a wrong one."""
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("output"), metavar="DIR", help="folder for the MP4 (default: ./output)"
    )
    parser.add_argument("--workflow", default="talking_portrait_voice", metavar="NAME", help="a file of workflows/")
    parser.add_argument("--speech", metavar="TEXT", help="what is said")
    parser.add_argument("--portrait", type=_file, metavar="FILE", help="picture of the speaker")
    parser.add_argument("--voice", type=_file, metavar="FILE", help="3 to 5 s of the speaker's voice")
    parser.add_argument("--steps", type=_between(1, 1000), metavar="N", help="sampling steps")
    parser.add_argument("--seed", type=_between(0, MAX_SEED), metavar="N", help="another seed, another take")
    parser.add_argument("--model", type=_file, metavar="FILE", help="model file (.safetensors)")
    parser.add_argument("--comfyui", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out = options.out.absolute()
    names = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
    if options.workflow not in names:
        parser.error(f"there is no workflow {options.workflow!r}; there are: {', '.join(names)}")
    return options


def _file(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    return path


def _between(low: int, high: int) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return number


def adapt(workflow: dict[str, Any], options: argparse.Namespace, object_info: dict[str, Any], upload: Any) -> None:
    """Put what the options give into the workflow (editor's format), in place.

    Args:
        workflow: as loaded from workflows/.
        options: of `parse`.
        object_info: what the server answers on /object_info.
        upload: function of a path and a name; puts the file into the input folder, returns its name there.

    Raises:
        WorkflowError: the workflow has no node for an option.
    """
    from unitalking.client.given import PORTRAIT, VOICE, give_seed, give_speech
    from unitalking.client.workflow_edit import set_widget

    if options.model:
        name = os.path.join(MODEL_SUBFOLDER, options.model.name)
        set_widget(workflow, "UniTalkingModelLoader", "model", name, object_info)
    if options.steps is not None:
        set_widget(workflow, "UniTalkingJointSampler", "steps", options.steps, object_info)
    if options.speech is not None:
        give_speech(workflow, options.speech, object_info)
    if options.seed is not None:
        give_seed(workflow, options.seed, object_info)
    for place, name in ((PORTRAIT, "portrait"), (VOICE, "voice")):
        file = getattr(options, name)
        if file:
            place.give_file(workflow, upload(file, name + file.suffix), object_info)


def run(options: argparse.Namespace) -> Path:
    """Run the workflow in a headless ComfyUI; the MP4. Needs the environment's Python.

    Raises:
        DemoError: what went wrong in one line, with the place of the server's log where that helps.
    """
    from comfyui import ComfyUI, ServerError
    from demo_progress import Progress

    from unitalking.client.outcome import PromptError, saved_clip
    from unitalking.client.workflow import WorkflowError, to_prompt

    _make_folder(options.out)
    base = Path(tempfile.mkdtemp(prefix="unitalking-demo-"))
    server = ComfyUI(options.comfyui, base, extra_args=() if _has_accelerator() else ("--cpu",))
    try:
        if options.model:
            _link(options.model, base / "models" / "diffusion_models" / MODEL_SUBFOLDER / options.model.name)
        say("Starting ComfyUI ...")
        with server:
            object_info = server.object_info()
            workflow = json.loads((WORKFLOWS / f"{options.workflow}.json").read_text(encoding="utf-8"))
            adapt(workflow, options, object_info, server.upload)
            prompt = to_prompt(workflow, object_info)
            result = server.queue(prompt, workflow, on_event=Progress(prompt, object_info), timeout_s=24 * 3600)
            return _keep(server.output_path(saved_clip(result.outputs)), options)
    except WorkflowError as error:
        raise DemoError(str(error)) from error
    except (PromptError, ServerError, OSError) as error:
        log = cache_folder() / "demo.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(server.log, log)
        raise DemoError(f"{_blamed(str(error).splitlines()[0], options)} (ComfyUI's log: {log})") from error
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _blamed(message: str, options: argparse.Namespace) -> str:
    """A message about the copy of a file that was given, with the file itself and what to do."""
    message = message.replace("\\", "/")
    if options.model and f"'{MODEL_SUBFOLDER}/{options.model.name}' not in" in message:
        return f"--model {options.model} is not of a kind that ComfyUI lists as a model: give a .safetensors file."
    for option, kind in (("portrait", "picture"), ("voice", "sound")):
        path = getattr(options, option)
        if path is not None and f"/{option}{path.suffix}" in message:
            return f"--{option} {path} cannot be read: give another {kind} file. {message}"
    return message


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"--out {folder} cannot be made: {error}") from error


def _has_accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()


def _link(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True)
    try:
        place.symlink_to(file)
    except OSError:
        shutil.copyfile(file, place)


def _keep(video: Path, options: argparse.Namespace) -> Path:
    """Move the MP4 into the output folder, under a number that is free."""
    number = 1
    while (kept := options.out / f"{options.workflow}_{number:05}.mp4").exists():
        number += 1
    half = kept.with_suffix(".part")
    shutil.copyfile(video, half)
    os.replace(half, kept)
    return kept


def main(arguments: list[str]) -> int:
    """Set up, run, print the path; 1 after an error, 130 when interrupted."""
    options = parse(arguments)
    try:
        if options.comfyui is None:
            host, python = environment.comfyui(), environment.python(with_tools=False)
            command = [str(python), str(Path(__file__).resolve()), *arguments, "--comfyui", str(host)]
            return environment.hand_over(command)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print(run(options))
    except (DemoError, SetupError) as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
