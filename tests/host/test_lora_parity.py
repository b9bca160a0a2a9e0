"""A LoRA for Wan2.2-5B changes our picture as it changes the one of ComfyUI's own Wan model, whatever its names."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab, normal, rel
from lora_files import write_lora
from torch import Tensor

LIMIT = 1e-5
# Wan2.2's own name of a layer -> diffusers' (reference: diffusers' WanTransformer3DModel).
DIFFUSERS = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "blocks.0.self_attn.q": "blocks.0.attn1.to_q",
    "blocks.0.self_attn.k": "blocks.0.attn1.to_k",
    "blocks.0.self_attn.v": "blocks.0.attn1.to_v",
    "blocks.1.self_attn.o": "blocks.1.attn1.to_out.0",
    "blocks.0.cross_attn.q": "blocks.0.attn2.to_q",
    "blocks.0.cross_attn.k": "blocks.0.attn2.to_k",
    "blocks.1.cross_attn.v": "blocks.1.attn2.to_v",
    "blocks.0.cross_attn.o": "blocks.0.attn2.to_out.0",
    "blocks.1.ffn.0": "blocks.1.ffn.net.0.proj",
    "blocks.0.ffn.2": "blocks.0.ffn.net.2",
    "head.head": "proj_out",
}
WAN = {layer: layer for layer in DIFFUSERS}
FACTORS = [f"video.{layer}.weight" for layer in WAN]
# Modulation is not here: ComfyUI's own Wan accepts a LoRA on it and does not apply it.
OTHERS = {
    "blocks.0.self_attn.norm_k.weight": "blocks.0.attn1.norm_k",
    "blocks.1.cross_attn.norm_q.weight": "blocks.1.attn2.norm_q",
    "blocks.1.norm3.weight": "blocks.1.norm2",
    "blocks.1.norm3.bias": "blocks.1.norm2.bias",
    "blocks.0.self_attn.q.bias": "blocks.0.attn1.to_q.bias",
    "blocks.1.ffn.2.bias": "blocks.1.ffn.net.2.bias",
    "head.head.bias": "proj_out.bias",
}
DIFFERENCES = [*FACTORS, *(f"video.{weight}" for weight in OTHERS)]


@dataclass(frozen=True)
class Naming:
    """How a trainer names its tensors.

    Attributes:
        spelling, prefix: see `write_lora`.
        layers: Wan2.2's own names or `DIFFUSERS`.
        known: whether ComfyUI's own loader knows it for Wan; if not, the same change is given to it in Wan2.2's names.
    """

    spelling: str
    prefix: str
    layers: dict[str, str]
    known: bool = False

    def write(self, lab: Lab, model: Path, name: str) -> int:
        """Writes the LoRA; the number of weights that it changes."""
        weights = DIFFERENCES if self.spelling == "diff" else FACTORS
        names = {f"video.{layer}.weight": named for layer, named in self.layers.items()}
        for weight, named in OTHERS.items():
            own = weight.removesuffix(".weight")
            names[f"video.{weight}"] = own if self.layers is WAN else named
        added = write_lora(model, name, weights, self.spelling, prefix=self.prefix, names=names, scale=0.2)
        return len(added)


NAMINGS = {
    "native": Naming("peft", "diffusion_model.", WAN, known=True),
    "native difference": Naming("diff", "diffusion_model.", WAN, known=True),
    "kohya": Naming("kohya", "lora_unet_", WAN, known=True),
    "Wan Fun": Naming("kohya", "lora_unet__", WAN, known=True),
    "bare": Naming("peft", "", WAN),
    "peft": Naming("peft", "base_model.model.", WAN),
    "transformer": Naming("peft", "transformer.", WAN),
    "diffusers": Naming("peft", "transformer.", DIFFUSERS),
    "diffusers difference": Naming("diff", "transformer.", DIFFUSERS),
    "diffusers of peft": Naming("peft", "base_model.model.", DIFFUSERS),
    "diffusers bare": Naming("peft", "", DIFFUSERS),
    "diffusers of kohya": Naming("kohya", "lora_unet_", DIFFUSERS),
    "OneTrainer": Naming("kohya", "lora_transformer_", DIFFUSERS),
    "SimpleTuner": Naming("kohya", "lycoris_", DIFFUSERS),
}


@dataclass(frozen=True)
class Pair:
    """Our model and ComfyUI's Wan with the weights of its video stream; what either says without a LoRA."""

    path: Path
    ours: Any
    wan: Any
    plain: tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def pair(loaded_lab: Lab) -> Pair:
    sampling = loaded_lab.pack("unitalking.config").Sampling(sigma_shift=8.0)  # the host's for Wan
    wan = {"dim": 256, "ffn_dim": 320, "in_dim": 48, "out_dim": 48, "freq_dim": 256, "text_dim": 4096, "text_len": 512}
    path = loaded_lab.write(
        "wan_sized.safetensors", loaded_lab.make_config(**wan, sampling=sampling, text_encoder=None)
    )
    tensors = importlib.import_module("safetensors.torch").load_file(path)
    video = {key.removeprefix("video."): value.float() for key, value in tensors.items() if key.startswith("video.")}
    load = importlib.import_module("comfy.sd").load_diffusion_model_state_dict
    host = load(video, {"dtype": torch.float32})
    assert type(host.model).__name__ == "WAN22"
    ours = loaded_lab.load(path)
    with torch.inference_mode():
        return Pair(path, ours, host, (velocity(loaded_lab, ours), velocity(loaded_lab, host)))


