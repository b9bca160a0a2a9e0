"""Making a data set: units shared out over processes, what is complete kept, the description written last."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from tqdm import tqdm

from ...mapping import to_mapping
from ..dataset import EMPTY_CONTEXT, DataError, DatasetInfo, EncoderInfo, ShardInfo, write_description
from ..shard_writer import disk_error
from .encoders import Encoders
from .sources import ClipSource, list_clips
from .sums import DataSums
from .unit import STAGES, WORK, Preparer, PrepareSettings, Unit, complete, write_json

PLAN = "plan.json"
SKIPPED = "skipped.jsonl"
# Settings that say where things are and not what the data set holds.
PLACES = ("model", "video_vae", "audio_codec", "comfyui", "vae", "text_encoder", "device")


@dataclass(frozen=True)
class Summary:
    """What was made.

    Attributes:
        info: the description of the data set.
        skipped: `clip`, `source` and `reason` of every clip left out.
        seconds: of every stage, over all processes and runs.
        clips_made: clips of the source that this run went through.
    """

    info: DatasetInfo
    skipped: tuple[dict[str, str], ...]
    seconds: dict[str, float]
    clips_made: int


def prepare(settings: PrepareSettings, out: Path, *, workers: int = 1, threads: int = 1) -> Summary:
    """Makes the data set, or what is missing of it.

    Args:
        settings: what it holds.
        out: its folder; may hold an earlier, interrupted run of the same settings.
        workers: processes.
        threads: of each process; a number for which the same machine gives the same bits.

    Raises:
        DataError: no clips, none that can be used, or a folder that holds something else.
        ValueError: files, settings and model do not fit together.
        OSError: the disk is full; complete shards survive.
        RuntimeError: encoding failed at a clip, or a process was killed.
    """
    try:
        return _prepare(settings, out, workers, threads)
    except OSError as error:
        raise disk_error(error, out) from error


def _prepare(settings: PrepareSettings, out: Path, workers: int, threads: int) -> Summary:
    clips = list_clips(settings.source, settings.limit)
    size = settings.shard_clips
    units = [Unit(n // size, tuple(clips[n : n + size])) for n in range(0, len(clips), size)]
    with _threads(threads):
        preparer = Preparer(settings, out)
        encoders = preparer.encoders
        _begin(out, settings, clips, encoders)
        missing = [unit for unit in units if complete(out, unit) is None]
        done = len(clips) - sum(len(unit.clips) for unit in missing)
        with tqdm(total=len(clips), initial=done, unit="clip", **_progress_options()) as bar:
            if workers > 1 and len(missing) > 1:
                del preparer
                _make_in_processes(settings, out, missing, bar, min(workers, len(missing)), threads)
            else:
                _make_here(preparer, missing, bar)
    return _finish(out, units, encoders, settings, sum(len(unit.clips) for unit in missing))


def _progress_options() -> dict[str, Any]:
    return {"mininterval": 0.5 if sys.stderr.isatty() else 30.0, "smoothing": 0.05}


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ---- units


def _make_here(preparer: Preparer, units: Sequence[Unit], bar: tqdm) -> None:
    skipped = 0

    def progress(kept: int, left_out: int) -> None:
        nonlocal skipped
        skipped += left_out
        bar.set_postfix(skipped=skipped, refresh=False)
        bar.update()

    for unit in units:
        preparer.make(unit, progress)


class _Worker:
    """What a process of the pool keeps between units."""

    preparer: Preparer
    counts: Any


def _start_worker(settings: PrepareSettings, out: Path, threads: int, counts: Any) -> None:
    torch.set_num_threads(threads)
    _Worker.preparer, _Worker.counts = Preparer(settings, out), counts


def _make_unit(unit: Unit) -> None:
    parent = multiprocessing.parent_process()

    def progress(kept: int, left_out: int) -> None:
        with _Worker.counts.get_lock():
            _Worker.counts[0] += 1
            _Worker.counts[1] += left_out
        if not parent.is_alive():
            os._exit(1)  # the run was killed: whoever starts it again makes this unit

    _Worker.preparer.make(unit, progress)


def _make_in_processes(
    settings: PrepareSettings, out: Path, units: Sequence[Unit], bar: tqdm, workers: int, threads: int
) -> None:
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 2)
    with _environment(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads)):
        pool = ProcessPoolExecutor(workers, context, _start_worker, (settings, out, threads, counts))
        try:
            pending: set[Future] = {pool.submit(_make_unit, unit) for unit in units}
            while pending:
                finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                bar.set_postfix(skipped=counts[1], refresh=False)
                bar.update(counts[0] + bar.initial - bar.n)
                for future in finished:
                    future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a process was killed, most likely for want of memory: the shards that are complete are kept; run the "
                "same command again, with fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---- beginning and end


def _begin(out: Path, settings: PrepareSettings, clips: Sequence[ClipSource], encoders: Encoders) -> None:
    """Makes the folder, or checks that what is in it was made with the same settings of the same clips."""
    plan = _plan(settings, clips, encoders)
    path = out / WORK / PLAN
    if path.is_file():
        begun = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in plan if begun.get(name) != plan[name]]
        if changed:
            raise DataError(
                f"{out} was begun with other {', '.join(changed)}: give another folder, or delete this one to make it "
                "anew."
            )
    elif out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} is not empty and no data set that was begun here: give another folder.")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, plan)
    for leftover in out.glob("*.part"):
        leftover.unlink(missing_ok=True)
    if encoders.text is not None and not (out / EMPTY_CONTEXT).is_file():
        temporary = out / f"{EMPTY_CONTEXT}.part"
        safetensors.torch.save_file({"context": encoders.encode_text("")}, temporary)
        temporary.replace(out / EMPTY_CONTEXT)


def _plan(settings: PrepareSettings, clips: Sequence[ClipSource], encoders: Encoders) -> dict[str, Any]:
    mapping = to_mapping(settings)
    for name in PLACES:
        del mapping["files"][name]
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(json.dumps({**asdict(clip), "folder": ""}, sort_keys=True).encode())
    config = encoders.config
    model = ("fps", "video_stride", "sample_rate", "hop", "in_dim", "audio_channels", "prompt_style", "text_len")
    return {
        "clips": digest.hexdigest(),
        "encoders": {name: info and info.fingerprint for name, info in encoders.infos.items()},
        "model": {name: to_mapping(config)[name] for name in (*model, "reference_tokens")},
        "reading": mapping["read"],
        "filters": mapping["filters"],
        "storage": {**mapping["files"], "shard_clips": settings.shard_clips, "shard_bytes": settings.shard_bytes},
    }


def _finish(
    out: Path, units: Sequence[Unit], encoders: Encoders, settings: PrepareSettings, clips_made: int
) -> Summary:
    """Adds up the records and writes the description."""
    config = encoders.config
    sums = DataSums.zero(config.in_dim, config.audio_channels)
    shards: list[ShardInfo] = []
    skipped: list[dict[str, str]] = []
    seconds = dict.fromkeys((*STAGES, "all"), 0.0)
    for unit in units:
        record = complete(out, unit)
        if record is None:
            raise DataError(f"{out / unit.name} disappeared while the data set was made: run the same command again.")
        shards += [ShardInfo(**shard) for shard in record["shards"]]
        skipped += record["skipped"]
        sums.merge(DataSums.from_mapping(record["sums"]))
        for stage, spent in record["seconds"].items():
            seconds[stage] += spent
    temporary = out / f"{SKIPPED}.part"
    temporary.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in skipped), encoding="utf-8")
    temporary.replace(out / SKIPPED)
    if not shards:
        reasons = "; ".join(f"{line['source']}: {line['reason']}" for line in skipped[:3])
        raise DataError(f"None of the {len(skipped)} clips can be used. {reasons}. All are listed in {out / SKIPPED}.")
    info = _describe(encoders, settings, sums, tuple(shards), len(skipped))
    write_description(out, info)
    return Summary(info, tuple(skipped), seconds, clips_made)


def _describe(
    encoders: Encoders, settings: PrepareSettings, sums: DataSums, shards: tuple[ShardInfo, ...], skipped: int
) -> DatasetInfo:
    config = encoders.config
    video = sums.video.statistics()
    infos: dict[str, EncoderInfo | None] = dict(encoders.infos)
    return DatasetInfo(
        fps=config.fps,
        video_stride=config.video_stride,
        sample_rate=config.sample_rate,
        samples_per_latent=config.samples_per_latent,
        video_channels=config.in_dim,
        audio_channels=config.audio_channels,
        prompt_style=config.prompt_style,
        dtype=settings.files.dtype,
        **infos,
        video=video,
        audio=sums.audio.statistics(),
        rgb=None if video is None else sums.colours.factors(video),
        shards=shards,
        clips=sum(shard.samples for shard in shards),
        skipped=skipped,
    )
