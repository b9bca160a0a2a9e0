"""Where clips come from: a folder, a manifest, or the synthetic data; listed in an order that is always the same.

A folder holds clips with a text beside each, of the same name: `clip.mp4` and `clip.txt` (what is said, word for word)
or `clip.json` (an object with the text fields of `Row`). A manifest has one clip per line: `.jsonl`, an object each, or
`.csv` with a header; paths in it count from the folder that it lies in.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...mapping import from_mapping
from ..dataset import DataError

VIDEO_ENDINGS = (".mp4", ".mov", ".webm", ".mkv", ".m4v", ".avi")
AUDIO_ENDINGS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus")
MANIFEST_ENDINGS = (".jsonl", ".csv")
TEXT_ENDINGS = (".json", ".txt")
SYNTHETIC = "synthetic:"
REFERENCE_SEPARATOR = ";"


class SkipClip(Exception):
    """A clip that cannot be used, with the reason."""


@dataclass(frozen=True)
class Row:
    """What a manifest line, or the .json beside a clip, may say of a clip.

    Attributes:
        video, audio: paths; without `audio` the sound is the video's own, without `video` the clip is sound alone. The
            .json beside a clip has neither.
        speech, scene, sound: the fields of Text Prompt.
        speaker: who speaks; any name.
        references: paths of other clips of the same voice.
        start_s, end_s: the part of the file that is the clip.
    """

    video: str | None = None
    audio: str | None = None
    speech: str = ""
    scene: str = ""
    sound: str = ""
    speaker: str = ""
    references: tuple[str, ...] = ()
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True)
class ClipSource:
    """One clip to be read.

    Attributes:
        key: its name in the data set.
        name: for messages and lists, and where the data set says that it comes from.
        folder: that its paths count from.
        row: what is known of it.
        text: path of the text beside it, read when the clip is.
        synthetic: its number in the synthetic data; None for files.
        problem: why it cannot be used, where listing found that already.
    """

    key: str
    name: str
    folder: str = ""
    row: Row = Row()
    text: str = ""
    synthetic: int | None = None
    problem: str = ""

    def described(self) -> Row:
        """The row, with what the text beside the clip says.

        Raises:
            SkipClip: a text that is missing or cannot be used.
        """
        if self.problem:
            raise SkipClip(self.problem)
        if not self.text:
            return self.row
        path = Path(self.folder) / self.text
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SkipClip(f"{self.text} cannot be read: {error}") from error
        if path.suffix == ".txt":
            return replace(self.row, speech=" ".join(text.split()))
        try:
            row = from_mapping(Row, json.loads(text), self.text)
        except (ValueError, TypeError) as error:
            raise SkipClip(f"{self.text}: {error}") from error
        if row.video or row.audio:
            raise SkipClip(f"{self.text}: names a video or audio file, expected none in the text beside a clip")
        return replace(row, video=self.row.video, audio=self.row.audio)


def list_clips(source: str, limit: int | None = None) -> list[ClipSource]:
    """The clips of a folder or manifest, or as many numbers as a synthetic data set has clips.

    Args:
        source: a folder, a .jsonl or .csv manifest, or `synthetic:...`.
        limit: no more than the first so many.

    Raises:
        DataError: nothing there, or a manifest that cannot be understood, with the line.
    """
    if source.startswith(SYNTHETIC):
        from .synthetic_clips import open_synthetic

        found = (ClipSource("", f"{source} {i}", synthetic=i) for i in range(len(open_synthetic(source))))
    else:
        path = Path(source)
        if path.is_dir():
            found = _in_folder(path)
        elif path.is_file() and path.suffix.lower() in MANIFEST_ENDINGS:
            found = _in_manifest(path)
        else:
            raise DataError(
                f"{source}: expected a folder of clips, a manifest (.jsonl or .csv) or {SYNTHETIC}; "
                f"{'this is another kind of file' if path.exists() else 'there is no such file'}."
            )
    clips = [replace(clip, key=f"{number:08d}") for number, clip in enumerate(found)][:limit]
    if not clips:
        raise DataError(
            f"{source} holds no clips: expected files ending in {', '.join(VIDEO_ENDINGS + AUDIO_ENDINGS)}."
        )
    return clips


def _in_folder(folder: Path) -> Iterator[ClipSource]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_ENDINGS + AUDIO_ENDINGS)
    names = {path: path.relative_to(folder).as_posix() for path in paths}
    taken: dict[Path, str] = {}
    for path in sorted(paths, key=lambda path: (names[path].lower(), names[path])):
        name, stem = names[path], path.with_suffix("")
        texts = [path.with_suffix(ending) for ending in TEXT_ENDINGS if path.with_suffix(ending).is_file()]
        kind = "video" if path.suffix.lower() in VIDEO_ENDINGS else "audio"
        clip = ClipSource("", name, str(folder), Row(**{kind: name}))
        if stem in taken:
            yield replace(clip, problem=f"has the name of {taken[stem]}: whose text is it? Rename one of them")
            continue
        taken[stem] = name
        yield replace(clip, text=texts[0].relative_to(folder).as_posix() if texts else "")


def _in_manifest(path: Path) -> Iterator[ClipSource]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _csv_lines(file, path) if path.suffix.lower() == ".csv" else _json_lines(file, path)
        for number, mapping in lines:
            where = f"{path}, line {number}"
            try:
                row = from_mapping(Row, mapping, where)
            except (ValueError, TypeError) as error:
                raise DataError(str(error)) from error
            if not (row.video or row.audio):
                raise DataError(f"{where}: names neither a video nor an audio file.")
            part = f" from {row.start_s:g} s" if row.start_s else ""
            yield ClipSource("", f"{row.video or row.audio}{part}", str(path.parent), row)


def _json_lines(file: Any, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not a JSON object ({error}).") from error


def _csv_lines(file: Any, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(file, strict=True)
    for cells in reader:
        where = f"{path}, line {reader.line_num}"
        if None in cells or None in cells.values():
            raise DataError(f"{where}: has another number of cells than the header; quote texts that hold commas.")
        row: dict[str, Any] = {name.strip(): cell.strip() for name, cell in cells.items() if cell.strip()}
        if "references" in row:
            row["references"] = [part.strip() for part in row["references"].split(REFERENCE_SEPARATOR) if part.strip()]
        for name in {"start_s", "end_s"} & set(row):
            try:
                row[name] = float(row[name])
            except ValueError as error:
                raise DataError(f"{where}: {name} is {row[name]!r}, expected seconds.") from error
        yield reader.line_num, row
