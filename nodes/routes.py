"""What the editor asks the server while somebody types: how long a speech lasts, how good a voice is and sounds."""

from __future__ import annotations

import asyncio
import os
import wave
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import folder_paths
import torch
from aiohttp import web
from comfy_extras.nodes_audio import load
from server import PromptServer

from ..unitalking.checkpoint.codec_id import codec_id, understands
from ..unitalking.samples import EMBEDDED_MODEL, voice_choices
from ..unitalking.speech_timing import speech_duration_s
from ..unitalking.voice import analyse_voice
from .assets import load_voice, sample_voice_path
from .conditioning import LONGEST_VOICE_S
from .files import VOICE_FOLDER, find_part
from .vae import audio_codec, read_audio_codec
from .voice_files import read_voice, voice_text

LONGEST_SPEECH = 20_000  # characters


def register_routes() -> None:
    """Adds the routes to the running server; nothing where there is none."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    server.routes.post("/unitalking/speech")(speech)
    server.routes.get("/unitalking/voice")(voice)
    server.routes.get("/unitalking/voice/sound")(voice_sound)


async def speech(request: web.Request) -> web.Response:
    """How long the words of the body last, in seconds, by the rule that plans clips."""
    words = await request.text()
    if len(words) > LONGEST_SPEECH:
        return web.json_response({"error": f"longer than {LONGEST_SPEECH} characters"}, status=413)
    return web.json_response({"seconds": round(speech_duration_s(words), 2)})


async def voice(request: web.Request) -> web.Response:
    """The report on a sample voice (`sample`), a recording of the input folder (`recording`) or a file of
    models/voices (`file`)."""
    try:
        report = await asyncio.to_thread(_report, request.query)
    except (OSError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=404)
    return web.json_response({"report": report})


async def voice_sound(request: web.Request) -> web.StreamResponse:
    """A sample voice (`sample`) or a file of models/voices (`file`), to be heard."""
    name = request.query.get("sample", "")
    if name in voice_choices()[:-1]:
        return web.FileResponse(sample_voice_path(name), headers={"Content-Type": "audio/flac"})
    if "file" not in request.query:
        return web.json_response({"error": f"{name!r} is no sample voice"}, status=404)
    try:
        sound = await asyncio.to_thread(_decoded, request.query["file"])
    except (OSError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=404)
    return web.Response(body=sound, content_type="audio/wav")


def _decoded(name: str) -> bytes:
    """The clip of a voice file as the pack's own sound codec gives it back, on the CPU: a run may have the device."""
    kept, _ = read_voice(Path(find_part(VOICE_FOLDER, name)))
    config, tensors = read_audio_codec(str(EMBEDDED_MODEL))
    own = codec_id(config, tensors)
    if not understands(kept.codec, own):
        raise ValueError(
            f"{name} was kept with the sound codec of another model ({kept.codec}; the pack's own is {own}): run a "
            "short speech with it to hear it."
        )
    codec = audio_codec(config, tensors, EMBEDDED_MODEL.name)
    with torch.inference_mode():
        samples = codec.decode(kept.latents).clamp(-1, 1)
    file = BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, config.sample_rate, 0, "NONE", "not compressed"))
        written.writeframes((samples.flatten() * 32767).round().to(torch.int16).numpy().tobytes())
    return file.getvalue()


def _report(asked: Mapping[str, str]) -> str:
    if "file" in asked:
        return voice_text(*read_voice(Path(find_part(VOICE_FOLDER, asked["file"]))))
    if "recording" in asked:
        waveform, rate = load(_input_file(asked["recording"]))
    elif asked.get("sample") in voice_choices()[:-1]:
        sample = load_voice(asked["sample"])
        waveform, rate = sample["waveform"], sample["sample_rate"]
    else:
        raise ValueError("no such voice: expected a sample, a recording or a file")
    report = analyse_voice(waveform, rate, window_s=LONGEST_VOICE_S).report.text()
    return report.split("\n", 1)[1]  # which part is used depends on the model


def _input_file(name: str) -> str:
    """The path of what the editor lists as an input, and of no other file."""
    folder, path = os.path.realpath(folder_paths.get_input_directory()), folder_paths.get_annotated_filepath(name)
    if os.path.commonpath((folder, os.path.realpath(path))) != folder or not os.path.isfile(path):
        raise ValueError(f"{name!r} is no file of the input folder")
    return path
