"""The drawn faces: who they are, that captions are true, and that the mouth moves as the sound says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unitalking.synthetic import SyntheticClips, SyntheticConfig, captions, look, mouth_box
from unitalking.synthetic.face import Face, Pose
from unitalking.synthetic.motion import ANYBODY, Manner, poses
from unitalking.synthetic.palette import MOUTH_INSIDE, PAINT
from unitalking.synthetic.visemes import VISEMES, mouth_track, targets
from unitalking.synthetic.voices import voices

# How far from MOUTH_INSIDE a pixel may be and still count a little.
TOLERANCE = 40.0


def openness_in_pixels(frames: Tensor) -> np.ndarray:
    left, top, right, bottom = mouth_box(frames.shape[1])
    distance = (frames[:, top:bottom, left:right].float() - torch.tensor(MOUTH_INSIDE)).norm(dim=-1)
    return (1 - distance / TOLERANCE).clamp(0, 1).sum((1, 2)).numpy()


def test_identities_of_the_splits_do_not_meet() -> None:
    generator = np.random.default_rng(1)
    for gender in ("man", "woman"):
        numbers = generator.integers(0, 2**62, 2000).tolist()
        train = {look.identity_of(number, "train", gender) for number in numbers}
        held_out = {look.identity_of(number, "held_out", gender) for number in numbers}
        assert not train & held_out
        assert len(train) > 1900
        assert {look.look_of(identity).gender for identity in list(train)[:50] + list(held_out)[:50]} == {gender}
    assert look.TRAINED_IDENTITIES >= 100_000


def test_no_two_identities_look_the_same() -> None:
    looks = [look.look_of(identity) for identity in (*range(300), *range(look.HELD_OUT_FROM, look.HELD_OUT_FROM + 300))]
    assert len({(person.tints, person.face, person.mouth) for person in looks}) == len(looks)
    assert look.look_of(17) == look.look_of(17)


def test_a_voice_fits_the_face(clips: SyntheticClips) -> None:
    for index in range(30):
        spec = clips.spec(index)
        assert spec.voice in voices("train")[spec.voice.gender]
        assert look.look_of(spec.identity).gender == spec.voice.gender == spec.attributes["gender"]


def test_a_caption_says_its_attributes_and_nothing_that_is_not_true() -> None:
    words = {"striped": "stripes", "dotted": "dots"}
    said_skin = 0
    for identity in range(400):
        person = look.look_of(identity)
        said = captions.attributes(person, identity)
        text = captions.scene_caption(said, identity)
        assert {key: getattr(person, key) for key in said} == said
        for key in ("gender", "age", "beard", "skin", "shirt", "hair_color", "accent"):
            assert key not in said or said[key] in text, (key, text)
        if "background" in said and said["scene"] != "hills":
            assert said["background"] in text
        if "pattern" in said:
            assert words[said["pattern"]] in text
        assert ("glasses" in text) == ("glasses" in said)
        # A colour that nobody named is not in the text.
        colors = {said.get(key) for key in ("shirt", "background", "accent", "hair_color", "skin", "age")} - {None}
        named = [color for color in PAINT if f" {color} " in f" {text.replace(',', ' ').replace('.', ' ')} "]
        assert all(any(color in one for one in colors) or color == "green" for color in named), text
        said_skin += "skin" in said
        assert "None" not in text
        assert "  " not in text
    assert 250 < said_skin < 390


def test_captions_leave_things_out_and_are_worded_differently() -> None:
    person = look.look_of(8)
    texts = {captions.scene_caption(captions.attributes(person, number), number) for number in range(40)}
    assert len(texts) > 25
    assert len({frozenset(captions.attributes(person, number)) for number in range(40)}) > 3


def test_a_face_is_the_same_whatever_was_drawn_before() -> None:
    calm, loud = Pose(), Pose(openness=1, width=-1, blink=1, gaze=(1, 1), lift=1, shift=(0.02, 0.01), tilt_deg=3)
    face = Face(look.look_of(3), 64)
    first = face.frames([calm, loud])
    again = face.frames([loud, calm])[::-1]
    assert np.array_equal(first, again)
    assert np.array_equal(first, Face(look.look_of(3), 64).frames([calm, loud]))
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("size", [32, 96, 128, 256])
def test_faces_come_in_any_size_that_is_a_multiple_of_32(size: int) -> None:
    person = look.look_of(look.HELD_OUT_FROM + 5)
    picture = Face(person, size).frames([Pose(tilt_deg=8, shift=(0.04, 0.04)), Pose(tilt_deg=-8, shift=(-0.04, -0.04))])
    assert picture.shape == (2, size, size, 3)
    assert picture.dtype == np.uint8


def test_every_look_can_be_drawn_and_fills_the_picture() -> None:
    seen = set()
    for identity in range(90):
        person = look.look_of(identity)
        seen |= {person.hair, person.beard, person.glasses, person.collar, person.pattern, person.scene}
        picture = Face(person, 64).frames([Pose()])[0]
        # Skin in the middle of the face, and something else in the corner.
        assert np.abs(picture[34, 32].astype(int) - np.array(person.skin_color)).max() < 90
        assert np.abs(picture[2, 2].astype(int) - picture[34, 32].astype(int)).max() > 8
    assert {"bald", "head scarf", "long wavy", "full beard", "round", "suit", "striped", "shelf", "hills"} <= seen


def test_the_mouth_is_large_enough_to_read() -> None:
    for identity in range(20):
        face = Face(look.look_of(identity), 128)
        shut, wide = face.frames([Pose(), Pose(openness=1)]).astype(int)
        left, top, right, bottom = mouth_box(128)
        changed = np.abs(shut - wide).max(-1)[top:bottom, left:right] > 40
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert rows[-1] - rows[0] >= 12
        assert columns[-1] - columns[0] >= 20


def test_openness_can_be_measured_in_the_pixels() -> None:
    steps = np.linspace(0, 1, 10)
    for identity in (*range(12), *range(look.HELD_OUT_FROM, look.HELD_OUT_FROM + 12)):
        frames = Face(look.look_of(identity), 128).frames([Pose(openness=step) for step in steps])
        measured = openness_in_pixels(torch.from_numpy(frames))
        assert measured[0] < 0.12 * measured[-1]
        assert np.corrcoef(steps, measured)[0, 1] > 0.93


def test_pixels_of_a_clip_follow_its_true_openness_and_no_other(held_out_clips: SyntheticClips) -> None:
    own, shifted = [], []
    for index in range(5):
        clip = held_out_clips.clip(index)
        measured, truth = openness_in_pixels(clip.frames), clip.openness.numpy()
        own.append(np.corrcoef(measured, truth)[0, 1])
        shifted.append(np.corrcoef(measured[4:], truth[:-4])[0, 1])
    assert min(own) > 0.9
    assert np.mean(shifted) < 0.5


def test_lips_close_for_b_and_open_for_a() -> None:
    times = np.arange(0, 1.2, 1 / 24)
    openness, width = mouth_track(((0.2, "b"), (0.3, "A:"), (0.6, "m"), (0.7, "u:"), (1.0, "_")), times)
    assert openness[times < 0.1].max() == 0
    assert openness[round(0.45 * 24)] > 0.95
    assert openness[round(0.65 * 24)] < 0.05
    assert openness[round(0.85 * 24)] > 0.1
    assert width[round(0.85 * 24)] < -0.9
    assert openness[-1] < 0.02


def test_a_diphthong_moves_and_an_unknown_phoneme_counts_as_its_beginning() -> None:
    first, second = targets("aI")
    assert (first, second) == (VISEMES["a"], VISEMES["I"])
    assert targets("t9") == targets("t")
    assert targets("§") == targets("_")


def test_a_person_blinks_looks_around_and_starts_upright() -> None:
    blinks, looks = 0, 0
    for number in range(20):
        moves = poses(np.zeros(97), np.zeros(97), 24, "test", number)
        assert moves[0] == Pose()
        blinks += max(move.blink for move in moves) > 0.9
        looks += len({move.gaze for move in moves}) > 1
        assert max(abs(move.tilt_deg) for move in moves) < 6
        assert max(max(map(abs, move.shift)) for move in moves) < 0.04
        steps = np.abs(np.diff([move.shift[0] for move in moves]))
        assert steps.max() < 0.01
    assert blinks > 10
    assert looks > 10


def moved(manner: Manner) -> tuple[float, float, float]:
    """How far heads tilt in degrees, how fast in degrees a second, and how often eyes shut in a second."""
    spread, pace, shut = [], [], []
    for number in range(20):
        moves = poses(np.zeros(97), np.zeros(97), 24, "manner", number, manner=manner)
        assert moves[0] == Pose()
        tilts, blinks = (np.array([getattr(move, name) for move in moves]) for name in ("tilt_deg", "blink"))
        spread.append(np.abs(tilts).max())
        pace.append(np.abs(np.diff(tilts)).mean() * 24)
        shut.append((np.diff((blinks > 0.5).astype(int)) == 1).sum() / 4)
    return float(np.mean(spread)), float(np.mean(pace)), float(np.mean(shut))


def test_a_manner_changes_how_far_how_fast_and_how_often() -> None:
    amount, pace, blinks = moved(Manner(1.0))
    far, quick, often = (moved(manner) for manner in (Manner(2.0), Manner(1.0, speed=2.0), Manner(1.0, blinks=0.3)))
    assert far == pytest.approx((2 * amount, 2 * pace, blinks))
    assert quick[1] > 1.5 * pace
    assert quick[0] < 1.5 * amount
    assert quick[2] == blinks
    assert often[:2] == pytest.approx((amount, pace), rel=0.2)  # other draws
    assert often[2] > 2 * blinks


def test_a_share_of_the_people_has_a_manner_of_their_own(espeak_installed: None) -> None:
    sets = [SyntheticClips(SyntheticConfig(clips=40, size=32, manners=share)) for share in (0.0, 0.5, 1.0)]
    nobody, some, all_of_them = ([clips.manner(index) for index in range(40)] for clips in sets)
    assert set(nobody) == {ANYBODY}
    assert 10 < sum(manner != ANYBODY for manner in some) < 30
    assert len(set(all_of_them)) == 40
    ordinary, own = sets[0].clip(0), sets[2].clip(0)
    assert ordinary.openness.equal(own.openness)
    assert ordinary.samples.equal(own.samples)
    assert not ordinary.frames.equal(own.frames)
