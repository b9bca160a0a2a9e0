"""Check Clip and Keep Best: good clips pass, broken ones do not, and the best of several is kept."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from graphs import Clip, only_media, texts
from syncnet_stand_in import flashes, write_syncnet
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from comfyui import ComfyUI

Pack = Callable[[str], ModuleType]
VOICE, SPEECH = "alice_clear", "Good morning. The garden is quiet, and the light is very clear."
pytestmark = pytest.mark.usefixtures("as_nodes_run")
NAMES = ("passed", "score", "word_error", "sync", "lag_s", "speaker", "loudness", "report")


def sample(pack: Pack) -> tuple[Tensor, dict[str, Any]]:
    """Pictures and sound of the built-in clip."""
    found = pack("nodes.assets").load_clip("question").get_components()
    return found.images, found.audio


def later(audio: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The same sound, so much later."""
    shift = round(seconds * audio["sample_rate"])
    return {**audio, "waveform": audio["waveform"].roll(shift, -1)}


def check(pack: Pack, images: Tensor | None, audio: Any, speech: str = "", **changes: Any) -> dict[str, Any]:
    limits = {"largest_word_error": 0.25, "least_sync": 0.4, "least_speaker": 0.5}
    settings = {"fps": 24.0, "speech": speech, "sample_voice": "none", "judges": "pack", **limits, **changes}
    result = pack("nodes.check").CheckClip.execute(audio, images=images, **settings).args
    return dict(zip(NAMES, result, strict=True))


def test_a_good_clip_passes(pack: Pack, said: Callable[[], str]) -> None:
    found = check(pack, *sample(pack))
    assert found["passed"]
    assert found["score"] == found["sync"] > 0.6
    assert abs(found["lag_s"]) <= 1 / 24
    assert -30 < found["loudness"] < -10
    assert math.isnan(found["word_error"])
    assert math.isnan(found["speaker"])
    assert f"lip sync {found['sync']:.2f}" in said()


@pytest.mark.parametrize("seconds", [-0.25, 0.25])
def test_lips_out_of_time_do_not(pack: Pack, seconds: float) -> None:
    images, audio = sample(pack)
    found = check(pack, images, later(audio, seconds))
    assert not found["passed"]
    assert found["sync"] < 0.4
    assert found["lag_s"] == pytest.approx(-seconds, abs=1.5 / 24)
    assert "lip sync is" in found["report"]


def test_words_are_heard(pack: Pack) -> None:
    audio = pack("nodes.assets").load_voice(VOICE)
    right = check(pack, None, audio, SPEECH)
    assert right["passed"]
    assert right["word_error"] <= 0.1
    assert "garden" in right["report"]
    wrong = check(pack, None, audio, "The old man was here with my friend and his mother")
    assert not wrong["passed"]
    assert wrong["word_error"] > 0.6


def test_words_that_cannot_be_judged_do_not_pass_on_the_lips_alone(pack: Pack) -> None:
    clip = sample(pack)
    assert check(pack, *clip)["passed"]
    unknown = check(pack, *clip, "Good morning, xylophone")
    assert math.isnan(unknown["word_error"])
    assert unknown["sync"] > 0.6
    assert not unknown["passed"]
    assert "words are not judged: the pack's judge does not know xylophone" in unknown["report"]
    nothing = check(pack, *clip, "... 42!")
    assert not nothing["passed"]
    assert "words are not judged: speech holds no words" in nothing["report"]


def test_lips_of_too_short_a_clip_do_not_pass_on_the_voice_alone(pack: Pack) -> None:
    images, audio = sample(pack)
    settings = {"sample_voice": VOICE, "least_speaker": 0.0}
    assert check(pack, None, audio, **settings)["passed"]
    found = check(pack, images[:19], audio, **settings)
    assert math.isnan(found["sync"])
    assert not found["passed"]
    assert "lips are not judged: the clip is too short" in found["report"]


def test_the_voice_is_compared(pack: Pack) -> None:
    load = pack("nodes.assets").load_voice
    same = check(pack, None, load(VOICE), sample_voice=VOICE)
    assert same["speaker"] > 0.95
    other = check(pack, None, load(VOICE), sample_voice="martin_deep")
    assert other["speaker"] < 0.4
    assert not other["passed"]
    wired = check(pack, None, load(VOICE), sample_voice="martin_deep", voice=load(VOICE))
    assert wired["speaker"] == pytest.approx(same["speaker"])


def test_silence_is_said_and_does_not_pass(pack: Pack) -> None:
    images, audio = sample(pack)
    found = check(pack, images, {**audio, "waveform": torch.zeros_like(audio["waveform"])}, SPEECH)
    assert not found["passed"]
    assert "the clip is silent" in found["report"]
    found = check(pack, None, {**audio, "waveform": audio["waveform"][..., :1000]})
    assert not found["passed"]
    assert "nothing could be judged" in found["report"]


