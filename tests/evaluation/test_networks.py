"""The judges' networks and what they hear and see."""

from __future__ import annotations

import pytest
import torch

from unitalking.evaluation.attributes import AttributeConfig, AttributeJudge, AttributeNetwork
from unitalking.evaluation.judges import at_picture_times
from unitalking.evaluation.mouth import MouthConfig, MouthJudge, MouthNetwork
from unitalking.evaluation.networks import ClipJudge, FrameJudge, ListenerConfig
from unitalking.evaluation.sight import blemished, shifted
from unitalking.evaluation.sound import FRAMES_PER_S, distorted, features, levelled
from unitalking.evaluation.words import Errors

CONFIG = ListenerConfig(dim=16, dilations=(1, 2), stride=2, outputs=5)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def noise(seconds: float = 1.0) -> torch.Tensor:
    return 0.1 * torch.randn(1, int(16000 * seconds), generator=seeded(0))


def test_features_do_not_depend_on_the_level() -> None:
    torch.testing.assert_close(features(0.2 * noise()), features(noise()), atol=1e-4, rtol=1e-4)


def test_silence_is_zero_and_stays_silent() -> None:
    assert features(torch.zeros(1, 16000)).abs().max() == 0
    assert levelled(torch.full((1, 100), 1e-6)).max() == 1e-6


def test_a_clip_shorter_than_a_window_has_features() -> None:
    assert features(noise(0.01)).shape[2] >= 1


@pytest.mark.parametrize("frames", [1, 30, 31])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_frame_judge_answers_for_every_frame(stride: int, frames: int) -> None:
    judge = FrameJudge(ListenerConfig(dim=16, dilations=(1,), stride=stride, outputs=3))
    assert judge(torch.zeros(2, 80, frames)).shape == (2, frames, 3)


def test_silence_after_a_clip_changes_nothing_before_it() -> None:
    """Clips of different lengths are judged in one batch."""
    torch.manual_seed(0)
    judge = FrameJudge(CONFIG)
    mel = features(noise())
    longer = torch.nn.functional.pad(mel, (0, 40))
    before = mel.shape[2] - 8  # the last ones hear a little of the silence that follows
    torch.testing.assert_close(judge(longer)[:, :before], judge(mel)[:, :before], atol=1e-5, rtol=1e-4)


def test_frame_judge_keeps_time() -> None:
    """A sound that comes 10 frames later is answered 10 frames later."""
    torch.manual_seed(0)
    judge = FrameJudge(CONFIG)
    mel = features(noise(0.3))
    early, late = (judge(torch.nn.functional.pad(mel, (before, 60 - before))) for before in (20, 30))
    torch.testing.assert_close(late[:, 30:60], early[:, 20:50], atol=1e-5, rtol=1e-4)


def test_embedding_has_length_one_and_ignores_silence_at_the_ends() -> None:
    torch.manual_seed(0)
    judge = ClipJudge(CONFIG).eval()
    mel = torch.nn.functional.pad(features(noise()), (20, 20))
    one, other = judge(mel), judge(torch.nn.functional.pad(mel, (0, 30)))
    assert one.norm().item() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_track_is_read_at_the_times_of_pictures() -> None:
    seconds = (torch.arange(125) + 0.5) / FRAMES_PER_S
    torch.testing.assert_close(at_picture_times(seconds, 40, 24.0)[1:], torch.arange(1, 40) / 24.0)


@pytest.mark.parametrize("distort", ["sound", "picture"])
def test_distortions_are_mild_and_repeatable(distort: str) -> None:
    if distort == "sound":
        clean = features(noise()).expand(4, -1, -1)
        once, again, other = (distorted(clean, seeded(seed)) for seed in (1, 1, 2))
        assert (once - clean).abs().mean() < 0.25
    else:
        clean = torch.rand(4, 3, 32, 32, generator=seeded(0)) * 2 - 1
        clean = torch.nn.functional.avg_pool2d(clean, 5, 1, 2)
        once, again, other = (blemished(clean, seeded(seed)) for seed in (1, 1, 2))
        assert (once - clean).abs().mean() < 0.15
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert once.shape == clean.shape


def test_pictures_are_moved_and_mirrored_but_never_torn() -> None:
    plain = torch.arange(64.0).expand(1, 3, 64, 64).repeat(40, 1, 1, 1)
    moved = shifted(plain, seeded(0))
    rising = moved[:, 0, 0].diff(dim=1)
    assert ((rising >= 0).all(dim=1) | (rising <= 0).all(dim=1)).all()
    assert 0 < (rising[:, 30] < 0).sum() < 40
    assert moved[:, 0, 0, 32].unique().numel() > 4


def test_voices_are_not_warped_when_told_so() -> None:
    """A line at one frequency stays there."""
    mel = torch.zeros(8, 80, 50)
    mel[:, 40] = 2.0
    kept, warped = (distorted(mel, seeded(3), warp).mean(dim=2).argmax(dim=1) for warp in (0, 0.08))
    assert set(kept.tolist()) == {40}
    assert len(set(warped.tolist())) > 3


def test_mouth_is_read_in_pictures_of_any_size() -> None:
    torch.manual_seed(0)
    judge = MouthJudge(MouthNetwork(MouthConfig((4, 6), 8)).eval())
    frames = torch.zeros(5, 96, 96, 3, dtype=torch.uint8)
    frames[:, 60:70, 40:56] = 200
    large = frames.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    assert judge.track(frames).shape == (5,)
    assert abs(judge.track(frames) - judge.track(large)).max() < 0.02


def test_attributes_that_are_unknown_do_not_count() -> None:
    torch.manual_seed(0)
    network = AttributeNetwork(AttributeConfig((4, 4, 4), 4, 8, {"hair": ("red", "black"), "age": ("old",)}))
    judge = AttributeJudge(network.eval())
    frames = torch.zeros(3, 64, 64, 3, dtype=torch.uint8)
    seen = judge.describe(frames)
    other = {"red": "black", "black": "red"}[seen["hair"]]
    assert judge.errors(frames, {"hair": seen["hair"], "age": "old", "mood": "glad"}) == Errors(0, 2)
    assert judge.errors(frames, {"hair": other}) == Errors(1, 1)
    assert judge.errors(frames, {"hair": "pink"}) is None
