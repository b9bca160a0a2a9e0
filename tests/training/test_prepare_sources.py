"""Listing clips: folders and manifests, what each says of a clip, and what cannot be understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unitalking.training.dataset import DataError
from unitalking.training.prepare.sources import Row, SkipClip, list_clips


def touch(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_folder_is_listed_in_one_order_with_the_texts_beside_the_clips(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "A.wav", "sub/c.MOV", "notes.md", "lonely.txt")
    (tmp_path / "b.txt").write_text("good\n  morning ", encoding="utf-8")
    (tmp_path / "A.json").write_text('{"speech": "hi", "sound": "warm", "speaker": "ann", "references": ["r.wav"]}')
    clips = list_clips(str(tmp_path))
    assert [(clip.key, clip.name) for clip in clips] == [
        ("00000000", "A.wav"),
        ("00000001", "b.mp4"),
        ("00000002", "sub/c.MOV"),
    ]
    assert clips[0].described() == Row(audio="A.wav", speech="hi", sound="warm", speaker="ann", references=("r.wav",))
    assert clips[1].described() == Row(video="b.mp4", speech="good morning")
    assert clips[2].described() == Row(video="sub/c.MOV")


def test_only_the_first_so_many_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    assert [clip.name for clip in list_clips(str(tmp_path), limit=2)] == ["a.mp4", "b.mp4"]


def test_two_clips_of_one_name_are_not_given_the_same_text(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.wav")
    (tmp_path / "a.txt").write_text("hello")
    first, second = list_clips(str(tmp_path))
    assert first.described().speech == "hello"
    with pytest.raises(SkipClip, match=r"has the name of a\.mp4"):
        second.described()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"speech": "hi"', r"a\.json"),
        (b'{"transcript": "hi"}', r"a\.json: unknown key\(s\) transcript; this version knows .*speech"),
        (b'{"speech": 3}', r"a\.json\.speech: got 3, expected a text"),
        (b'["hi"]', r"a\.json: expected a JSON object"),
        (b'{"video": "other.mp4"}', "names a video or audio file"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_text_that_cannot_be_used_is_a_reason_to_skip(text: bytes, message: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(SkipClip, match=message):
        list_clips(str(tmp_path))[0].described()


ROWS = [
    {
        "video": "v/a.mp4",
        "speech": "one, two",
        "scene": "a woman",
        "speaker": "ann",
        "references": ["r/1.wav", "r 2.wav"],
    },
    {"audio": "b.wav", "speech": 'say "hi"', "start_s": 1.5, "end_s": 3.0},
]


def test_both_kinds_of_manifest_say_the_same(tmp_path: Path) -> None:
    lines = tmp_path / "clips.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    table = tmp_path / "clips.csv"
    table.write_text(
        "video,audio,speech,scene,speaker,references,start_s,end_s\r\n"
        'v/a.mp4,,"one, two",a woman,ann,r/1.wav; r 2.wav,,\r\n'
        ',b.wav,"say ""hi""",,,,1.5,3.0\r\n'
    )
    from_lines, from_table = list_clips(str(lines)), list_clips(str(table))
    assert [clip.described() for clip in from_lines] == [clip.described() for clip in from_table]
    assert from_lines == from_table
    assert from_lines[0].described().references == ("r/1.wav", "r 2.wav")
    assert from_lines[1].name == "b.wav from 1.5 s"
    assert from_lines[1].folder == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.jsonl", '{"video": "a.mp4"}\n{"video"', r"m\.jsonl, line 2: not a JSON object"),
        ("m.jsonl", '{"video": "a.mp4", "words": ""}', r"m\.jsonl, line 1: unknown key\(s\) words"),
        ("m.jsonl", '{"speech": "a"}', "line 1: names neither a video nor an audio file"),
        ("m.jsonl", '{"video": "a", "start_s": "x"}', r"line 1\.start_s: got 'x', expected a finite number"),
        ("m.csv", "video,speech\na.mp4,one, two\n", "line 2: has another number of cells than the header"),
        ("m.csv", "video,speech\na.mp4\n", "line 2: has another number of cells than the header"),
        ("m.csv", "video,start_s\na.mp4,soon\n", "line 2: start_s is 'soon', expected seconds"),
        ("m.csv", "video,text\na.mp4,hi\n", r"line 2: unknown key\(s\) text"),
        ("m.csv", "video,speech\n", "holds no clips"),
        ("m.txt", "", "this is another kind of file"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused_with_the_line(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list_clips(str(tmp_path / name))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: expected a folder of clips, .*there is no such file"):
        list_clips(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"holds no clips: expected files ending in \.mp4"):
        list_clips(str(tmp_path))
