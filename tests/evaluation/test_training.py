"""How judges are trained: data, lexicon, and that the command's files load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("espeakng_loader", reason="making real clips needs espeak-ng: requirements-train.txt")

from unitalking.evaluation.judges import load_judges
from unitalking.evaluation.lessons import Course, choose, frame_phonemes, record, spoken
from unitalking.evaluation.pronunciations import divided, lexicon, pronounce
from unitalking.evaluation.train_judges import COURSES, School, train
from unitalking.evaluation.train_sight import VALUES, labels_of
from unitalking.evaluation.train_speaker import equal_error_rate
from unitalking.synthetic.clips import SyntheticClips, SyntheticConfig
from unitalking.synthetic.look import look_of
from unitalking.synthetic.phonemes import phoneme_number


@pytest.fixture(scope="module")
def clips() -> SyntheticClips:
    return SyntheticClips(SyntheticConfig(clips=10, vocabulary="common"))


def test_a_recording_has_a_phoneme_for_every_frame_in_order(clips: SyntheticClips) -> None:
    speech = clips.speech(0)
    recording = record(clips, [0])[0]
    heard = [int(number) for number in torch.unique_consecutive(recording.frames) if number]
    rest = iter(spoken(speech))
    assert all(number in rest for number in heard)  # in this order
    assert len(heard) >= 0.9 * len(spoken(speech))  # espeak gives some l no time of its own
    assert recording.phonemes == tuple(spoken(speech))
    assert recording.speech.samples.numel() == 0


def test_frames_take_the_phoneme_at_their_middle(clips: SyntheticClips) -> None:
    speech = clips.speech(0)
    frames = frame_phonemes(speech, int(len(speech.samples) / 256))
    for frame in (3, 17, 30):
        moment = (frame + 0.5) * 256 / 16000
        symbol = next((symbol for start, symbol in reversed(speech.phonemes) if start <= moment), "_")
        assert frames[frame] == (phoneme_number(symbol) or 0)


def test_every_clip_is_heard_once_before_any_is_heard_again(clips: SyntheticClips) -> None:
    recordings = record(clips, range(6))
    course = Course(steps=4, batch=3, rate=1e-3)
    order = [id(each) for step in range(4) for each in choose(recordings, course, step)]
    assert len(set(order[:6])) == len(set(order[6:])) == 6
    assert order[:6] != order[6:]


def test_words_are_said_as_espeak_says_them_alone_and_linked() -> None:
    entries = lexicon(["water", "the", "all", "two"], ["water all the day", "all the water is cold", "two of all"])
    assert set(entries["water"]) == {"w O: t# 3", "w O: t# 3 r-"}
    assert all(said.split()[-1] == "l" for said in entries["all"])
    assert len(entries["two"]) == 1


def test_a_sentence_is_divided_among_its_words() -> None:
    words = ["old", "lions", "all", "like", "milk"]
    divided_words = divided(pronounce(" ".join(words)), [pronounce(word) for word in words])
    assert [" ".join(form) for form in divided_words] == [" ".join(pronounce(word)) for word in words]


def test_every_look_has_labels() -> None:
    labels = [labels_of(look_of(identity)) for identity in range(60)]
    assert all(set(label) == set(VALUES) for label in labels)
    assert any(label["hair_color"] == -100 for label in labels)


def test_equal_error_rate_is_the_share_of_overlap() -> None:
    assert equal_error_rate(torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.2])) == 0
    assert equal_error_rate(torch.tensor([0.1, 0.9]), torch.tensor([0.2, 0.8])) == pytest.approx(0.5)


def test_the_command_makes_judges_that_load_and_are_the_same_again(tmp_path: Path) -> None:
    for folder, names in ((tmp_path / "once", tuple(COURSES)), (tmp_path / "again", ("speaker", "mouth"))):
        folder.mkdir()
        school = School(clips=8, people=4, seed=5, checked=4, tuned_on=1, sentences=2)
        for name in names:
            train(name, school, Course(steps=2, batch=4, rate=1e-3, seed=5), folder)
    judges = load_judges(tmp_path / "once")
    assert judges.phonemes.listen(torch.zeros(16000)).shape[1] == 48
    assert len(judges.phonemes.lexicon) == 1000
    for path in (tmp_path / "again").glob("*.safetensors"):
        assert weights(path) == weights(tmp_path / "once" / path.name), path.name


def weights(path: Path) -> dict[str, bytes]:
    from safetensors.torch import load_file

    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}
