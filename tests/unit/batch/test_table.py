"""The table: what its rows ask for, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from unitalking.batch.table import Row, TableError, default_name, read_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Where a table goes; a picture and a sound lie beside it."""
    for name in ("me.png", "me.wav"):
        (tmp_path / name).touch()
    return tmp_path / "table.csv"


def complaint(table: Path, text: str) -> str:
    table.write_text(text, encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_table(table)
    return str(caught.value)


def test_cells_become_what_they_ask_for(table: Path) -> None:
    table.write_text(
        "name,speech,portrait,voice,seed\n"
        'first,"Hello, you.",me.png,me.wav,0\n'
        "\n"
        " second , Good day. ,finn,none,18446744073709551615\n"
        "third,Bye.\n",
        encoding="utf-8-sig",
    )
    assert read_table(table) == [
        Row("first", "Hello, you.", table.parent / "me.png", table.parent / "me.wav", 0),
        Row("second", "Good day.", "finn", "none", 2**64 - 1),
        Row("third", "Bye.", None, None, None),
    ]


def test_name_by_default_is_the_words_and_a_digest_of_the_row(table: Path) -> None:
    table.write_text("speech,seed\nHello there my dear old friend.,1\nHello there my dear old friend.,2\nДа.,\n")
    names = [row.name for row in read_table(table)]
    assert names == ["hello-there-my-dear-old-510da7ca", "hello-there-my-dear-old-5fa89bdf", "9a12989a"]


def test_everything_that_a_row_asks_for_is_in_its_default_name() -> None:
    row = {"speech": "Hello.", "portrait": "finn", "voice": "", "seed": "1"}
    others = [row | change for change in ({"speech": "Hello!"}, {"portrait": "lena"}, {"voice": "x"}, {"seed": "2"})]
    assert len({default_name(cells) for cells in [row, *others]}) == 5
    assert default_name(row | {"name": "x"}) == default_name(row)


def test_name_by_default_does_not_depend_on_the_tables_order(table: Path) -> None:
    table.write_text("speech,portrait,seed\nHello.,finn,1\nBye.,,\n")
    names = {row.name for row in read_table(table)}
    table.write_text("seed,voice,speech,portrait\n,,Bye.,\n1,,Hello.,finn\n")
    assert {row.name for row in read_table(table)} == names


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("text,portrait", "unknown column 'text', no column 'speech'; got 'text,portrait', expected 'speech' and any"),
        ("speech,mood", "unknown column 'mood'"),
        ("speech,seed,seed", "column 'seed' twice"),
        ("speech;seed", "no column 'speech'; got 'speech;seed', expected 'speech' and any of portrait"),
        ("", "no column 'speech'"),
    ],
)
def test_wrong_header_is_named(table: Path, header: str, message: str) -> None:
    found = complaint(table, f"{header}\nHello.\n")
    assert "table.csv, row 1 (the header)" in found
    assert message in found


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        ("speech,seed", ",7", "row 3, column speech: got '', expected the words to say."),
        ("speech,portrait", "Hi.,no.png", "row 3, column portrait: got 'no.png', expected a file (relative to "),
        ("speech,voice", "Hi.,amara", "row 3, column voice: got 'amara', expected a file (relative to "),
        (
            "speech,seed",
            "Hi.,-1",
            "row 3, column seed: got '-1', expected a whole number from 0 to 18446744073709551615.",
        ),
        ("speech,seed", "Hi.,18446744073709551616", "row 3, column seed: got '18446744073709551616'"),
        ("speech,name", "Hi.,../x", "row 3, column name: got '../x', expected a file name"),
        ("speech,name", "Hi.,FIRST", "row 3, column name: got 'FIRST', which row 2 has, expected a name of its own"),
        ("speech,name", "Hello, you,x", "row 3: 3 cells, expected 2 as in the header. Put quotes around a text"),
    ],
)
def test_wrong_cell_is_named_by_row_and_column(table: Path, header: str, cells: str, message: str) -> None:
    good = "Good.,first" if "name" in header else "Good."
    assert message in complaint(table, f"{header}\n{good}\n{cells}\n")


def test_names_of_samples_are_told(table: Path) -> None:
    found = complaint(table, "speech,portrait,voice\nHi.,amaro,alice\n")
    assert "amara, finn" in found
    assert "alice_clear" in found


def test_everything_that_is_wrong_is_said_at_once(table: Path) -> None:
    found = complaint(table, "speech,seed\n,x\nHi.,\nHi.,\n")
    assert [line.split(":")[0].strip() for line in found.splitlines()[1:]] == [
        "row 2, column speech",
        "row 2, column seed",
        "row 4, column name",
    ]


def test_table_without_rows_or_that_is_none_is_refused(table: Path) -> None:
    assert "no rows" in complaint(table, "speech\n\n")
    table.write_bytes(b"speech\n\xff\xfe")
    with pytest.raises(TableError, match=r"cannot be read: .*UTF-8"):
        read_table(table)
    with pytest.raises(TableError, match=r"nowhere\.csv cannot be read"):
        read_table(table.with_name("nowhere.csv"))
