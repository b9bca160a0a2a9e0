"""What training a model costs, on paper: FLOPs from its config, memory and days from the FLOPs.

    python benchmarks/training_cost.py [--tflops 400] [--gpus 8] [--config FILE.json]

Counted are the matrix products, twice forward for backward, and forward once more for checkpointing; what an element
costs is left out. The rate per GPU is an assumption, and is said with every figure.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from package import import_package

DAY_S = 86400
# Bytes of a parameter that trains: weight, gradient and two averages of AdamW in fp32.
TRAINED_BYTES, FROZEN_BYTES = 16, 4
PASSES = 4  # forward, backward (two forwards' worth), forward again


@dataclass(frozen=True)
class Tokens:
    """Tokens of one clip: of the picture and the sound, and rows of text and reference."""

    video: int
    audio: int
    text: int
    reference: int


def forward_flops(config: Any, tokens: Tokens) -> float:
    """FLOPs of one forward of one clip: 2 for each multiplication and addition of the matrix products."""
    dim, joint = config.dim, tokens.video + tokens.audio
    linear = (6 * dim**2 + 2 * dim * config.ffn_dim) * joint  # q k v o, cross q o, FFN
    streams = (tokens.video > 0) + (tokens.audio > 0)
    linear += 2 * dim**2 * (streams * tokens.text + (tokens.reference if tokens.audio else 0))  # k, v of the conditions
    scores = joint * joint + joint * tokens.text + tokens.audio * tokens.reference
    return config.num_layers * (2 * linear + 4 * dim * scores)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tflops", type=float, default=400.0, help="what one GPU reaches, assumed")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--config", help="JSON of a model's config; default the full model")
    given = parser.parse_args()
    import_package()

    import torch

    from unitalking import timeline
    from unitalking.config import UniTalkingConfig
    from unitalking.mapping import from_mapping
    from unitalking.model.transformer import UniTalking

    config = from_mapping(UniTalkingConfig, json.loads(Path(given.config).read_text()) if given.config else {})
    size = config.trained
    frames = timeline.video_latents(size.frames, config.time_stride)
    grid = (size.height // config.side_multiple) * (size.width // config.side_multiple)
    sound = timeline.audio_latents(size.frames, config.fps, config.sample_rate, config.samples_per_latent)
    network = UniTalking(config, device="meta", dtype=torch.float32)
    video, audio = (sum(p.numel() for p in s.parameters()) for s in (network.video, network.audio))
    stages = {
        "stage 1 (speech)": (Tokens(0, sound, config.text_len, config.reference_tokens), 256, audio, video),
        "stage 2 (joint)": (
            Tokens(frames * grid, sound, config.text_len, config.reference_tokens),
            64,
            video + audio,
            0,
        ),
    }
    print(f"{size.width}x{size.height}x{size.frames}: {frames * grid} picture and {sound} sound tokens")
    print(f"parameters: picture {video / 1e9:.2f} B, sound {audio / 1e9:.2f} B")
    for name, (tokens, batch, trained, frozen) in stages.items():
        sample = PASSES * forward_flops(config, tokens)
        total = sample * batch * 100_000
        days = total / (given.tflops * 1e12) / DAY_S
        states = (trained * TRAINED_BYTES + frozen * FROZEN_BYTES) / given.gpus
        kept = (tokens.video + tokens.audio) * config.dim * config.num_layers * 2
        print(
            f"{name}: {sample / 1e12:.0f} TFLOP a clip, {total:.2e} FLOP for 100,000 steps of {batch}; "
            f"{days:.0f} GPU days, {days / given.gpus:.1f} days on {given.gpus} GPUs at {given.tflops:g} TFLOP/s each; "
            f"weights and optimiser {states / 1e9:.0f} GB a GPU, kept between blocks {kept / 1e9:.1f} GB a clip"
        )


if __name__ == "__main__":
    main()
