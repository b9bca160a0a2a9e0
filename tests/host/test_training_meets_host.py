"""What is trained is what ComfyUI runs: the same velocities for each task, and LoRA files that its loader applies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab, differ, equal, rel
from torch import Tensor

pytest.importorskip("peft", reason="needs requirements-train.txt")

LIMIT = 1e-5
LATENTS = 12
SPANS = ((0, 1),)


def training_objective(lab: Lab) -> Any:
    """The lab's network as training has it, with the weights of its file."""
    read = lab.pack("unitalking.training.start")
    start = read._from_file(lab.path)
    flow = lab.pack("unitalking.training.flow_objective")
    return flow.FlowObjective(start.network, None, flow.ObjectiveSettings()), start


def training_batch(lab: Lab, task: Any, call: dict[str, Any], cond: dict[str, Any], start: Any) -> Any:
    """The batch that training would make of a task, with what the host's network was called with."""
    flow = lab.pack("unitalking.training.flow_batches")
    tasks = lab.pack("unitalking.tasks")
    video, audio = call["latents"]
    masks = (task.video_mask(video.shape[2], SPANS), task.audio_mask(audio.shape[2], lab.config, SPANS))
    held = tasks.held_tokens(masks)
    streams = []
    for data, factors in zip((video, audio), held, strict=True):
        runs = tasks.factor_runs(factors, len(factors[0]), 1)
        sigma = call["timestep"].float() / 1000
        streams.append(flow.StreamBatch(data, data, sigma, runs.timestep, runs.lengths))
    voice = lab.pack("unitalking.voice").fill_reference(
        start.statistics[1].normalise(cond["voice"]), lab.config.reference_tokens
    )
    return flow.FlowBatch(
        keys=("one",),
        tasks=(task.name,),
        video=streams[0],
        audio=streams[1],
        video_sees_audio=held.video_sees_audio,
        text=flow.TextBatch(context=cond["context"]),
        reference=voice,
        voice_present=torch.ones(1),
    )


@pytest.mark.parametrize("name", ["t2av", "ti2av", "tr2av", "tv2a", "a2v", "infill"])
def test_training_computes_the_velocities_of_the_sampler(lab: Lab, name: str) -> None:
    task = lab.pack("unitalking.tasks").TASKS[name]
    latent = lab.latent()
    video, audio = (torch.randn(part.shape, generator=torch.Generator().manual_seed(4)) for part in streams(latent))
    masks = (task.video_mask(3, SPANS).expand(1, 1, 3, 4, 4), task.audio_mask(LATENTS, lab.config, SPANS))
    model, calls = lab.watched(lab.model)
    positive, negative = lab.prompt()
    given = lab.masked(video, audio, *(mask.contiguous() for mask in masks))
    along = {"keep_picture": "recompute"}  # TV2A's picture has a velocity only where it runs at every step
    lab.joint(model, (positive, negative), given, guidance_video=1.0, guidance_audio=1.0, **along)
    trained, start = training_objective(lab)
    context, more = positive[0]
    cond = {"context": context.float(), "voice": more["unitalking_voice"].float()}
    assert len(calls) == 3
    for call in calls:
        with torch.no_grad():
            found = trained.predict(training_batch(lab, task, call, cond, start))
        assert [rel(a, b) <= LIMIT for a, b in zip(found, call["velocity"], strict=True)] == [True, True]


def streams(latent: dict[str, Any]) -> list[Tensor]:
    return list(latent["samples"].unbind())


@pytest.mark.parametrize("stream", ["video", "audio"])
def test_a_trained_lora_changes_its_stream_through_the_stock_loader(lab: Lab, stream: str) -> None:
    """The file equals the trained network: same velocities with it loaded as with the adapters in place."""
    lora, start_module = lab.pack("unitalking.training.lora"), lab.pack("unitalking.training.start")
    start = start_module._from_file(lab.path)
    settings = lora.LoraSettings(rank=2, alpha=4.0, streams=(stream,))
    lora.add_lora(start.network, settings, seed=0)
    trained = [(name, value) for name, value in start.network.named_parameters() if value.requires_grad]
    assert all(name.startswith(f"{stream}.blocks.") and ".lora_" in name for name, _ in trained)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for _, value in trained:
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    import folder_paths

    folder = Path(folder_paths.get_folder_paths("loras")[0])
    folder.mkdir(parents=True, exist_ok=True)
    lora.write_lora(folder / f"trained-{stream}.safetensors", start.network.state_dict(), settings, {"steps": "0"})
    patched = lab.host.LoraLoaderModelOnly().load_lora_model_only(lab.model, f"trained-{stream}.safetensors", 1.0)[0]
    assert len(patched.patches) == len(trained) // 2

    watched, calls = lab.watched(patched)
    conds = lab.prompt()
    out = lab.joint(watched, conds, lab.latent(), guidance_video=1.0, guidance_audio=1.0)
    flow = lab.pack("unitalking.training.flow_objective")
    objective = flow.FlowObjective(start.network, None, flow.ObjectiveSettings())
    context, more = conds[0][0]
    cond = {"context": context.float(), "voice": more["unitalking_voice"].float()}
    task = lab.pack("unitalking.tasks").TASKS["t2av"]
    with torch.no_grad():
        found = objective.predict(training_batch(lab, task, calls[0], cond, start))
    assert [rel(a, b) <= LIMIT for a, b in zip(found, calls[0]["velocity"], strict=True)] == [True, True]
    plain = lab.joint(lab.model, conds, lab.latent(), guidance_video=1.0, guidance_audio=1.0)
    assert differ(out, plain)[("video", "audio").index(stream)]
    if stream == "video":  # seen from the sound alone, a picture's change comes through the joint attention
        sound = lab.latent(streams="sound")
        assert equal(lab.joint(patched, conds, sound)[1:], lab.joint(lab.model, conds, sound)[1:])


def test_fresh_adapters_change_nothing(lab: Lab) -> None:
    lora, start_module = lab.pack("unitalking.training.lora"), lab.pack("unitalking.training.start")
    start = start_module._from_file(lab.path)
    lora.add_lora(start.network, lora.LoraSettings(rank=2), seed=0)
    tensors = lora.lora_tensors(start.network.state_dict(), lora.LoraSettings(rank=2))
    assert all(not value.any() for name, value in tensors.items() if ".lora_B." in name)
