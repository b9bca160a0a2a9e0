"""Speech alone through the nodes: the golden velocities, and no block of the picture is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

pytestmark = pytest.mark.golden
LIMIT = 1e-5


class Given:
    """NOISE that is known."""

    def __init__(self, noise: Tensor) -> None:
        self.noise, self.seed = noise, 0

    def generate_noise(self, latent: dict[str, Any]) -> Any:
        """The noise in the shape of the LATENT, whose picture is empty."""
        video, _ = latent["samples"].unbind()
        return type(latent["samples"])((video, self.noise))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["unitalking_joint_a", "unitalking_joint_b"])
@pytest.mark.parametrize("case", ["tts", "tts_voice"])
def test_golden_speech_through_the_nodes(
    golden: object, pack: Callable[[str], ModuleType], tmp_path: Path, name: str, case: str
) -> None:
    file = golden.open(name)
    if case not in file.json("cases"):
        pytest.skip(f"{name} has no case {case}")
    config = file.config()
    text, tensor = importlib.import_module("unitalking.checkpoint.files").config_tensors(config)
    path = tmp_path / f"{name}.safetensors"
    save_file({**file.weights(), "unitalking.config": tensor}, path, {"unitalking": text})
    model = pack("nodes.loading").load_model(str(path), {"dtype": torch.float32})
    calls: list[str] = []
    for stream in ("video", "audio"):
        for index, block in enumerate(getattr(model.model.diffusion_model, stream).blocks):
            block.ffn.register_forward_hook(lambda *_, said=f"{stream} {index}": calls.append(said))

    audio, sigma = file.tensor("in.audio"), float(file.tensor("in.t")[0]) / 1000
    assert set(file.tensor(f"in.{case}.t_audio").flatten().tolist()) == {1000 * sigma}
    spoken = {"unitalking_audio_context": file.tensor("in.context_audio")}
    if file.json("cases")[case]["reference"]:
        spoken["unitalking_voice"] = file.tensor("in.reference")
    conditioning = [[file.tensor("in.context_audio"), spoken]]
    silent = torch.zeros(1, config.in_dim, 0, 2, 2)
    nested = importlib.import_module("comfy.nested_tensor").NestedTensor
    latent = {"samples": nested((silent, torch.zeros_like(audio)))}
    guider = pack("nodes.guider").JointGuider.execute(model, conditioning, conditioning, 1.0, 1.0, 0.0).args[0]
    solver = importlib.import_module("comfy.samplers").sampler_object("euler")
    sample = importlib.import_module("comfy_extras.nodes_custom_sampler").SamplerCustomAdvanced.execute
    schedule = torch.tensor([sigma, 0.0])
    result = sample(Given(audio / sigma), guider, solver, schedule, latent).args[0]["samples"].unbind()[1]
    file.assert_close(f"out.{case}.audio", (audio - result) / sigma, LIMIT)
    assert calls == [f"audio {index}" for index in range(config.num_layers)]
