"""Shards of cached latents: plain webdataset tar files, with an index by which any clip is read directly.

A clip is two members of a shard, `KEY.safetensors` (its tensors) and `KEY.json` (its texts). The index beside a shard
holds position, size and checksum of both, so that training reads clips in any order: a global shuffle, batches of one
length, and resuming at an exact place need no streaming.

Axes: C channels, F latent frames, h w latent cells, L audio latents.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from .dataset import EMPTY_CONTEXT, DataError, DatasetInfo, ShardInfo, read_description

INDEX_VERSION = 1
TENSORS, TEXT = "safetensors", "json"
TEXT_FIELDS = ("prompt", "speech", "scene", "sound", "speaker", "source")
COLUMNS = ("frames", "latent_frames", "height", "width", "audio_latents", "references", "context_rows")
# Open files per process: systems allow 1024 or, on Macs, 256 in all.
OPEN_SHARDS = 32
REMAKE = "Delete it and run the command that made the data set again: it makes what is missing and nothing else."


@dataclass(frozen=True, eq=False)
class CachedClip:
    """One clip as training sees it; latents are in VAE space, the posterior mean, un-normalised.

    Attributes:
        key: its name in the data set, without dots.
        video: (C, F, h, w); None for a clip without picture.
        audio: (C, L); None for a clip without sound.
        references: other clips of the same voice, each (C, n) with n at least 1.
        context: (rows, text_dim), the cached text embedding; None where training encodes the prompt itself.
        prompt: composed as for inference, of speech, scene and sound.
        speaker: who speaks; empty if unknown.
        frames: pictures, 4 n + 1; 0 without picture.
        source: where it comes from, for messages.
        spoken: when the speech begins and ends, in seconds; None where that is not known.
    """

    key: str
    video: Tensor | None
    audio: Tensor | None
    references: tuple[Tensor, ...] = ()
    context: Tensor | None = None
    prompt: str = ""
    speech: str = ""
    scene: str = ""
    sound: str = ""
    speaker: str = ""
    frames: int = 0
    source: str = ""
    spoken: tuple[float, float] | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What is stored as tensors, by name."""
        found = {"video": self.video, "audio": self.audio, "context": self.context}
        found |= {f"reference.{number}": latents for number, latents in enumerate(self.references)}
        return {name: value.contiguous() for name, value in found.items() if value is not None}

    def check(self) -> None:
        """Refuses what training could not use.

        Raises:
            ValueError: neither stream, another rank, no latents, or values that are not finite.
        """
        if not self.key or "." in self.key or "/" in self.key:
            raise ValueError(f"clip key: got {self.key!r}, expected a name without dots and slashes.")
        if self.video is None and self.audio is None:
            raise ValueError(f"clip {self.key}: neither picture nor sound.")
        ranks = {"video": 4, "audio": 2, "context": 2}
        for name, value in self.tensors().items():
            if value.ndim != ranks.get(name, 2) or 0 in value.shape:
                raise ValueError(f"clip {self.key}: {name} latents of shape {tuple(value.shape)}.")
            if not bool(value.isfinite().all()):
                raise ValueError(
                    f"clip {self.key}: {name} holds NaN or Inf after encoding to {value.dtype}; its values are too "
                    "large for float16 (try --dtype bfloat16) or its codec failed on this clip."
                )


def encode_sample(clip: CachedClip) -> dict[str, bytes]:
    """The two members of a clip."""
    texts = {name: getattr(clip, name) for name in TEXT_FIELDS} | {"frames": clip.frames, "spoken": clip.spoken}
    return {
        TENSORS: safetensors.torch.save(clip.tensors()),
        TEXT: json.dumps(texts, ensure_ascii=False, sort_keys=True).encode("utf-8"),
    }


def decode_sample(key: str, members: dict[str, bytes]) -> CachedClip:
    """The clip of two members; works on samples of plain webdataset too.

    Raises:
        ValueError, SafetensorError: members that are not a clip's.
    """
    tensors = safetensors.torch.load(members[TENSORS])
    texts = json.loads(members[TEXT])
    if texts.get("spoken") is not None:
        texts["spoken"] = tuple(texts["spoken"])
    references = [tensors[f"reference.{number}"] for number in range(sum(name[:9] == "reference" for name in tensors))]
    streams = {name: tensors.get(name) for name in ("video", "audio", "context")}
    return CachedClip(key=key, references=tuple(references), **streams, **texts)


@dataclass(frozen=True)
class ClipTable:
    """What is known of every clip without reading it; arrays of one length, in the data set's order.

    Attributes:
        frames: pictures, 4 n + 1; 0 without picture.
        latent_frames, height, width: of the video latent; 0 without picture.
        audio_latents: 0 without sound.
        references: reference clips.
        context_rows: of the cached text embedding; 0 where there is none.
        speaker: position in `Shards.speakers`; -1 unknown.
        shard: position in `Shards.info.shards`.
        members: (clips, 2, 3): position, size and crc32 of the tensors and of the texts in the shard.
    """

    frames: np.ndarray
    latent_frames: np.ndarray
    height: np.ndarray
    width: np.ndarray
    audio_latents: np.ndarray
    references: np.ndarray
    context_rows: np.ndarray
    speaker: np.ndarray
    shard: np.ndarray
    members: np.ndarray


