"""`python -m unitalking.training.prepare SOURCE OUT --model FILE`: clips -> shards of cached latents."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...config import UniTalkingConfig
from .clips import ReadSettings
from .encoders import DTYPES, EncoderFiles, model_of
from .filters import FilterSettings
from .run import SKIPPED, Summary, prepare
from .unit import STAGES, PrepareSettings

SPEECH_SHARE, FACE_SHARE = 0.3, 0.9


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m unitalking.training.prepare",
        description="Makes a data set of cached latents. Interrupted, it goes on where it was.",
    )
    command.add_argument("source", help="folder of clips with a .txt or .json beside each, .jsonl or .csv, synthetic:")
    command.add_argument("out", type=Path, help="folder of the data set")
    command.add_argument(
        "--model", required=True, help="what will be trained: a UniTalking .safetensors file, or a recipe"
    )
    add = command.add_argument_group("clips").add_argument
    add("--size", action="append", metavar="WxH", help="pixels; several: the nearest in shape (default: the model's)")
    add("--longest", type=float, metavar="S", help="longest clip, seconds (default: the model's)")
    add("--shortest", type=float, default=0.5, metavar="S", help="shortest clip, seconds")
    add("--too-long", choices=("skip", "cut"), default="skip", help="what to do with longer ones; cut repeats the text")
    add("--lowest-fps", type=float, default=15, help="refuse videos with fewer pictures per second")
    add("--audio-only", action="store_true", help="leave pictures out (stage 1)")
    add("--allow-silent", action="store_true", help="keep videos without a sound track")
    add("--allow-no-speech", action="store_true", help="keep clips without text")
    add("--references", type=int, default=1, help="reference clips of every synthetic clip")
    add("--limit", type=int, help="only the first so many clips")
    add = command.add_argument_group("filters").add_argument
    add("--require-speech", type=float, nargs="?", const=SPEECH_SHARE, default=0, metavar="SHARE", help="silero-vad")
    add("--no-silence", action="store_true", help="leave out clips that are silent all through")
    add("--longest-pause", type=float, metavar="S", help="leave out clips with a longer stretch without speech")
    add("--max-cuts", type=int, metavar="N", help="leave out clips with more scene cuts (PySceneDetect)")
    add("--require-face", type=float, nargs="?", const=FACE_SHARE, default=0, metavar="SHARE", help="OpenCV's YuNet")
    add("--face-detector", default="", metavar="FILE", help="face_detection_yunet .onnx of the OpenCV model zoo")
    add = command.add_argument_group("encoders that the model does not carry").add_argument
    add("--video-vae", default="", metavar="FILE", help="UniTalking file that holds a video_vae")
    add("--audio-codec", default="", metavar="FILE", help="UniTalking file that holds an audio_vae")
    add("--comfyui", default="", metavar="FOLDER", help="ComfyUI, whose classes load the next two")
    add("--vae", default="", metavar="FILE", help="video VAE for ComfyUI (wan2.2_vae.safetensors)")
    add("--text-encoder", default="", metavar="FILE", help="text encoder for ComfyUI (umt5_xxl ...)")
    add("--text-encoder-type", default="wan", help="ComfyUI's name of its kind")
    add = command.add_argument_group("work").add_argument
    add("--workers", type=int, default=1, help="processes")
    add("--threads", type=int, default=1, help="threads of each process")
    add("--device", default="cpu", help="cpu, cuda, ...")
    add("--dtype", choices=tuple(DTYPES), default="float16", help="of the cached latents")
    add("--shard-clips", type=int, default=256, help="clips of a shard")
    add("--shard-mb", type=float, default=1000, help="largest shard")
    return command


def settings_of(given: argparse.Namespace) -> PrepareSettings:
    """The settings of a command line.

    Raises:
        ValueError: a size that the model cannot have, or a number out of range.
    """
    files = {name: getattr(given, name) for name in EncoderFiles.__dataclass_fields__}
    config, _ = model_of(given.model)
    least = {"shard_clips": 1, "workers": 1, "threads": 1, "references": 0, "shard_mb": 0.001, "shortest": 0.0}
    wrong = [name for name, value in least.items() if getattr(given, name) < value]
    if wrong:
        raise ValueError(
            f"--{wrong[0].replace('_', '-')}: got {getattr(given, wrong[0])}, expected at least {least[wrong[0]]}."
        )
    longest = given.longest or config.trained.max_frames / config.fps
    if longest < given.shortest:
        raise ValueError(f"--longest: got {longest:g}, expected at least --shortest = {given.shortest:g}.")
    read = ReadSettings(
        sizes=tuple(
            size_of(text, config) for text in given.size or [f"{config.trained.width}x{config.trained.height}"]
        ),
        longest_s=longest,
        shortest_s=given.shortest,
        references=min(given.references, given.references if config.reference_tokens else 0),
        **{
            name: getattr(given, name)
            for name in ("too_long", "lowest_fps", "audio_only", "allow_silent", "allow_no_speech")
        },
    )
    filters = FilterSettings(
        speech_share=given.require_speech,
        no_silence=given.no_silence,
        longest_pause_s=given.longest_pause,
        max_cuts=given.max_cuts,
        face_share=given.require_face,
        face_detector=given.face_detector,
    )
    storage = {"shard_clips": given.shard_clips, "shard_bytes": round(given.shard_mb * 1e6), "limit": given.limit}
    return PrepareSettings(given.source, EncoderFiles(**files), read, filters, **storage)


def size_of(text: str, config: UniTalkingConfig) -> tuple[int, int]:
    """(width, height) of "WxH".

    Raises:
        ValueError: no such text, or sides that the model's tokens do not divide.
    """
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise ValueError(f"--size {text}: expected WIDTHxHEIGHT in pixels, such as 704x704.") from error
    multiple = config.side_multiple
    if min(width, height) < multiple or width % multiple or height % multiple:
        raise ValueError(f"--size {text}: expected multiples of {multiple} pixels for this model.")
    return width, height


def report(summary: Summary, out: Path, seconds: float) -> str:
    """What was made, in a few lines."""
    info, made = summary.info, summary.clips_made
    size = sum(shard.bytes for shard in info.shards) / 1e6
    lines = [f"{out}: {info.clips} clips in {len(info.shards)} shards, {size:.1f} MB."]
    if made:
        lines.append(f"{made} clips of the source in {seconds:.1f} s, {made / seconds:.2f} per second.")
        everything = sum(summary.seconds[stage] for stage in STAGES) or 1.0
        shares = [f"{stage} {summary.seconds[stage] / everything:.0%}" for stage in STAGES if summary.seconds[stage]]
        lines.append(f"Time: {', '.join(shares)}.")
    else:
        lines.append("Nothing was missing.")
    if summary.skipped:
        lines.append(f"{len(summary.skipped)} clips left out, listed with reasons in {out / SKIPPED}:")
        reasons = Counter(line["reason"] for line in summary.skipped)
        lines += [f"  {count} x {reason}" for reason, count in reasons.most_common(5)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 0, or 1 with a message."""
    given = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started = time.perf_counter()
    try:
        settings = settings_of(given)
        summary = prepare(settings, given.out, workers=given.workers, threads=given.threads)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return 130
    print(report(summary, given.out, time.perf_counter() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
