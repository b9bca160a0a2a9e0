"""One clip from a model file to an MP4 through ComfyUI's own machinery, with time and peak memory of each stage.

Usage, in the environment of scripts/environment.py with COMFYUI_PATH set:

    python -m unitalking.checkpoint random --preset slice --out slice.safetensors
    python benchmarks/clip.py slice.safetensors --out clip.mp4 [--frames 121 --steps 1 --device cpu]

Text is random. The picture codec has random weights: ComfyUI's Wan2.2 VAE, or the small one of a bundle with as many
channels (`--picture-codec small`), since the Wan2.2 VAE takes hours on a CPU.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def parse() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, default=Path("clip.mp4"))
    parser.add_argument("--width", type=int, default=704)
    parser.add_argument("--height", type=int, default=704)
    parser.add_argument("--frames", type=int, default=121)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--cfg", type=float, default=4.0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--weight-dtype", default="default", help="default, bf16, fp32, fp8_e4m3fn")
    parser.add_argument("--picture-codec", choices=("wan", "small"), default="wan", help="random weights, both")
    parser.add_argument("--no-decode", action="store_true", help="stop after sampling")
    return parser.parse_args()


def import_pack(device: str) -> Callable[[str], Any]:
    """ComfyUI's modules, and the pack as a package beside them; the repository root stays off sys.path."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        sys.exit("COMFYUI_PATH is not set: run this through the environment of scripts/environment.py.")
    sys.path.insert(0, path)
    sys.argv = [sys.argv[0], "--base-directory", tempfile.mkdtemp(), *(["--cpu"] if device == "cpu" else [])]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("nodes")
    spec = importlib.util.spec_from_file_location(
        "unitalking_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["unitalking_pack"] = module
    spec.loader.exec_module(module)
    return lambda name: importlib.import_module(f"unitalking_pack.{name}")


class Stages:
    """Seconds and peak memory of each stage."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.rows: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures what runs inside."""
        import torch

        cuda = self.device == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        yield
        if cuda:
            torch.cuda.synchronize()
        row = {"seconds": round(time.perf_counter() - started, 1)}
        row["peak_process_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
        if cuda:
            row["peak_gpu_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        self.rows[name] = row
        print(json.dumps({name: row}), flush=True)


def random_wan_vae() -> Any:
    """ComfyUI's Wan2.2 VAE around random weights."""
    import comfy.sd
    import torch
    from comfy.ldm.wan.vae2_2 import WanVAE

    torch.manual_seed(0)
    module = WanVAE(dim=160, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[])
    weights = {
        key: torch.ones_like(value) if key.endswith("gamma") else torch.randn_like(value) * 0.02
        for key, value in module.state_dict().items()
    }
    return comfy.sd.VAE(sd=weights)


def random_small_vae(pack: Callable[[str], Any], config: Any) -> Any:
    """The small video VAE at its default size with the model's channels."""
    codec = pack("unitalking.codec.video_vae")
    module = codec.VideoVAE(codec.VideoVAEConfig(latent_channels=config.in_dim))
    return pack("nodes.vae").VideoVAE(module, config)


def main() -> None:
    """Runs the stages."""
    options = parse()
    pack = import_pack(options.device)
    import torch

    import nodes

    stages = Stages(options.device)
    loading, latents = pack("nodes.loading"), pack("nodes.latents")
    with stages.stage("load"), torch.inference_mode():
        file, _ = loading.read_model_file(str(options.model))
        dtypes = pack("nodes.loaders").WEIGHT_DTYPES[options.weight_dtype]
        model = loading.patch_model(file, str(options.model), dict(dtypes))
        audio_vae = pack("nodes.vae").load_audio_vae(file.config, file.parts["audio_vae"], file.name)
    config = file.config
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(1, config.text_len, config.text_dim, generator=generator)
    latent = latents.empty_latent(config, options.width, options.height, options.frames)
    with stages.stage("sample"), torch.inference_mode():
        conditions = ([[context, {}]], [[torch.zeros_like(context), {}]])
        settings = (options.steps, options.cfg, "euler", "simple")
        latent = nodes.common_ksampler(model, 0, *settings, *conditions, latent)[0]
    if options.no_decode:
        return
    decode = pack("nodes.decode")
    video, audio = decode.streams_of(latent)
    with stages.stage("decode picture, tiled"), torch.inference_mode():
        vae = random_wan_vae() if options.picture_codec == "wan" else random_small_vae(pack, config)
        pictures = decode.decode_pictures(vae, video, tiled=True)
    with stages.stage("decode sound"), torch.inference_mode():
        sound = decode.decode_sound(audio_vae, audio, pictures.shape[0], config.fps)
    with stages.stage("save"):
        settings = {"crf": 18, "lossless": False, "audio_codec": "aac", "audio_bitrate_kbps": 192}
        more = {"loudness_lufs": None, "metadata": {}, "on_progress": None}
        pack("nodes.mp4").write_mp4(options.out, pictures, sound, fps=config.fps, **settings, **more)


if __name__ == "__main__":
    main()
