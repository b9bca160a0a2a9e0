"""Two nodes for embedded_model.py alone, loaded beside the pack as a custom node folder of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import ComfyExtension, io

CATEGORY = "UniTalking/benchmarks"


class SeparateStreams(io.ComfyNode):
    """A UniTalking MODEL whose picture and sound do not see each other in any block."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets."""
        return io.Schema(
            node_id="UniTalkingSeparateStreams",
            display_name="Separate Streams",
            category=CATEGORY,
            description="Takes joint attention away: each stream attends to itself, its text and its voice.",
            inputs=[io.Model.Input("model", tooltip="A UniTalking model.")],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        """Patches the config of a clone while that clone is loaded."""
        separate = model.clone()
        separate.add_object_patch("diffusion_model.config", replace(model.model.unitalking, joint_blocks=0))
        return io.NodeOutput(separate)


class HoldStream(io.ComfyNode):
    """A LATENT that is given: nothing of it is generated."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets."""
        return io.Schema(
            node_id="UniTalkingHoldStream",
            display_name="Hold Stream",
            category=CATEGORY,
            description="Masks a whole stream. The host's Set Latent Noise Mask does that for pictures alone.",
            inputs=[io.Latent.Input("latent", tooltip="From VAE Encode or VAE Encode Audio.")],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any]) -> io.NodeOutput:
        """Sets the mask to 0."""
        return io.NodeOutput({**latent, "noise_mask": torch.zeros_like(latent["samples"])})


class Extension(ComfyExtension):
    """Hands the nodes to the host."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Both."""
        return [SeparateStreams, HoldStream]


async def comfy_entrypoint() -> ComfyExtension:
    """The host's entry."""
    return Extension()