def velocity(lab: Lab, model: Any) -> Tensor:
    """What the network says in one late step of the stock sampler, without sound.

    Late, as ComfyUI's Wan takes sines of the step's number in float32: at 1000 that costs 3e-6.
    """
    kept: list[Tensor] = []

    def keep(executor: Any, *inputs: Any, **more: Any) -> Any:
        out = executor(*inputs, **more)
        kept.append((out[0] if isinstance(out, list) else out).clone())
        return out

    context = normal(1, 512, 4096, seed=1)
    context[:, 20:] = 0
    conds = [[context, {}]], [[context, {}]]
    latent = {"samples": normal(1, 48, 2, 4, 6, seed=2)}
    lab.ksampler(lab.wrapped(model, keep), conds, latent, cfg=1.0, steps=1, denoise=0.01)
    (only,) = kept
    return only


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_wan_lora_changes_the_picture_as_comfyuis_own_wan_model(lab: Lab, pair: Pair, naming: str) -> None:
    count = NAMINGS[naming].write(lab, pair.path, "given.safetensors")
    if NAMINGS[naming].known:
        reference = "given.safetensors"
    else:
        reference = "reference.safetensors"
        spelling = NAMINGS[naming].spelling
        prefix = "lora_unet_" if spelling == "kohya" else "diffusion_model."
        Naming(spelling, prefix, WAN).write(lab, pair.path, reference)
    ours = lab.pack("nodes.lora").LoadLora.execute(pair.ours, "given.safetensors", "both", 0.8).args[0]
    theirs = lab.host.LoraLoaderModelOnly().load_lora_model_only(pair.wan, reference, 0.8)[0]
    assert len(ours.patches) == len(theirs.patches) == count
    changes = [velocity(lab, model) - plain for model, plain in zip((ours, theirs), pair.plain, strict=True)]
    assert changes[1].norm() > 0.1 * pair.plain[1].norm()
    assert rel(*changes) <= LIMIT


@pytest.mark.parametrize("layers", [WAN, DIFFUSERS], ids=["own", "diffusers"])
def test_a_wan_lora_reaches_the_sound_where_it_is_chosen_and_not_otherwise(
    lab: Lab, pair: Pair, layers: dict[str, str]
) -> None:
    Naming("peft", "transformer.", layers).write(lab, pair.path, "wan.safetensors")
    node = lab.pack("nodes.lora").LoadLora
    for stream, changed in (("both", "video"), ("video", "video")):
        patched = node.execute(pair.ours, "wan.safetensors", stream, 1.0).args[0]
        assert {key.split(".")[1] for key in patched.patches} == {changed}
        assert len(patched.patches) == len(FACTORS)
    # The ends of the sound stream have shapes of their own, its blocks have the picture's.
    patched = node.execute(pair.ours, "wan.safetensors", "audio", 1.0).args[0]
    assert {key.removeprefix("diffusion_model.audio.") for key in patched.patches} == {
        f"{layer}.weight" for layer in WAN if layer not in ("patch_embedding", "head.head")
    }


@pytest.mark.parametrize("layer", [*DIFFUSERS, "blocks.3.modulation", "head.modulation"])
def test_the_names_of_diffusers(lab: Lab, layer: str) -> None:
    known = DIFFUSERS | {"blocks.3.modulation": "blocks.3.scale_shift_table", "head.modulation": "scale_shift_table"}
    name = lab.pack("nodes.lora").diffusers_name
    assert name(layer) == known[layer]
    assert name(f"video.{layer}") == f"video.{known[layer]}"
