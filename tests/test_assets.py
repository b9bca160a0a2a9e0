"""The sample portraits and voices: what ships, that it is described, and that the scripts make it again."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import av
import make_assets
import numpy as np
import pytest
from PIL import Image, ImageChops
from portrait_art import draw_portrait
from portrait_look import BEARD_STYLES, COLLAR_STYLES, GLASSES_STYLES, HAIR_STYLES, Look

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PORTRAITS = sorted((ASSETS / "portraits").iterdir())
VOICES = sorted((ASSETS / "voices").iterdir())

MOUTH = (0.42, 0.58, 0.58, 0.72)  # left, top, right, bottom as shares of the picture
EYES = (0.36, 0.38, 0.64, 0.47)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def region(picture: Image.Image, box: tuple[float, float, float, float]) -> np.ndarray:
    width, height = picture.size
    left, top, right, bottom = box
    return pixels(picture)[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def samples(path: Path) -> tuple[np.ndarray, int]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray() for frame in container.decode(stream)]
        return np.concatenate(parts, axis=1) / 32768, stream.rate


def test_all_samples_together_are_a_few_hundred_kilobytes() -> None:
    assert sum(file.stat().st_size for file in ASSETS.rglob("*") if file.is_file()) < 900_000


def test_the_folders_hold_what_the_script_makes_and_nothing_else() -> None:
    assert [path.name for path in PORTRAITS] == sorted(f"{name}.jpg" for name in make_assets.PORTRAITS)
    assert [path.name for path in VOICES] == sorted(f"{name}.flac" for name in make_assets.VOICES)
    assert len(PORTRAITS) >= 6
    assert len(VOICES) >= 4


def test_the_readme_describes_every_file_as_it_is_made() -> None:
    text = (ASSETS / "README.md").read_text()
    for path in [*PORTRAITS, *VOICES]:
        assert f"`{path.name}`" in text
    for speaker in make_assets.VOICES.values():
        assert f"{speaker.voice}, {speaker.pitch}, {speaker.rate} | {speaker.sentence} |" in text


@pytest.mark.parametrize("path", PORTRAITS, ids=lambda path: path.stem)
def test_a_portrait_is_the_drawing_of_its_look(path: Path) -> None:
    with Image.open(path) as picture:
        assert picture.size == (make_assets.PORTRAIT_SIZE, make_assets.PORTRAIT_SIZE)
        assert picture.mode == "RGB"
        shipped = picture.resize((128, 128), Image.Resampling.BOX)
    drawn = draw_portrait(make_assets.PORTRAITS[path.stem], 128, supersample=2)
    assert np.abs(pixels(shipped) - pixels(drawn)).mean() < 4.0


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
    speech = waveform[np.abs(waveform) > 0.01 * np.abs(waveform).max()]
    assert 10 * np.log10(np.mean(speech**2)) == pytest.approx(-20, abs=0.5)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_speaks_the_same_voices_again(tmp_path: Path) -> None:
    make_assets.make_voices(tmp_path)
    for path in VOICES:
        shipped, rate = samples(path)
        again, rate_again = samples(tmp_path / path.name)
        assert rate_again == rate
        assert again.shape[1] == pytest.approx(shipped.shape[1], rel=0.05)  # other versions may speak a little faster


def test_a_missing_synthesiser_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="espeak-ng is not on PATH"):
        make_assets.make_voices(tmp_path / "voices")


LOOK = Look(hair="side_part", smile=0.0)


def draw(look: Look) -> Image.Image:
    return draw_portrait(look, 192, supersample=2)


def test_the_same_look_gives_the_same_picture() -> None:
    assert ImageChops.difference(draw(LOOK), draw(LOOK)).getbbox() is None


def test_an_opening_mouth_changes_the_mouth_and_not_the_eyes() -> None:
    closed = draw(LOOK)
    moved = [np.abs(region(draw(dataclasses.replace(LOOK, mouth_open=gape)), MOUTH) - region(closed, MOUTH)).mean()
             for gape in (0.25, 0.5, 1.0)]  # fmt: skip
    assert 2 < moved[0] < moved[1] < moved[2]
    wide = draw(dataclasses.replace(LOOK, mouth_open=1.0))
    assert np.abs(region(wide, EYES) - region(closed, EYES)).mean() < 1.0


def test_a_blink_hides_the_white_of_the_eyes() -> None:
    white = [(region(draw(dataclasses.replace(LOOK, blink=blink)), EYES).min(axis=-1) > 195).sum() for blink in (0, 1)]
    assert white[0] > 20
    assert white[1] == 0


def test_the_gaze_moves_the_iris() -> None:
    columns = []
    for gaze in (-1.0, 1.0):
        look = dataclasses.replace(LOOK, gaze=(gaze, 0.0), brow_weight=0.1, lashes=0.0)
        eyes = region(draw(look), EYES).mean(axis=-1)
        dark = np.clip(90 - eyes, 0, None)
        columns.append((dark * np.arange(dark.shape[1])).sum() / dark.sum())
    assert columns[1] - columns[0] > 0.8


def test_a_tilted_head_leaves_the_shirt_in_place() -> None:
    straight, tilted = draw(LOOK), draw(dataclasses.replace(LOOK, tilt_deg=10.0))
    shirt = (0.0, 0.86, 1.0, 1.0)
    assert np.abs(region(straight, shirt) - region(tilted, shirt)).max() == 0
    assert np.abs(region(straight, EYES) - region(tilted, EYES)).mean() > 5


@pytest.mark.parametrize(
    ("field", "choices"),
    [("hair", HAIR_STYLES), ("beard", BEARD_STYLES), ("glasses", GLASSES_STYLES), ("collar", COLLAR_STYLES)],
)
def test_every_style_draws_its_own_picture(field: str, choices: tuple[str, ...]) -> None:
    looks = [dataclasses.replace(LOOK, **{field: choice}) for choice in choices]
    small = [pixels(draw_portrait(look, 64, supersample=1)) for look in looks]
    for index, first in enumerate(small):
        for second in small[:index]:
            assert np.abs(first - second).mean() > 0.2


def test_an_unknown_style_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"Look\.hair is 'mohawk'; expected one of bald, buzz"):
        Look(hair="mohawk")
