"""Trains the judge of voices: told apart by class, compared by cosine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .lessons import Course, Recording, autocast, choose, generator, heard, learn
from .networks import ClipJudge, ListenerConfig

CONFIG = ListenerConfig(dim=160, dilations=(1, 2, 3), stride=4, outputs=96)
COURSE = Course(steps=2500, batch=32, rate=3e-3)
# With the whole margin from the start, hundreds of classes stay at chance for long.
MARGIN = 0.15
MARGIN_FROM, MARGIN_UNTIL = 0.2, 0.6
SCALE = 24.0
CHECK_EVERY = 250


class Pupil(nn.Module):
    """The judge with one direction per voice, which is dropped afterwards."""

    def __init__(self, config: ListenerConfig, voices: int) -> None:
        super().__init__()
        self.judge = ClipJudge(config)
        self.voices = nn.Parameter(torch.randn(voices, config.outputs))

    def loss(self, mel: Tensor, labels: Tensor, progress: float) -> Tensor:
        """Softmax over cosines, with a margin for the right one that grows (AM-softmax, Wang et al. 2018)."""
        with autocast():
            embedding = self.judge(mel)
        cosines = embedding.float() @ functional.normalize(self.voices, dim=1).T
        grown = min(max((progress - MARGIN_FROM) / (MARGIN_UNTIL - MARGIN_FROM), 0.0), 1.0)
        margin = MARGIN * grown * functional.one_hot(labels, len(self.voices))
        return functional.cross_entropy(SCALE * (cosines - margin), labels)


@torch.no_grad()
def voice_cosines(judge: ClipJudge, recordings: Sequence[Recording]) -> tuple[Tensor, Tensor]:
    """Cosines of all pairs of clips of the same voice, and of two voices."""
    embedded = torch.cat([judge(each.mel.float()[None]) for each in recordings])
    cosines = embedded @ embedded.T
    names = [each.speaker for each in recordings]
    same = torch.tensor([[one == other for other in names] for one in names])
    upper = torch.ones_like(same).triu(1)
    return cosines[same & upper], cosines[~same & upper]


def equal_error_rate(same: Tensor, other: Tensor) -> float:
    """The share of pairs on the wrong side of the threshold at which both kinds have the same share."""
    thresholds = torch.cat((same, other)).sort().values
    missed = (same[None] < thresholds[:, None]).float().mean(dim=1)
    accepted = (other[None] >= thresholds[:, None]).float().mean(dim=1)
    place = (missed - accepted).abs().argmin()
    return float((missed[place] + accepted[place]) / 2)


def train_speaker(
    recordings: list[Recording], held_out: list[Recording], course: Course = COURSE
) -> tuple[ClipJudge, float]:
    """A judge, and the seconds that it took."""
    torch.manual_seed(course.seed)
    names = sorted({each.speaker for each in recordings})
    numbers = {name: number for number, name in enumerate(names)}
    pupil = Pupil(CONFIG, len(names))

    def loss_of(step: int) -> Tensor:
        chosen = choose(recordings, course, step)
        mel = heard(chosen, generator(course.seed, step), warp=0)
        return pupil.loss(mel, torch.tensor([numbers[each.speaker] for each in chosen]), step / course.steps)

    def check() -> str:
        same, other = voice_cosines(pupil.judge, held_out)
        error = equal_error_rate(same, other)
        return f"{len(names)} voices; held-out cosine same {same.mean():.3f}, other {other.mean():.3f}, EER {error:.3f}"

    return pupil.judge, learn("speaker", pupil, loss_of, course, check, CHECK_EVERY)
