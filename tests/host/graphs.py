"""Prompts for a running ComfyUI, built node by node at sizes that take a fraction of a second, and what they leave."""

from __future__ import annotations

import html
import itertools
import urllib.request
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from comfyui_events import Result
from safetensors.torch import load_file
from tiny_model import TINY_MODEL
from torch import Tensor

from unitalking.client.outcome import PromptError

if TYPE_CHECKING:
    from comfyui import ComfyUI

WIDTH = HEIGHT = 64
FRAMES, FPS = 9, 24
_infos: dict[str, dict[str, Any]] = {}
_seeds = itertools.count(1_000_000)


@dataclass(frozen=True)
class Node:
    """A node of a prompt; `node[0]` is a link to its first output."""

    id: str

    def __getitem__(self, slot: int) -> list[Any]:
        return [self.id, slot]


class Graph:
    """A prompt under construction for one server."""

    def __init__(self, host: ComfyUI) -> None:
        self.host = host
        self.prompt: dict[str, Any] = {}

    def add(self, class_type: str, **inputs: Any) -> Node:
        """A node; widgets that are not given have their defaults, lists without one their first choice."""
        node = Node(str(len(self.prompt) + 1))
        self.prompt[node.id] = {"class_type": class_type, "inputs": {**_defaults(self.host, class_type), **inputs}}
        return node

    def run(self, workflow: dict[str, Any] | None = None, *, fresh: bool = False, **options: Any) -> Result:
        """Runs the prompt; with `fresh` every node of it, also those whose result the server still has."""
        if fresh:
            self.host.free()
        return self.host.queue(self.prompt, workflow, timeout_s=60, **options)


class Clip(Graph):
    """The graph of the examples with the tiny random model: what follows words and an empty clip is added by stages."""

    def __init__(
        self, host: ComfyUI, *, speech: str = "Hi.", loader: dict[str, Any] | None = None, **size: Any
    ) -> None:
        super().__init__(host)
        self.model = self.add("UniTalkingModelLoader", **{"model": TINY_MODEL.name, **(loader or {})})
        self.text = self.add("UniTalkingTextPrompt", model=self.model[0], clip=self.model[1], speech=speech)
        size = {"width": WIDTH, "height": HEIGHT, "frames": FRAMES, **size}
        self.empty = self.add("UniTalkingEmptyLatent", model=self.model[0], **size)

    def conditioned(self) -> dict[str, Any]:
        """Inputs that samplers and guiders share."""
        return {"model": self.model[0], "positive": self.text[0], "negative": self.text[1]}

    def speak_as(self, voice: Node) -> None:
        """Wires a voice into the words."""
        self.prompt[self.text.id]["inputs"]["voice"] = voice[0]

    def joint(self, latent: list[Any] | None = None, **settings: Any) -> Node:
        """Joint Flow Sampler."""
        inputs = {**self.conditioned(), "latent": latent or self.empty[0], "steps": 2, **settings}
        return self.add("UniTalkingJointSampler", **inputs)

    def ksampler(self, latent: list[Any] | None = None, **settings: Any) -> Node:
        """The stock KSampler."""
        inputs = {**self.conditioned(), "latent_image": latent or self.empty[0], "steps": 2, "cfg": 2.5, **settings}
        return self.add("KSampler", **{"sampler_name": "euler", "scheduler": "simple", **inputs})

    def decode(self, latent: list[Any], **settings: Any) -> Node:
        """Decode AV."""
        vaes = {"vae": self.model[2], "audio_vae": self.model[3]}
        return self.add("UniTalkingDecode", latent=latent, **{**vaes, **settings})

    def save(self, decoded: Node, **settings: Any) -> Node:
        """Save MP4 of what Decode AV gives."""
        wires = {"images": decoded[0], "audio": decoded[1], "fps": decoded[3]}
        return self.add("UniTalkingSaveMP4", **{**wires, **settings})

    def keep(self, latent: list[Any]) -> tuple[Node, Node]:
        """Saves both streams with stock nodes; `kept_latents` reads them."""
        streams = self.add("LTXVSeparateAVLatent", av_latent=latent)
        video, audio = (self.add("SaveLatent", samples=streams[slot]) for slot in (0, 1))
        return video, audio

    def finish(self, latent: list[Any], **settings: Any) -> Node:
        """Decode AV and Save MP4."""
        return self.save(self.decode(latent), **settings)


def node_info(host: ComfyUI, class_type: str) -> dict[str, Any]:
    """One node type as the editor knows it; lists of files are as they were at the first call."""
    if host.url not in _infos:
        _infos[host.url] = host.object_info()
    return _infos[host.url][class_type]


