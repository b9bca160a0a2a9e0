"""benchmarks/embedded_*.py without a server: real clips in the place of generated ones."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

from unitalking.checkpoint.random_model import TINY, write_random
from unitalking.evaluation.clips import read_clip, read_media
from unitalking.evaluation.codec_anchor import load_codec
from unitalking.evaluation.judges import Judges
from unitalking.evaluation.measure import spoken_words
from unitalking.evaluation.table import ClipScores, Row
from unitalking.evaluation.words import Errors
from unitalking.synthetic.sentences import split_of
from unitalking.synthetic.vocabulary import words
from unitalking.training.shard_writer import ShardWriter
from unitalking.training.shards import CachedClip

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

pytest.importorskip("espeakng_loader", reason="making real clips needs espeak-ng: requirements-train.txt")

from embedded_cases import CASES  # noqa: E402 (needs the path)
from embedded_gallery import GalleryError, draw, write_gallery  # noqa: E402
from embedded_making import Job, make_clips, sidecar_of  # noqa: E402
from embedded_model import SettingsError, claim, parse  # noqa: E402
from embedded_real import NotHeldOutError, check_held_out, write_real_clips  # noqa: E402
from embedded_tables import all_tables, by_length, write_tables  # noqa: E402

CLIPS = 3


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as embedded_model.py leaves it, whose clips of the default case are the real ones, of two seeds."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "made_with.json").write_text(json.dumps({"model": "0123456789abcdef", "data_seed": 3}))
    for job in jobs_of(folder):
        job.folder.mkdir(exist_ok=True)
        saved = shutil.copyfile(job.real.with_suffix(".mp4"), job.sidecar.with_suffix(".mp4"))
        asked = json.loads(job.real.read_text())
        job.sidecar.write_text(json.dumps(sidecar_of(job, asked, saved.name)))
    return folder


def jobs_of(folder: Path, *cases: str) -> list[Job]:
    """Two seeds of every real clip."""
    real = write_real_clips(folder / "real", "common", CLIPS, seed=3, longest_s=2.5)
    names = cases or ("default",)
    return [Job(CASES[name], path, seed, folder / name) for name in names for seed in (0, 1) for path in real]


def data_set(folder: Path, *speeches: str) -> Path:
    """A data set as training reads it, whose clips say these."""
    folder.mkdir()
    with ShardWriter(folder) as writer:
        for number, speech in enumerate(speeches):
            writer.add(CachedClip(key=str(number), video=None, audio=torch.zeros(2, 3), speech=speech))
    return folder


# What is asked for


@pytest.mark.parametrize("vocabulary", ["common", "few", "unseen"])
def test_real_clips_have_held_out_sentences_of_their_own(tmp_path: Path, vocabulary: str) -> None:
    clips = [read_clip(path) for path in write_real_clips(tmp_path, vocabulary, 4, seed=1, longest_s=1.6)]
    assert len({clip.speech for clip in clips}) == 4
    assert {split_of(clip.speech) for clip in clips} == {"held_out"}
    known = {word.lower() for word in words(vocabulary).all}
    assert all(set(spoken_words(clip.speech)) <= known for clip in clips)
    for clip in clips:
        sound, _, _ = read_media(tmp_path / f"{clip.name}.wav")
        assert len(sound) == round(len(clip.frames) / 24 * 16000) + 511
        assert clip.portrait.shape == clip.frames.shape[1:]
        assert clip.reference is not None


def test_real_clips_are_made_once(judged: Path) -> None:
    real = sorted((judged / "real").iterdir())
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in real}
    missing = next(path for path in real if path.suffix == ".json")
    missing.unlink()
    jobs_of(judged)
    for path, (written, content) in before.items():
        assert path.stem.startswith(missing.stem) or path.stat().st_mtime_ns == written
        assert path.suffix == ".mp4" or path.read_bytes() == content


def test_a_sentence_of_the_training_data_is_refused(judged: Path, tmp_path: Path) -> None:
    real = [job.real for job in jobs_of(judged)]
    speech = json.loads(real[1].read_text())["speech"]
    check_held_out(real, data_set(tmp_path / "other", "Something else.", f"{speech} indeed"))
    with pytest.raises(NotHeldOutError, match=real[1].name):
        check_held_out(real, data_set(tmp_path / "same", "Something else.", f"{speech.upper()}!"))


def test_an_unseen_word_that_training_says_is_refused(tmp_path: Path) -> None:
    real = write_real_clips(tmp_path / "real", "unseen", 1, seed=1, longest_s=1.6)
    word = spoken_words(json.loads(real[0].read_text())["speech"])[0]
    check_held_out(real, data_set(tmp_path / "other", "Hello there."))
    with pytest.raises(NotHeldOutError, match=word):
        check_held_out(real, data_set(tmp_path / "same", f"Hello {word} there."))


def test_a_folder_without_shards_proves_nothing(judged: Path, tmp_path: Path) -> None:
    with pytest.raises(NotHeldOutError, match="no shards"):
        check_held_out([job.real for job in jobs_of(judged)], tmp_path)


# Making


def test_finished_clips_are_not_made_again(judged: Path, tmp_path: Path) -> None:
    make_clips(jobs_of(judged), comfyui=tmp_path / "no ComfyUI")
    with pytest.raises(FileNotFoundError, match="no ComfyUI"):
        make_clips(jobs_of(judged, "default", "masked"), comfyui=tmp_path / "no ComfyUI")


def test_a_sidecar_says_what_was_asked_for(judged: Path) -> None:
    (job, *_), real = jobs_of(judged, "no_voice"), judged / "real"
    asked = json.loads(job.real.read_text())
    sidecar = sidecar_of(job, asked, "some.mp4")
    assert {key: sidecar[key] for key in ("speech", "scene", "phonemes", "attributes")} == {
        key: asked[key] for key in ("speech", "scene", "phonemes", "attributes")
    }
    assert (sidecar["seed"], sidecar["clip"]) == (0, "some.mp4")
    assert (job.folder / sidecar["portrait"]).resolve() == (real / asked["portrait"]).resolve()
    assert (job.folder / sidecar["reference"]).resolve() == (real / asked["reference"]).resolve()


def test_what_a_case_did_not_ask_for_is_not_judged(judged: Path) -> None:
    (job, *_) = jobs_of(judged, "no_portrait")
    sidecar = sidecar_of(job, json.loads(job.real.read_text()), "some.mp4")
    assert not {"portrait", "reference"} & set(sidecar)
    assert sidecar["attributes"]


def test_clips_of_another_model_are_not_mixed_in(tmp_path: Path) -> None:
    one, other = (tmp_path / name for name in ("one", "other"))
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    head = claim(tmp_path / "out", one, 5)
    assert head == claim(tmp_path / "out", one, 5)
    for model, seed in ((other, 5), (one, 6)):
        with pytest.raises(SettingsError, match="give another --out"):
            claim(tmp_path / "out", model, seed)


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--out", "x", "--cases", "default,tts"], list(CASES)).cases == ["default", "tts"]
    with pytest.raises(SystemExit):
        parse(["--out", "x", "--cases", "default,nothing"], list(CASES))
    assert "no case nothing" in capsys.readouterr().err


# Judging


def test_tables_have_every_case_beside_its_anchors(judged: Path, judges: Judges, tmp_path: Path) -> None:
    write_random(tmp_path / "tiny.safetensors", TINY, 0)
    real = {"common": list(dict.fromkeys(job.real for job in jobs_of(judged)))[:2]}
    jobs = [job for job in jobs_of(judged) if job.real in real["common"]]
    tables = all_tables(real, jobs, judges, load_codec(tmp_path / "tiny.safetensors"))
    table = tables["Common words"]
    assert [row.name for row in table.rows] == ["default", "real", "real through the codec", "shuffled pairs"]
    assert [len(row.scores) for row in table.rows] == [4, 2, 2, 2]
    ours, theirs = (table.figure(name, "sync correlation").value for name in ("default", "real"))
    assert ours == pytest.approx(theirs)
    assert table.figure("default", "retrieval").value == 1
    write_tables(tmp_path, tables, "Made by a test.")
    assert (tmp_path / "table.md").read_text().startswith("Made by a test.\n\n## Common words\n\n| figure | default")
    assert json.loads((tmp_path / "table.json").read_text()).keys() == tables.keys()


def test_clips_are_grouped_by_the_length_of_the_real_one() -> None:
    lengths_s = {"a-1": 1.2, "a-2": 2.0, "a-3": 2.9}
    made = Row(
        "default", tuple(ClipScores(f"{name}-s{seed}", seed, Errors(1, 4)) for name in lengths_s for seed in (0, 1))
    )
    coded = Row("coded", tuple(ClipScores(name) for name in lengths_s))
    groups = {row.name: [score.name for score in row.scores] for row in by_length([made, coded], lengths_s)}
    assert groups == {
        "default, 1 to 2 s": ["a-1-s0", "a-1-s1"],
        "coded, 1 to 2 s": ["a-1"],
        "default, 2 to 3 s": ["a-2-s0", "a-2-s1", "a-3-s0", "a-3-s1"],
        "coded, 2 to 3 s": ["a-2", "a-3"],
    }


# The page


def test_clips_of_the_page_are_drawn_and_not_chosen(judged: Path) -> None:
    draws = [draw(judged, 4, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 4
    with pytest.raises(GalleryError, match="6 clips, expected at least 7"):
        draw(judged, 7, 0)


def test_the_page_shows_every_clip_that_was_drawn(judged: Path, judges: Judges, tmp_path: Path) -> None:
    (tmp_path / "embedded_clips").mkdir()
    (tmp_path / "embedded_clips" / "99.mp4").touch()
    write_gallery(judged, tmp_path, judges, count=2, seed=1)
    page = (tmp_path / "embedded_clips.md").read_text()
    drawn = draw(judged, 2, 1)
    names = [f"{number:02}{ending}" for number in (1, 2) for ending in (".jpg", ".mp4", ".png")]
    assert sorted(path.name for path in (tmp_path / "embedded_clips").iterdir()) == names
    assert all(f"(embedded_clips/{name})" in page for name in names)
    places = [page.index(f"| says | {read_clip(path).speech} |") for path in drawn]
    assert all(first < second for first, second in pairwise(places))
    assert (tmp_path / "embedded_clips" / "01.mp4").read_bytes() == drawn[0].with_suffix(".mp4").read_bytes()
    with Image.open(tmp_path / "embedded_clips" / "01.jpg") as sheet:
        assert sheet.size == (12 * 128, 128)


def test_judged_words_are_on_the_page(judged: Path, judges: Judges, tmp_path: Path) -> None:
    write_gallery(judged, tmp_path, judges, count=6, seed=0)
    page = (tmp_path / "embedded_clips.md").read_text()
    score = {"heard": page.count("| heard |"), "words": page.count("| wrong words | 0 of")}
    assert score["heard"] == 6
    assert score["words"] >= 4
