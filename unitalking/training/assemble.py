"""`python -m unitalking.training.assemble`: the files that three runs left, as one bundle with measured statistics.

The network in it is random (`checkpoint.random_model`): the bundle is what data are prepared with, and what the run of
the network takes its codecs from.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint.random_model import TINY, random_tensors
from ..codec.audio_codec import AUDIO_CODEC_TINY, AudioCodec, AudioCodecConfig
from ..codec.video_vae import VideoVAE, VideoVAEConfig
from ..codec.vocoder import VocoderConfig
from ..config import UniTalkingConfig
from ..synthetic import SyntheticClips, SyntheticConfig
from .audio_vae import AudioVAEConfig
from .bundle import measure_domain, measure_latents, with_codecs
from .part_files import load_part
from .result import write_bundle
from .settings import TrainingError

log = logging.getLogger(__name__)
FROM_NETWORK = ("video", "audio", "text_encoder")


@dataclass(frozen=True)
class Codecs:
    """Trained codecs."""

    video_vae: VideoVAE
    audio_codec: AudioCodec


def load_codecs(video_vae: Path, audio_vae: Path, vocoder: Path | None) -> Codecs:
    """The codecs whose parts these runs have written; without a vocoder a small random one.

    Raises:
        TrainingError: a file that is missing, holds another part, or does not fit the others.
    """
    video_config, video_tensors = load_part(video_vae, "video_vae", VideoVAEConfig)
    audio_config, audio_tensors = load_part(audio_vae, "audio_vae", AudioVAEConfig)
    vocoder_config, vocoder_tensors = AUDIO_CODEC_TINY.vocoder, None
    if vocoder is not None:
        vocoder_config, vocoder_tensors = load_part(vocoder, "vocoder", VocoderConfig)
    try:
        config = AudioCodecConfig(
            audio_config.mel, audio_config.latent_channels, audio_config.hidden_dim, vocoder_config
        )
    except ValueError as error:
        raise TrainingError(f"{vocoder or 'A random vocoder'} does not fit {audio_vae}: {error}") from error
    torch.manual_seed(0)
    codecs = Codecs(VideoVAE(video_config), AudioCodec(config))
    codecs.video_vae.load_state_dict(video_tensors)
    codecs.audio_codec.vae.load_state_dict(audio_tensors)
    if vocoder_tensors is not None:
        codecs.audio_codec.vocoder.load_state_dict(vocoder_tensors)
    return codecs


def assemble(
    path: Path, codecs: Codecs, data: SyntheticConfig, pictures: int = 2000, base: UniTalkingConfig = TINY
) -> int:
    """Measures the latents and writes the bundle.

    Args:
        path: where to.
        codecs: trained.
        data: the clips that statistics are measured on.
        pictures: how many clips show what the model will know as first pictures.
        base: the network's sizes.

    Returns:
        Bytes written.

    Raises:
        TrainingError: the disk is full.
    """
    video_vae, audio_codec = codecs.video_vae.eval(), codecs.audio_codec.eval()
    config = with_codecs(replace(base, name="codecs"), video_vae.config, audio_codec.config)
    measured = measure_latents(video_vae, audio_codec, SyntheticClips(data), data.clips // 4, data.clips)
    shortest = replace(data, clips=pictures, shortest_s=1.0, longest_s=1.5)  # of each clip one picture counts
    domain = measure_domain(video_vae, SyntheticClips(shortest), pictures)
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in FROM_NETWORK}
    for entry, values in random_tensors(config, seed=0):
        part, _, name = entry.name.partition(".")
        if part in parts:
            parts[part][name] = values
    parts |= {"video_vae": video_vae.state_dict(), "audio_vae": audio_codec.state_dict()}
    statistics = {"video": measured.video, "audio": measured.audio}
    about = {"torch": torch.__version__}
    return write_bundle(path, config, parts, statistics, measured.rgb, about, domain=domain)


def main(arguments: list[str] | None = None) -> int:
    """Parses, loads, writes; the exit status."""
    parser = argparse.ArgumentParser("python -m unitalking.training.assemble", description=__doc__.splitlines()[0])
    for name in ("video_vae", "audio_vae"):
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=Path, required=True, help=f"{name}.safetensors of a run"
        )
    parser.add_argument("--vocoder", type=Path, help="vocoder.safetensors of a run; latents do without")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--clips", type=int, default=256, help="clips to measure; pictures of a quarter of them")
    parser.add_argument("--pictures", type=int, default=2000, help="clips whose pictures the model is to know")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        codecs = load_codecs(given.video_vae, given.audio_vae, given.vocoder)
        size = assemble(given.out, codecs, SyntheticConfig(clips=given.clips), given.pictures)
    except (TrainingError, ValueError) as error:
        log.error("Error: %s", error)
        return 1
    log.info("%s: %.1f MB", given.out, size / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