def _defaults(host: ComfyUI, class_type: str) -> dict[str, Any]:
    found, spec = {}, node_info(host, class_type)["input"]
    for category in ("required", "optional"):
        for name, (kind, *rest) in spec.get(category, {}).items():
            options = rest[0] if rest else {}
            choices = kind if isinstance(kind, list) else options.get("options", [])
            if "default" in options or choices:
                found[name] = options["default"] if "default" in options else choices[0]
    return found


@dataclass(frozen=True)
class Media:
    """A file, decoded: pictures (F, H, W, 3) in 0..255, sound (C, S) and what the container says."""

    pictures: np.ndarray
    sound: np.ndarray
    codecs: tuple[str, ...]
    fps: Fraction
    sample_rate: int
    lengths_s: tuple[float, ...]
    metadata: dict[str, str]


def read_media(path: Path) -> Media:
    """Everything in a video file."""
    with av.open(str(path)) as file:
        streams = [*file.streams.video, *file.streams.audio]
        lengths = tuple(float(stream.duration * stream.time_base) for stream in streams)
        fps = file.streams.video[0].average_rate
        rate = file.streams.audio[0].rate if file.streams.audio else 0
        frames: dict[str, list[np.ndarray]] = {"video": [], "audio": []}
        for frame in file.decode(*streams):
            kind = "video" if isinstance(frame, av.VideoFrame) else "audio"
            frames[kind].append(frame.to_ndarray(format="rgb24") if kind == "video" else frame.to_ndarray())
        sound = np.concatenate(frames["audio"], axis=1) if frames["audio"] else np.zeros((0, 0))
        codecs = tuple(stream.codec_context.name for stream in streams)
        return Media(np.stack(frames["video"]), sound, codecs, fps, rate, lengths, dict(file.metadata))


def saved_files(host: ComfyUI, result: Result) -> list[Path]:
    """Where the files lie that a prompt left in the output folder."""
    return [host.output_path(item) for item in result.files() if item["type"] == "output"]


def only_file(host: ComfyUI, result: Result) -> Path:
    """Where the only file lies that a prompt left in the output folder."""
    (path,) = saved_files(host, result)
    return path


def only_media(host: ComfyUI, result: Result) -> Media:
    """The only video file that a prompt left, decoded."""
    return read_media(only_file(host, result))


def kept_latents(host: ComfyUI, result: Result, nodes: tuple[Node, Node]) -> list[Tensor]:
    """Picture and sound that `Clip.keep` saved."""
    items = [result.outputs[node.id]["latents"][0] for node in nodes]
    return [load_file(host.output_path(item))["latent_tensor"] for item in items]


def read_sound(host: ComfyUI, result: Result, node: Node) -> np.ndarray:
    """What a stock Save Audio node saved, (C, S)."""
    (item,) = result.outputs[node.id]["audio"]
    with av.open(str(host.output_path(item))) as file:
        parts = [frame.to_ndarray() for frame in file.decode(audio=0)]
        channels = file.streams.audio[0].channels
    samples = np.concatenate([part.reshape(-1, channels).T for part in parts], axis=1)
    return samples / float(np.iinfo(samples.dtype).max)


def texts(result: Result, node: Node) -> list[str]:
    """What a node showed while it ran, in order."""
    return [html.unescape(event.data["text"]) for event in result.of_kind("text") if event.data["node"] == node.id]


def output_files(host: ComfyUI) -> set[Path]:
    """Every file in the output folder, hidden ones too."""
    return {path for path in (host.base_directory / "output").rglob("*") if path.is_file()}


def fetch(host: ComfyUI, route: str) -> bytes:
    """What the server gives for a route."""
    with urllib.request.urlopen(host.url + route, timeout=60) as response:
        return response.read()


def assert_refused(graph: Graph, class_type: str, match: str) -> PromptError:
    """The prompt fails in that node with that message, leaves no file, takes none away, and the next prompt runs."""
    before = output_files(graph.host)
    with pytest.raises(PromptError, match=match) as caught:
        graph.run()
    assert caught.value.node_type == class_type
    assert output_files(graph.host) == before
    assert_runs(graph.host)
    return caught.value


def assert_runs(host: ComfyUI) -> None:
    """A new clip can be made, from words to file."""
    clip = Clip(host)
    clip.finish(clip.joint(seed=next(_seeds), steps=1)[0])
    assert only_media(host, clip.run()).pictures.shape == (FRAMES, HEIGHT, WIDTH, 3)
