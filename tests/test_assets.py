"""The sample portraits and voices: what ships, that it is described, and that the script makes it again."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import av
import make_assets
import numpy as np
import pytest
from PIL import Image

from unitalking.synthetic import MissingEspeakError, SyntheticClips
from unitalking.synthetic.look import HELD_OUT_FROM, HELD_OUT_IDENTITIES, look_of
from unitalking.synthetic.speech import espeak, utterance
from unitalking.synthetic.vocabulary import templates, words
from unitalking.synthetic.voices import voices

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
PORTRAITS = sorted((ASSETS / "portraits").iterdir())
VOICES = sorted((ASSETS / "voices").iterdir())
CLIPS = sorted((ASSETS / "clips").iterdir())


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def samples(path: Path) -> tuple[np.ndarray, int]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray() for frame in container.decode(stream)]
        return np.concatenate(parts, axis=1) / 32768, stream.rate


def described(path: Path) -> str:
    """The line of the table that names a file."""
    (line,) = [line for line in (ASSETS / "README.md").read_text().splitlines() if f"`{path.name}`" in line]
    return line


def test_all_samples_together_are_about_a_megabyte() -> None:
    sizes = {file: file.stat().st_size for file in ASSETS.rglob("*") if file.is_file()}
    judges = sum(size for file, size in sizes.items() if file.is_relative_to(ASSETS / "judges"))
    assert sum(sizes.values()) - judges < 1_250_000
    assert judges < 9_000_000


def test_the_folders_hold_what_the_script_makes_and_nothing_else() -> None:
    assert [path.name for path in PORTRAITS] == sorted(f"{name}.jpg" for name in make_assets.PORTRAITS)
    assert [path.name for path in VOICES] == sorted(f"{name}.flac" for name in make_assets.VOICES)
    assert [path.name for path in CLIPS] == sorted(f"{name}.mp4" for name in make_assets.CLIPS)
    assert len(PORTRAITS) >= 6
    assert len(VOICES) >= 4


def test_nobody_and_no_voice_of_the_samples_is_in_training() -> None:
    held_out = range(HELD_OUT_FROM, HELD_OUT_FROM + HELD_OUT_IDENTITIES)
    assert all(identity in held_out for identity in make_assets.PORTRAITS.values())
    trained = {voice.variant for group in voices("train").values() for voice in group}
    spoken = {make_assets.voice_of(voice).variant for voice, _ in make_assets.VOICES.values()}
    assert len(spoken) == len(VOICES)
    assert spoken.isdisjoint(trained)


@pytest.mark.parametrize("path", PORTRAITS, ids=lambda path: path.stem)
def test_the_readme_says_how_a_portrait_looks(path: Path) -> None:
    identity = make_assets.PORTRAITS[path.stem]
    look, line = look_of(identity), described(path)
    assert f"| {identity} |" in line
    said = {
        f" {look.gender},",
        look.age,
        f"{look.skin} skin",
        look.hair,
        "shelf" if look.scene == "shelf" else look.background,
    }
    if look.hair != "bald":
        said.add(look.accent if look.hair == "head scarf" else look.hair_color)
    said |= {look.beard, look.glasses} - {"none"}
    assert [words for words in said if words not in line] == []
    for word, shown in (
        ("glasses", look.glasses != "none"),
        ("beard", look.beard != "none"),
        ("freckles", look.freckles),
    ):
        assert (word in line) == shown


def test_the_readme_says_who_speaks_what() -> None:
    for path in VOICES:
        voice, sentence = make_assets.VOICES[path.stem]
        assert f"| {voice} | {sentence} |" in described(path)


@pytest.mark.parametrize("path", PORTRAITS, ids=lambda path: path.stem)
def test_a_portrait_is_the_drawing_of_its_identity(path: Path) -> None:
    with Image.open(path) as picture:
        assert picture.size == (make_assets.PORTRAIT_SIZE, make_assets.PORTRAIT_SIZE)
        assert picture.mode == "RGB"
        shipped = picture.resize((128, 128), Image.Resampling.BOX)
    drawn = make_assets.portrait(make_assets.PORTRAITS[path.stem], 128)
    assert np.abs(pixels(shipped) - pixels(drawn)).mean() < 3.0


def test_no_two_portraits_look_alike() -> None:
    small = [pixels(Image.open(path).resize((64, 64))) for path in PORTRAITS]
    for index, first in enumerate(small):
        for second in small[:index]:
            assert np.abs(first - second).mean() > 20


@pytest.mark.parametrize("path", VOICES, ids=lambda path: path.stem)
def test_a_voice_is_a_few_seconds_of_mono_speech(path: Path) -> None:
    waveform, rate = samples(path)
    assert waveform.shape[0] == 1
    assert rate >= 22050
    assert 3.5 <= waveform.shape[1] / rate <= 5.0
    assert np.abs(waveform).max() < 0.9
    assert 10 * np.log10(np.mean(waveform**2)) == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_a_clip_is_the_held_out_one_that_the_readme_names(path: Path, tmp_path: Path) -> None:
    try:
        espeak()
    except MissingEspeakError as error:
        pytest.skip(str(error))
    config, number = make_assets.CLIPS[path.stem]
    source = SyntheticClips(config)
    assert f"| {number}, seed {config.seed}" in described(path)
    assert f"| {source.spec(number).speech} |" in described(path)
    assert source.config.split == "held_out"
    clip = source.clip(number)
    with av.open(str(path)) as container:
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert shown.shape == tuple(clip.frames.shape)
    assert np.abs(shown.astype(float) - clip.frames.numpy()).mean() < 3.5
    waveform, rate = samples(path)
    assert rate == source.config.sample_rate
    assert np.abs(waveform[0] - clip.samples.numpy()).max() <= 2 / 32768


def test_espeak_speaks_the_same_voices_again(tmp_path: Path) -> None:
    try:
        espeak()
    except MissingEspeakError as error:
        pytest.skip(str(error))
    make_assets.make_voices(tmp_path)
    for path in VOICES:
        shipped, rate = samples(path)
        again, rate_again = samples(tmp_path / path.name)
        assert rate_again == rate
        assert np.abs(again - shipped).max() <= 2 / 32768  # other machines may round otherwise


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflows").glob("talking_portrait_*.json")), ids=lambda path: path.stem
)
def test_the_examples_speak_words_that_training_speaks(path: Path) -> None:
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    (speech, *_) = next(node["widgets_values"] for node in nodes if node["type"] == "UniTalkingTextPrompt")
    fixed = re.sub(r"\{\w+\}", " ", " ".join(templates()))
    known = {word.lower() for word in (*words("open").all, *fixed.split())}
    said = re.findall(r"[a-z']+", speech.lower())
    assert len(said) >= 5
    assert [word for word in said if word not in known] == []


def test_a_missing_synthesiser_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for cached in (espeak, utterance):
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(sys, "argv", ["make_assets", "--only", "voices", "--out", str(tmp_path)])
    assert make_assets.main() == 1
    assert "pip install -r requirements-train.txt" in capsys.readouterr().err
