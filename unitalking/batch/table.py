"""The table of clips to make: CSV in UTF-8 with a header, a row for each clip."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..samples import portrait_choices, voice_choices

MAX_SEED = 2**64 - 1
NAME_WORDS, DIGEST_DIGITS = 5, 8
# What every file system takes.
NAME = re.compile(r"\w([\w .-]{0,98}[\w-])?")

Media = Path | str | None


class TableError(ValueError):
    """A table that cannot be used; the message has a line for everything that is wrong."""


@dataclass(frozen=True)
class Row:
    """One clip to make.

    Attributes:
        name: of its file, without the suffix.
        speech: what is said.
        portrait, voice: a file, the name of a sample of the pack, or None: what the workflow has.
        seed: of the noise, or None: what the workflow has.
    """

    name: str
    speech: str
    portrait: Media = None
    voice: Media = None
    seed: int | None = None


def read_table(path: Path) -> list[Row]:
    """The rows of a table; files in it are relative to its folder.

    Raises:
        TableError: it cannot be read, or names every cell that is wrong, by row (the header is row 1) and column.
    """
    try:
        records = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}. Expected CSV in UTF-8 with commas.") from error
    header = [cell.strip() for cell in records[0]] if records else []
    _check_header(path, header)
    rows, wrong = {}, []
    for number, record in enumerate(records[1:], 2):
        cells = [cell.strip() for cell in record]
        if len(cells) > len(header):
            wrong.append(
                f"row {number}: {len(cells)} cells, expected {len(header)} as in the header. "
                "Put quotes around a text with commas."
            )
        elif any(cells):
            rows[number] = _read_row(dict(zip(header, cells, strict=False)), path.parent, f"row {number}", wrong)
    wrong += _same_names(rows)
    if not rows and not wrong:
        wrong.append("no rows, expected one for each clip below the header.")
    if wrong:
        raise TableError("\n".join([f"{path} is not used, nothing is queued:", *(f"  {line}" for line in wrong)]))
    return list(rows.values())


def default_name(cells: dict[str, str]) -> str:
    """The name of a row that gives none: its first words and a digest of all that it asks for, always the same."""
    content = [cells.get(column, "") for column in COLUMNS if column != "name"]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGEST_DIGITS]
    return "-".join([*re.findall(r"[a-z0-9]+", content[0].lower())[:NAME_WORDS], digest])


def _check_header(path: Path, header: list[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    twice = sorted({name for name in header if header.count(name) > 1})
    wrong = [f"unknown column {name!r}" for name in unknown] + [f"column {name!r} twice" for name in twice]
    if "speech" not in header:
        wrong.append("no column 'speech'")
    if wrong:
        raise TableError(
            f"{path}, row 1 (the header): {', '.join(wrong)}; got {','.join(header)!r}, "
            f"expected 'speech' and any of {', '.join(list(COLUMNS)[1:])}, with commas between."
        )


def _read_row(cells: dict[str, str], folder: Path, place: str, wrong: list[str]) -> Row:
    """The row of these cells; what is wrong is added to `wrong`."""
    values = {}
    for column, read in COLUMNS.items():
        text = cells.get(column, "")
        try:
            values[column] = read(text, folder)
        except ValueError as expected:
            wrong.append(f"{place}, column {column}: got {text!r}, expected {expected}.")
    return Row(**{"speech": "", **values, "name": values.get("name") or default_name(cells)})


def _same_names(rows: dict[int, Row]) -> list[str]:
    first: dict[str, int] = {}
    wrong = []
    for number, row in rows.items():
        earlier = first.setdefault(row.name.casefold(), number)
        if earlier != number:
            wrong.append(
                f"row {number}, column name: got {row.name!r}, which row {earlier} has, expected a name of its own "
                "(without one: other words, media or seed)."
            )
    return wrong


def _speech(text: str, folder: Path) -> str:
    if not text:
        raise ValueError("the words to say")
    return text


def _media(choices: Callable[[], list[str]]) -> Callable[[str, Path], Media]:
    def read(text: str, folder: Path) -> Media:
        if not text or text in choices():
            return text or None
        file = folder / text
        if not file.is_file():
            raise ValueError(f"a file (relative to {folder.absolute()}) or one of {', '.join(choices())}")
        return file

    return read


def _seed(text: str, folder: Path) -> int | None:
    if text and not (re.fullmatch(r"[0-9]+", text) and int(text) <= MAX_SEED):
        raise ValueError(f"a whole number from 0 to {MAX_SEED}")
    return int(text) if text else None


def _name(text: str, folder: Path) -> str:
    if text and not NAME.fullmatch(text):
        raise ValueError("a file name of up to 100 letters, digits, spaces, dots, - and _")
    return text


COLUMNS: dict[str, Callable[[str, Path], object]] = {
    "speech": _speech,
    "portrait": _media(portrait_choices),
    "voice": _media(voice_choices),
    "seed": _seed,
    "name": _name,
}