class Shards:
    """A data set of cached latents, read clip by clip; may be sent to, or inherited by, other processes.

    Attributes:
        folder: the data set's.
        info: its description (`dataset.json`): rates, codecs, statistics.
        table: lengths, sizes and speakers of all clips.
        keys: names of the clips.
        speakers: names of the speakers.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Reads the description and the indexes, and checks that every shard is as long as it should be.

        Raises:
            DataError: not a finished data set, a shard that is missing, cut off or of another data set, or two clips
                of one name.
        """
        self.folder = Path(folder)
        self.info: DatasetInfo = read_description(self.folder)
        indexes = [_read_index(self.folder, shard) for shard in self.info.shards]
        self.keys: tuple[str, ...] = tuple(key for index in indexes for key in index["key"])
        if len(set(self.keys)) < len(self.keys):
            twice = sorted(key for key, times in Counter(self.keys).items() if times > 1)
            raise DataError(f"{self.folder}: clips named twice: {', '.join(twice[:3])}. Make the data set anew.")
        names = [name for index in indexes for name in index["speaker"]]
        self.speakers: tuple[str, ...] = tuple(sorted(set(names) - {""}))
        numbers = {name: number for number, name in enumerate(self.speakers)}
        members = [np.array([index[TENSORS], index[TEXT]], dtype=np.int64) for index in indexes]
        self.table = ClipTable(
            **{column: np.array([row for i in indexes for row in i[column]], dtype=np.int32) for column in COLUMNS},
            speaker=np.array([numbers.get(name, -1) for name in names], dtype=np.int32),
            shard=np.repeat(np.arange(len(indexes)), [len(index["key"]) for index in indexes]),
            members=np.concatenate([part.reshape(2, -1, 3) for part in members], axis=1).transpose(1, 0, 2)
            if members
            else np.zeros((0, 2, 3), dtype=np.int64),
        )
        self._files: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def read(self, position: int) -> CachedClip:
        """Clip number `position`.

        Raises:
            DataError: the shard was damaged or changed since it was written: names shard and clip.
        """
        key, shard = self.keys[position], int(self.table.shard[position])
        members = {}
        for kind, (start, size, checksum) in zip((TENSORS, TEXT), self.table.members[position].tolist(), strict=True):
            members[kind] = self._read(shard, start, size, key)
            if zlib.crc32(members[kind]) != checksum:
                raise self._damaged(shard, key, "its contents changed since it was written")
        try:
            return decode_sample(key, members)
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(shard, key, f"it cannot be read: {error}") from error

    @cached_property
    def empty_context(self) -> Tensor | None:
        """The cached embedding of the empty prompt, (rows, text_dim): what dropped text is replaced by, as inference
        does with an empty negative; None where embeddings are not cached.

        Raises:
            DataError: embeddings are cached, and this one is missing or damaged.
        """
        if self.info.text_encoder is None:
            return None
        path = self.folder / EMPTY_CONTEXT
        try:
            return safetensors.torch.load(path.read_bytes())["context"]
        except (OSError, SafetensorError, KeyError) as error:
            raise DataError(f"{path} cannot be read ({error}). {REMAKE}") from error

    def close(self) -> None:
        """Closes what is open; reading opens it again."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _read(self, shard: int, start: int, size: int, key: str) -> bytes:
        if shard not in self._files:
            while len(self._files) >= OPEN_SHARDS:
                os.close(self._files.popitem(last=False)[1])
            path = self.folder / f"{self.info.shards[shard].name}.tar"
            try:
                self._files[shard] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except OSError as error:
                raise self._damaged(shard, key, f"it cannot be opened: {error.strerror}") from error
        self._files.move_to_end(shard)
        data = _read_at(self._files[shard], start, size)
        if len(data) < size:
            raise self._damaged(shard, key, "the file ends too early")
        return data

    def _damaged(self, shard: int, key: str, what: str) -> DataError:
        path = self.folder / f"{self.info.shards[shard].name}.tar"
        return DataError(f"{path} is damaged, found at clip {key}: {what}. {REMAKE}")


def _read_at(file: int, start: int, size: int) -> bytes:
    """Bytes of an open file from `start` on, fewer at its end; processes that share the file do not disturb each other
    but on Windows, where files are not shared with child processes.
    """
    if not hasattr(os, "pread"):
        os.lseek(file, start, os.SEEK_SET)
        return os.read(file, size)
    parts = []
    while size and (part := os.pread(file, size, start)):
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return b"".join(parts)


def _read_index(folder: Path, shard: ShardInfo) -> dict[str, Any]:
    """The index of a shard, checked against the description and the shard's size."""
    path = folder / f"{shard.name}.tar"
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing. Run the command that made the data set again: it makes what is missing and nothing "
            "else."
        ) from error
    if size != shard.bytes:
        raise DataError(f"{path} is damaged: it has {size} bytes, expected {shard.bytes}. {REMAKE}")
    index_path = path.with_suffix(".json")
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
        lengths = {len(index[column]) for column in ("key", "speaker", TENSORS, TEXT, *COLUMNS)}
        fits = lengths == {shard.samples} and index["format_version"] == INDEX_VERSION
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{index_path}, the index of {path.name}, cannot be read ({error!r}). {REMAKE}") from error
    if not fits or index["bytes"] != shard.bytes:
        raise DataError(f"{index_path} is not the index of the {shard.samples} clips of {path.name}. {REMAKE}")
    return index