@pytest.mark.parametrize("late_s", [-0.2, 0.2])
def test_public_judges_give_the_lag_too(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    write_syncnet(tmp_path)
    monkeypatch.setattr(pack("nodes.check"), "public_folder", lambda: tmp_path)
    images, sound = flashes(48, 24.0, late_s)
    audio = {"waveform": sound[None, None], "sample_rate": 16000}
    found = check(pack, images, audio, judges="public", least_sync=0.0)
    assert found["lag_s"] == pytest.approx(late_s, abs=0.05)
    assert found["passed"]
    assert "SyncNet saw the whole picture" in found["report"]
    assert "Whisper" not in found["report"]


def test_what_public_judges_cannot_judge_does_not_pass(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_syncnet(tmp_path)
    monkeypatch.setattr(pack("nodes.check"), "public_folder", lambda: tmp_path)
    images, audio = sample(pack)
    found = check(pack, images[:5], audio, judges="public")
    assert not found["passed"]
    assert math.isnan(found["lag_s"])
    assert "lips are not judged: the clip is too short" in found["report"]
    found = check(pack, None, audio, "Good morning", judges="public")
    assert not found["passed"]
    assert f"words are not judged: Whisper's word error needs {tmp_path / 'whisper'}" in found["report"]


@pytest.mark.parametrize("late_s", [0.0, 0.25])
def test_at_240_pictures_a_second_the_lag_is_the_same(pack: Pack, late_s: float) -> None:
    images, audio = sample(pack)
    found = check(pack, images.repeat_interleave(10, dim=0), later(audio, late_s), fps=240.0)
    assert found["lag_s"] == pytest.approx(-late_s, abs=1.5 / 24)
    assert found["passed"] == (late_s == 0)


def test_at_1_picture_a_second_there_have_to_be_enough(pack: Pack) -> None:
    images, audio = sample(pack)
    few = check(pack, images[::24], audio, fps=1.0)
    assert "lips are not judged: the clip is too short" in few["report"]
    assert not few["passed"]
    long = {**audio, "waveform": audio["waveform"].repeat(1, 1, 20)}
    many = check(pack, images[::4][:20], long, fps=1.0)
    assert math.isfinite(many["sync"])
    assert abs(many["lag_s"]) <= 1


def test_a_clip_without_a_face_does_not_pass(pack: Pack) -> None:
    images, audio = sample(pack)
    found = check(pack, torch.full_like(images, 0.5), audio)
    assert found["sync"] == 0
    assert not found["passed"]


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, Tensor):
                self.size = max(self.size, each.untyped_storage().nbytes())
        return made


def test_a_long_clip_is_judged_a_few_pictures_at_a_time(pack: Pack) -> None:
    images, audio = sample(pack)
    long = {**audio, "waveform": torch.nn.functional.pad(audio["waveform"], (0, 25 * audio["sample_rate"]))}
    one = torch.nn.functional.interpolate(images[:1].movedim(-1, 1), (256, 256)).movedim(1, -1)
    with Largest() as largest:
        found = check(pack, one.expand(600, -1, -1, -1), long)
    assert found["sync"] == 0
    assert 16 * one.nbytes <= largest.size < 100 * one.nbytes


def test_judging_can_be_cancelled(pack: Pack) -> None:
    management = importlib.import_module("comfy.model_management")
    management.interrupt_current_processing()
    try:
        with pytest.raises(management.InterruptProcessingException):
            check(pack, *sample(pack))
    finally:
        management.interrupt_current_processing(False)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"audio": None}, "Check Clip: the clip has no sound"),
        ({"judges": "public"}, r"Check Clip: no public judge is there.*syncnet_v2.model(?s:.*)whisper(?s:.*)wavlm"),
        (
            {"audio": {"waveform": torch.full((1, 1, 9000), torch.nan), "sample_rate": 16000}},
            "of the clip's sound are NaN",
        ),
        ({"images": torch.full((30, 64, 64, 3), torch.nan)}, "of the clip's pictures are NaN"),
    ],
)
def test_what_cannot_be_judged_is_refused(pack: Pack, changes: dict[str, Any], match: str) -> None:
    images, audio = sample(pack)
    images, audio = changes.get("images", images), changes.get("audio", audio)
    changes = {name: value for name, value in changes.items() if name == "judges"}
    with pytest.raises(ValueError, match=f"(?s){match}"):
        check(pack, images, audio, **changes)


def test_public_judges_that_are_added_later_are_found(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pack("nodes.check")
    monkeypatch.setattr(module, "public_folder", lambda: tmp_path)
    first = module._public_judges()
    assert len(first.missing) == 3
    assert module._public_judges() is first
    (tmp_path / "other.txt").touch()
    assert module._public_judges() is not first


def test_the_best_of_several_is_kept(pack: Pack, said: Callable[[], str]) -> None:
    node = pack("nodes.check").KeepBest
    clips = [torch.full((1,), float(number)) for number in range(3)]
    sounds = [{"waveform": clip} for clip in clips]
    kept = node.execute(clips, sounds, [0.2, math.nan, 0.7]).args
    assert kept[0] is clips[2]
    assert kept[1] is sounds[2]
    assert kept[2:] == (0.7, 3)
    assert "clip 3 of 3 is kept; scores 0.20, not judged, 0.70" in said()
    with pytest.raises(ValueError, match="got 3 images, 3 audio, 2 score, expected as many of each"):
        node.execute(clips, sounds, [0.1, 0.2])


def test_a_batch_is_judged_clip_by_clip_and_one_is_saved(host: ComfyUI) -> None:
    graph = Clip(host, frames=33, batch_size=3)
    decoded = graph.decode(graph.joint()[0])
    judged = graph.add("UniTalkingCheckClip", audio=decoded[1], images=decoded[0], fps=decoded[3])
    best = graph.add("UniTalkingKeepBest", images=decoded[0], audio=decoded[1], score=judged[1])
    graph.add("UniTalkingSaveMP4", images=best[0], audio=best[1], fps=decoded[3])
    result = graph.run()
    (kept,) = [line for line in texts(result, best) if "of 3 is kept" in line]
    scores = [float(score) for score in kept.rsplit("scores ", 1)[1].split(", ")]
    assert kept.startswith(f"clip {scores.index(max(scores)) + 1} of 3")
    assert len(set(scores)) == 3
    assert len(only_media(host, result).pictures) == 33
