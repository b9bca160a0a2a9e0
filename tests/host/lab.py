"""A small random model inside the real ComfyUI, in this process: what the sampling tests arrange and measure with.

Everything runs in float32 on the CPU, so that equalities are sharp.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

STEPS = 3
SIZES = {
    "dim": 32,
    "ffn_dim": 48,
    "num_heads": 2,
    "num_layers": 2,
    "in_dim": 8,
    "out_dim": 8,
    "audio_channels": 6,
    "text_dim": 16,
    "text_len": 16,
    "freq_dim": 32,
    "reference_tokens": 12,
    "sample_rate": 16000,
    "hop": 256,
}
TEXT_ENCODER = {"dim": 16, "layers": 1, "heads": 2, "max_bytes": 16, "audio_latents_per_s": 31.25}


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rel(actual: Tensor, expected: Tensor) -> float:
    """|actual - expected| / |expected|; NaN anywhere gives NaN."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether two lists of streams are the same bit for bit, and finite."""
    return len(first) == len(second) and all(
        torch.equal(a, b) and bool(a.isfinite().all()) for a, b in zip(first, second, strict=True)
    )


def differ(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[bool]:
    """Stream by stream, whether two results are visibly different: by more than a thousandth."""
    return [rel(a, b) > 1e-3 for a, b in zip(first, second, strict=True)]


class Parts(NamedTuple):
    """What Load UniTalking Model gives."""

    model: Any
    clip: Any
    vae: Any
    audio_vae: Any


class Lab:
    """The small model and the host's own nodes around it."""

    def __init__(self, pack: Callable[[str], ModuleType], folder: Path) -> None:
        self.pack, self.folder = pack, folder
        self.host = importlib.import_module("nodes")
        self.custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
        self.samplers = importlib.import_module("comfy.samplers")
        self.nested = importlib.import_module("comfy.nested_tensor").NestedTensor
        self.extension = importlib.import_module("comfy.patcher_extension").WrappersMP
        self.config = self.make_config()
        self.path = self.write("tiny.safetensors")
        self.model = self.load(self.path)
        self.clip = pack("nodes.clip").load_bundled_clip(pack("nodes.loading").read_model_file(str(self.path))[0])

    # Files and models

    def make_config(self, **changes: Any) -> Any:
        """The config of the small model."""
        module = self.pack("unitalking.config")
        sampling = module.Sampling(steps=4, sigma_shift=3.0, guidance_video=2.5, guidance_audio=2.0)
        return module.UniTalkingConfig(**{**SIZES, "sampling": sampling, "text_encoder": TEXT_ENCODER, **changes})

    def write(self, name: str, config: Any = None, seed: int = 0) -> Path:
        """A random model file in the lab's folder."""
        path = self.folder / name
        self.pack("unitalking.checkpoint.random_model").write_random(path, config or self.config, seed)
        return path

    def rewrite(self, name: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], **metadata: str) -> Path:
        """The small model's file with its tensors changed; weights become float32 first, the config is a tensor."""
        tensors = {key: value.float() if value.is_floating_point() else value for key, value in self.tensors().items()}
        path = self.folder / name
        save_file({key: value.contiguous() for key, value in change(tensors).items()}, path, metadata or None)
        return path

    def tensors(self) -> dict[str, Tensor]:
        """Everything in the small model's file."""
        return load_file(self.path)

    def load(self, path: Path, **options: Any) -> Any:
        """A MODEL from a file, in float32 unless told otherwise."""
        return self.pack("nodes.loading").load_model(str(path), {"dtype": torch.float32, **options})

    def save(self, model: Any, name: str) -> Path:
        """The file that the stock ModelSave writes."""
        node = importlib.import_module("comfy_extras.nodes_model_merging").ModelSave()
        node.save(model, f"diffusion_models/{name}")
        return sorted(Path(node.output_dir, "diffusion_models").glob(f"{name}_*"))[-1]

    # Inputs

    def latent(self, **changes: Any) -> dict[str, Any]:
        """An empty clip of 64 x 64 pixels and 9 frames: video (B, 8, 3, 4, 4), audio (B, 6, 12)."""
        size = {"width": 64, "height": 64, "frames": 9, **changes}
        return self.pack("nodes.latents").empty_latent(self.config, **size)

    def held(self, latent: dict[str, Any]) -> dict[str, Any]:
        """The clip with a random first frame held, as Portrait Image does it."""
        video = latent["samples"].unbind()[0]
        first = normal(1, video.shape[1], 1, *video.shape[3:], seed=20)
        return self.pack("nodes.latents").hold_first_frame(latent, first)

    def masked(self, video: Tensor, audio: Tensor, video_mask: Tensor, audio_mask: Tensor) -> dict[str, Any]:
        """A LATENT with these streams and these masks."""
        return {"samples": self.nested((video, audio)), "noise_mask": self.nested((video_mask, audio_mask))}

    def text(self, text: str) -> list:
        """Conditioning from the stock CLIP Text Encode."""
        return self.host.CLIPTextEncode().encode(self.clip, text)[0]

    def prompt(self, *, voice: bool = True, speech: str = "Hello", scene: str = "a man") -> tuple[list, list]:
        """Positive and negative from Text Prompt, with texts of their own for the sound."""
        given = {"scene": scene, "sound": "room", "negative_picture": "blur", "negative_sound": "robot"}
        out = self.pack("nodes.conditioning").TextPrompt.execute(
            self.model, self.clip, speech, **given, prompt_style="plain", voice=self.voice() if voice else None
        )
        return out.args[0], out.args[1]

    def voice(self, seed: int = 30, length: int = 9) -> Any:
        """A VOICE of random latents."""
        codec = self.pack("unitalking.checkpoint.codec_id").codec_id(self.config)
        latents = normal(1, self.config.audio_channels, length, seed=seed)
        return self.pack("nodes.voice").Voice(latents, codec, self.config.sample_rate, "")

    # The host's nodes and ours

    def ksampler(self, model: Any, conds: tuple[list, list], latent: dict[str, Any], **changes: Any) -> list[Tensor]:
        """The stock KSampler; the streams of its result."""
        settings = {"seed": 3, "steps": STEPS, "cfg": 2.5, "sampler_name": "euler", "scheduler": "simple", **changes}
        node = self.host.KSampler()
        return self.streams(node.sample(model, **settings, positive=conds[0], negative=conds[1], latent_image=latent))

    def advanced(
        self, noise: Any, guider: Any, sampler: Any, sigmas: Tensor, latent: dict[str, Any], output: int = 0
    ) -> list[Tensor]:
        """The stock SamplerCustomAdvanced; the streams of its first or second output."""
        if isinstance(sampler, str):
            sampler = self.samplers.sampler_object(sampler)
        return self.streams(
            self.custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args[output:]
        )

    def joint(self, model: Any, conds: tuple[list, list], latent: dict[str, Any], **changes: Any) -> list[Tensor]:
        """Joint Flow Sampler; the streams of its result."""
        settings = {
            "seed": 3,
            "preset": "standard",
            "steps": STEPS,
            "guidance_video": 0.0,
            "guidance_audio": 0.0,
            "guidance_voice": 0.0,
            "sigma_shift": 0.0,
            "sampler": "flow_unipc",
            "scheduler": "wan",
            "denoise": 1.0,
            **changes,
        }
        node = self.pack("nodes.sampler").JointSampler
        return self.streams(node.execute(model, *conds, latent, **settings).args)

    def guider(self, model: Any, conds: tuple[list, list], *strengths: float) -> Any:
        """Joint Guider with strengths for picture, sound and voice; 0 is the model's own, for the voice linked."""
        return self.pack("nodes.guider").JointGuider.execute(model, *conds, *strengths).args[0]

    def random_noise(self, seed: int = 3) -> Any:
        """The stock Random Noise."""
        return self.custom.Noise_RandomNoise(seed)

    def joint_noise(self, seed: int = 3) -> Any:
        """Joint Noise."""
        return self.pack("nodes.sampling").JointNoise.execute(seed).args[0]

    def flow_sigmas(self, model: Any, steps: int = STEPS, shift: float = 0.0) -> Tensor:
        """Flow Sigmas."""
        return self.pack("nodes.sampling").FlowSigmas.execute(model, steps, shift).args[0]

    def flow_unipc(self) -> Any:
        """Flow UniPC."""
        return self.pack("nodes.sampling").FlowUniPC.execute().args[0]

    def sigmas(self, model: Any, steps: int = STEPS, scheduler: str = "simple") -> Tensor:
        """A stock schedule."""
        return self.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)

    def streams(self, output: Sequence[dict[str, Any]]) -> list[Tensor]:
        """The streams of a node's LATENT."""
        samples = output[0]["samples"]
        return list(samples.unbind()) if getattr(samples, "is_nested", False) else [samples]

    # Measuring

    def wrapped(self, model: Any, wrapper: Callable[..., Any]) -> Any:
        """A clone whose network calls go through `wrapper(executor, latents, timestep, context, options)`."""
        clone = model.clone()
        clone.add_wrapper_with_key(self.extension.DIFFUSION_MODEL, "lab", wrapper)
        return clone

    def watched(self, model: Any) -> tuple[Any, list[dict[str, Any]]]:
        """A clone, and the list that its network calls are written into."""
        calls: list[dict[str, Any]] = []

        def note(executor: Any, latents: list[Tensor], timestep: Tensor, context: Tensor, options: dict) -> Any:
            calls.append(
                {
                    "batch": latents[0].shape[0],
                    "latents": [part.clone() for part in latents],
                    "timestep": timestep.clone(),
                    "options": options,
                }
            )
            out = executor(latents, timestep, context, options)
            calls[-1]["velocity"] = [part.clone() for part in out] if isinstance(out, list) else [out.clone()]
            return out

        return self.wrapped(model, note), calls

    @contextmanager
    def counted(self, names: Sequence[str], model: Any = None) -> Iterator[Counter[str]]:
        """Counts the forward calls of modules of the network, and keeps their inputs under `.inputs`."""
        network = (model or self.model).model.diffusion_model
        counts: Counter[str] = Counter()
        counts.inputs = {name: [] for name in names}  # type: ignore[attr-defined]

        def note(name: str) -> Callable[..., None]:
            def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
                counts[name] += 1
                counts.inputs[name].append(inputs[0].clone())  # type: ignore[attr-defined]

            return hook

        handles = [network.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
        try:
            yield counts
        finally:
            for handle in handles:
                handle.remove()
