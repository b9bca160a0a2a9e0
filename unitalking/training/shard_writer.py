"""Writing shards of cached latents: `ShardWriter` puts clips into webdataset tar files and indexes them (`shards`)."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .dataset import ShardInfo
from .shards import COLUMNS, INDEX_VERSION, TENSORS, TEXT, CachedClip, encode_sample


@dataclass
class ShardWriter:
    """Writes clips into shards `NAME-00.tar`, `NAME-01.tar`, ... of a folder; the same clips give the same bytes.

    A shard appears under its name when it is complete. Use as a context manager, or call `close`.

    Attributes:
        folder: must exist.
        name: what the shards' names begin with.
        max_samples, max_bytes: a shard is complete when it holds so many clips, or so much.
        written: the complete shards.
    """

    folder: Path
    name: str = "shard"
    max_samples: int = 1000
    max_bytes: int = 1_000_000_000
    written: list[ShardInfo] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._file: Any = None
        self._tar: Any = None
        self._rows: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def add(self, clip: CachedClip) -> None:
        """Appends a clip.

        Raises:
            ValueError: a clip that training could not use, or a key that this shard holds already.
            OSError: the disk is full; complete shards are unharmed.
        """
        clip.check()
        members = encode_sample(clip)
        size = sum(map(len, members.values()))
        if self._rows and (len(self._rows) >= self.max_samples or self._bytes + size > self.max_bytes):
            self.close()
        if clip.key in self._rows:
            raise ValueError(f"clip key: {clip.key!r} is in this shard already; keys must differ.")
        try:
            if self._tar is None:
                self._open()
            self._tar.write({"__key__": clip.key, **members})
        except OSError as error:
            self._discard()
            raise disk_error(error, self.folder) from error
        self._bytes += size
        self._rows[clip.key] = _row(clip, members)

    def close(self) -> None:
        """Completes the shard that is being written, if any.

        Raises:
            OSError: the disk is full; the shards completed before are unharmed.
        """
        if self._tar is None:
            return
        path, temporary = self._paths()
        try:
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            index = _index(path.name, temporary, self._rows)
            text = path.with_suffix(".json.part")
            text.write_text(json.dumps(index, separators=(",", ":")), encoding="utf-8")
            text.replace(path.with_suffix(".json"))
            temporary.replace(path)
        except OSError as error:
            self._discard()
            raise disk_error(error, self.folder) from error
        self.written.append(ShardInfo(path.stem, index["bytes"], len(self._rows)))
        self._file, self._tar, self._rows = None, None, {}

    def _open(self) -> None:
        from webdataset import TarWriter

        self._file = self._paths()[1].open("wb")
        # A fixed time and owner: the same clips give the same file.
        self._tar = TarWriter(self._file, encoder=False, mtime=0.0, user="", group="")
        self._bytes = 0

    def _paths(self) -> tuple[Path, Path]:
        path = self.folder / f"{self.name}-{len(self.written):02d}.tar"
        return path, path.with_suffix(f".tar.{os.getpid()}.part")

    def _discard(self) -> None:
        """Drops the shard that is being written."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is buffered does not fit either
                if self._tar is not None:
                    self._tar.close()
            with contextlib.suppress(OSError):
                self._file.close()
            path, temporary = self._paths()
            for leftover in (temporary, path.with_suffix(".json.part")):
                leftover.unlink(missing_ok=True)
        self._file, self._tar, self._rows = None, None, {}


def _row(clip: CachedClip, members: dict[str, bytes]) -> dict[str, Any]:
    """What the index says about a clip, but for the positions."""
    video = (0, 0, 0, 0) if clip.video is None else clip.video.shape
    numbers = (
        *(clip.frames, video[1], video[2], video[3], 0 if clip.audio is None else clip.audio.shape[1]),
        *(len(clip.references), 0 if clip.context is None else clip.context.shape[0]),
    )
    checksums = {kind: zlib.crc32(data) for kind, data in members.items()}
    return {"speaker": clip.speaker, "checksums": checksums, **dict(zip(COLUMNS, numbers, strict=True))}


def _index(name: str, path: Path, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The index of a complete shard: one list per column."""
    members: dict[str, list[list[int]]] = {TENSORS: [], TEXT: []}
    with tarfile.open(path) as tar:
        for member in tar:
            key, kind = member.name.split(".", 1)
            members[kind].append([member.offset_data, member.size, rows[key]["checksums"][kind]])
    columns = {column: [row[column] for row in rows.values()] for column in (*COLUMNS, "speaker")}
    size = path.stat().st_size
    return {"format_version": INDEX_VERSION, "shard": name, "bytes": size, "key": [*rows], **members, **columns}


def disk_error(error: OSError, folder: Path) -> OSError:
    """What a full disk means for a data set in `folder`; other errors as they are."""
    if error.errno != errno.ENOSPC:
        return error
    free = shutil.disk_usage(folder).free / 1e6
    return OSError(
        errno.ENOSPC,
        f"the disk is full ({free:.0f} MB free): the shards that are complete are kept. Make room and run the same "
        "command again, it goes on from there",
        str(folder),
    )
