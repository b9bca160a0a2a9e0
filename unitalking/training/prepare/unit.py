"""One unit of work: consecutive clips, read, filtered, encoded, and written as shards of their own.

What a unit writes depends on its clips alone, so any number of processes gives the same data set, and a unit that was
interrupted is made anew. Its record, written last, says that it is complete.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...mapping import to_mapping
from ..dataset import ShardInfo
from ..shard_writer import ShardWriter
from .clips import ClipReader, RawClip, ReadSettings
from .encoders import EncoderFiles, Encoders, load_encoders
from .filters import Filters, FilterSettings, library
from .sources import SYNTHETIC, ClipSource, SkipClip
from .sums import DataSums

WORK = "work"
STAGES = ("read", "filter", "references", "video", "audio", "text", "write")


@dataclass(frozen=True)
class PrepareSettings:
    """Everything that decides what a data set holds.

    Attributes:
        source: folder, manifest, or `synthetic:...`.
        files: the encoders.
        read, filters: how clips are read, and which are left out.
        shard_clips, shard_bytes: clips of a unit, and largest size of a shard.
        limit: only the first so many clips; None: all.
    """

    source: str
    files: EncoderFiles
    read: ReadSettings
    filters: FilterSettings = field(default_factory=FilterSettings)
    shard_clips: int = 256
    shard_bytes: int = 1_000_000_000
    limit: int | None = None


@dataclass(frozen=True)
class Unit:
    """Unit number `number`: its clips."""

    number: int
    clips: tuple[ClipSource, ...]

    @property
    def name(self) -> str:
        """What its shards' names begin with."""
        return f"{self.number:06d}"


class Preparer:
    """What a process needs to make units: encoders, reader and filters, loaded once.

    Raises:
        ValueError: files, settings and model do not fit together.
    """

    def __init__(self, settings: PrepareSettings, out: Path) -> None:
        library("webdataset", "prepare")
        self.settings, self.out = settings, out
        self.encoders: Encoders = load_encoders(settings.files, audio_only=settings.read.audio_only)
        config = self.encoders.config
        if settings.source.startswith(SYNTHETIC):
            from .synthetic_clips import SyntheticReader

            self.reader: Any = SyntheticReader(settings.source, config, settings.read)
        else:
            self.reader = ClipReader(config, settings.read)
        self.filters = Filters(settings.filters, config.fps, config.sample_rate)

    def make(self, unit: Unit, progress: Callable[[int, int], None]) -> None:
        """Makes a unit: its shards and its record.

        Args:
            unit: the unit.
            progress: called with (clips kept, clips skipped) after each clip of the source.

        Raises:
            OSError: the disk is full.
            RuntimeError: encoding failed, and at which clip.
        """
        config, started = self.encoders.config, time.perf_counter()
        sums, skipped = DataSums.zero(config.in_dim, config.audio_channels), []
        clock = Clock()
        options = {"max_samples": self.settings.shard_clips, "max_bytes": self.settings.shard_bytes}
        with ShardWriter(self.out, unit.name, **options) as writer:
            for source in unit.clips:
                kept = 0
                try:
                    for clip in clock.spent(self.reader.read(source), "read"):
                        self._add(clip, writer, sums, clock)
                        kept += 1
                except SkipClip as reason:
                    skipped.append({"clip": source.key, "source": source.name, "reason": str(reason)})
                progress(kept, not kept)
            with clock.stage("write"):
                writer.close()
        record = {
            "shards": [to_mapping(shard) for shard in writer.written],
            "skipped": skipped,
            "sums": sums.to_mapping(),
            "seconds": {**clock.seconds, "all": time.perf_counter() - started},
        }
        write_json(self.out / WORK / f"{unit.name}.json", record)

    def _add(self, clip: RawClip, writer: ShardWriter, sums: DataSums, clock: Clock) -> None:
        encoders = self.encoders
        with clock.stage("filter"):
            reason = self.filters.reason(clip)
        if reason:
            raise SkipClip(reason)
        try:
            with clock.stage("video"):
                video = None if clip.frames is None else encoders.encode_video(clip.frames)
            with clock.stage("audio"):
                audio = None if clip.waveform is None else encoders.encode_audio(clip.waveform)
            with clock.stage("references"):
                references = [encoders.encode_audio(waveform) for waveform in clip.references]
            with clock.stage("text"):
                cached = encoders.finish(clip, video, audio, references)
        except Exception as error:
            raise RuntimeError(f"encoding {clip.source} failed: {error}") from error
        with clock.stage("write"):
            try:
                writer.add(cached)
            except ValueError as error:
                raise SkipClip(str(error)) from error
            if audio is not None:
                sums.audio.add(audio)
            if video is not None:
                sums.video.add(video)
                sums.colours.add(video, clip.frames, encoders.config.time_stride)


def complete(out: Path, unit: Unit) -> dict[str, Any] | None:
    """The record of a complete unit: its shards and their indexes are there, as long as they should be; else None."""
    try:
        record = json.loads((out / WORK / f"{unit.name}.json").read_text(encoding="utf-8"))
        shards = [ShardInfo(**shard) for shard in record["shards"]]
        whole = all(
            (out / f"{shard.name}.tar").stat().st_size == shard.bytes and (out / f"{shard.name}.json").is_file()
            for shard in shards
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if whole else None


def write_json(path: Path, value: Any) -> None:
    """Writes JSON under a temporary name first."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


class Clock:
    """Adds up what each stage takes."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time of what is inside belongs to this stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def spent(self, items: Iterator[Any], name: str) -> Iterator[Any]:
        """The items; the time that making them takes belongs to this stage."""
        while True:
            with self.stage(name):
                item = next(items, None)
            if item is None:
                return
            yield item
