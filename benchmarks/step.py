"""Times one network step: our video stream against ComfyUI's WanModel, the joint step against its parts, and the sound
of a given picture (TV2A) against the joint step.

Usage, in the environment of scripts/environment.py with COMFYUI_PATH set:

    python benchmarks/step.py [--width 704 --height 704 --frames 121] [--preset slice] [--dtype bf16] [--device cuda]
    python benchmarks/step.py --widths models/unitalking_embedded.safetensors --dtype fp32

--widths takes the config of a model file instead of a preset, without WanModel beside it.

Every number is the median of alternating runs in one process, so that a busy machine slows all candidates alike; what
counts are the ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from package import import_package

DTYPES = ("bf16", "fp32")


def import_host(device: str) -> None:
    """Makes ComfyUI importable on the device, before anything of it is."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        sys.exit("COMFYUI_PATH is not set: run this through the environment of scripts/environment.py.")
    sys.path.insert(0, path)
    sys.argv = [sys.argv[0], *(["--cpu"] if device == "cpu" else [])]
    import comfy.options

    comfy.options.enable_args_parsing()


def parse() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="slice", choices=("tiny", "slice", "full"))
    parser.add_argument("--widths", type=Path, help="model file whose config to use")
    parser.add_argument("--layers", type=int, help="blocks, instead of the preset's")
    parser.add_argument("--width", type=int, default=704)
    parser.add_argument("--height", type=int, default=704)
    parser.add_argument("--frames", type=int, default=121)
    parser.add_argument("--dtype", default="bf16", choices=DTYPES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Builds the candidates, times them in turns and prints one JSON line."""
    options = parse()
    import_host(options.device)
    import_package()
    import torch

    torch.set_grad_enabled(False)
    bench = Bench(options)
    times = alternate(bench.candidates(), options.repeats, bench.wait)
    median = {name: statistics.median(values) for name, values in times.items()}
    result = {
        **{f"{name}_s": round(value, 4) for name, value in median.items()},
        **({"video_over_wan": round(median["video"] / median["wan"], 3)} if "wan" in median else {}),
        "joint_over_parts": round(median["joint"] / (median["video"] + median["audio"]), 3),
        "joint_over_given_picture": round(median["joint"] / median["given_picture"], 1),
        **{name: str(value) for name, value in vars(options).items()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


def alternate(
    candidates: dict[str, Callable[[], object]], repeats: int, wait: Callable[[], None]
) -> dict[str, list[float]]:
    """Seconds of each candidate, measured in turns after one warm-up of each."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats + 1):
        for name, call in candidates.items():
            wait()
            started = time.perf_counter()
            call()
            wait()
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


def _config_of(path: Path) -> object:
    """The config in a model file."""
    from safetensors import safe_open

    from unitalking.checkpoint.files import read_config

    with safe_open(path, framework="pt") as file:
        return read_config({}, file.metadata() or {}, path.name)[0]


class Bench:
    """The same latents, text and weights for ComfyUI's WanModel and for ours."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        from unitalking import timeline
        from unitalking.checkpoint.random_model import PRESETS
        from unitalking.model.transformer import UniTalking

        config = _config_of(options.widths) if options.widths else PRESETS[options.preset]
        if options.layers:
            config = dataclasses.replace(config, num_layers=options.layers)
        dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[options.dtype]
        self.device, self.config = torch.device(options.device), config
        factory = {"device": self.device, "dtype": dtype}
        generator = torch.Generator(self.device).manual_seed(0)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, device=self.device).to(dtype)

        import comfy.ops

        self.model = UniTalking(config, operations=comfy.ops.disable_weight_init, **factory).eval()
        for weight in self.model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, device=self.device) * 0.02)
        stride = config.video_stride
        frames = timeline.video_latents(options.frames, stride[0])
        self.video = normal(1, config.in_dim, frames, options.height // stride[1], options.width // stride[2])
        length = timeline.audio_latents(options.frames, config.fps, config.sample_rate, config.samples_per_latent)
        self.audio = normal(1, config.audio_channels, length)
        self.context = normal(1, config.text_len, config.text_dim)
        self.timestep = torch.tensor([700.0], device=self.device)
        self.wan = None if options.widths else self._wan(factory)

    def _wan(self, factory: dict) -> object:
        import comfy.ops
        from comfy.ldm.wan.model import WanModel

        from unitalking.checkpoint.keys import to_file_keys

        config = self.config
        wan = WanModel(
            model_type="t2v",
            patch_size=config.patch_size,
            text_len=config.text_len,
            in_dim=config.in_dim,
            dim=config.dim,
            ffn_dim=config.ffn_dim,
            freq_dim=config.freq_dim,
            text_dim=config.text_dim,
            out_dim=config.out_dim,
            num_heads=config.num_heads,
            num_layers=config.num_layers,
            operations=comfy.ops.disable_weight_init,
            **factory,
        ).eval()
        wan.load_state_dict(to_file_keys(self.model.video.state_dict()), strict=True)
        return wan

    def candidates(self) -> dict[str, Callable[[], object]]:
        """What is timed: WanModel, our video stream, our audio stream, both joined, and the sound beside a picture that
        has run. Text is projected beforehand."""
        from comfy.ldm.modules.attention import optimized_attention

        from unitalking.types import NoiseLevels, StreamInput

        video, audio = self.model.encode_conditions(self.context, self.context)

        def stream(latent: object, layout: Callable, conditions: object) -> StreamInput:
            rope, extra = layout(latent)
            noise = NoiseLevels.uniform(self.timestep, rope.cos.shape[0])
            return StreamInput(latent, noise, rope, conditions, extra)

        def attention(queries: object, keys: object, values: object, heads: int) -> object:
            return optimized_attention(queries, keys, values, heads=heads)

        video_input = stream(self.video, self.model.video_layout, video)
        audio_input = stream(self.audio, self.model.audio_layout, audio)
        wan = {"wan": lambda: self.wan(self.video, self.timestep, self.context, transformer_options={})}
        seen = self.model.see_picture(video_input, attention=attention)
        return {
            **(wan if self.wan is not None else {}),
            "given_picture": lambda: self.model(None, audio_input, seen_picture=seen, attention=attention),
            "video": lambda: self.model(video_input, None, attention=attention),
            "audio": lambda: self.model(None, audio_input, attention=attention),
            "joint": lambda: self.model(video_input, audio_input, attention=attention),
        }

    def wait(self) -> None:
        """Until the device is idle."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


if __name__ == "__main__":
    main()
