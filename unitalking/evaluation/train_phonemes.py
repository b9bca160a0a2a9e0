"""Trains the judge of phonemes and words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..synthetic.phonemes import PHONEMES
from .lessons import Course, Recording, autocast, choose, generator, heard, learn
from .networks import MARGIN, FrameJudge, ListenerConfig
from .sound import WARP
from .words import Errors, greedy, phoneme_errors

CONFIG = ListenerConfig(dim=256, dilations=(1, 2, 1, 4, 1, 2), stride=2, outputs=len(PHONEMES) + 1)
COURSE = Course(steps=2400, batch=32, rate=2e-3)
ALIGNMENT = 0.5
CHECK_EVERY = 200


class Pupil(nn.Module):
    """The judge with a second head, which says the phoneme of each frame: it learns from the true times.

    CTC alone first spends hundreds of steps on finding them; the second head is dropped afterwards.
    """

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.judge = FrameJudge(config)
        self.alignment = nn.Conv1d(config.dim, config.stride * config.outputs, 1)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, F) -> CTC scores and frame scores, both (B, F, symbols)."""
        hidden = self.judge.listener(functional.pad(mel, (MARGIN, MARGIN)))
        frames = mel.shape[2]
        aligned = self.alignment(hidden).unflatten(1, (self.judge.config.outputs, self.judge.config.stride))
        aligned = aligned.permute(0, 3, 2, 1).flatten(1, 2)[:, MARGIN : MARGIN + frames]
        return self.judge.scores(hidden, frames), aligned


def phoneme_loss(pupil: Pupil, recordings: list[Recording], random: torch.Generator) -> Tensor:
    """CTC per phoneme, and cross-entropy per frame."""
    mel = heard(recordings, random, WARP)
    with autocast():
        scores, aligned = pupil(mel)
    lengths = torch.tensor([len(each.phonemes) for each in recordings])
    ctc = functional.ctc_loss(
        scores.float().log_softmax(dim=2).transpose(0, 1),
        torch.tensor([number for each in recordings for number in each.phonemes]),
        torch.full_like(lengths, mel.shape[2]),
        lengths,
        reduction="sum",
        zero_infinity=True,
    )
    labels = nn.utils.rnn.pad_sequence([each.frames for each in recordings], batch_first=True)
    alignment = functional.cross_entropy(aligned.float().flatten(0, 1), labels.flatten())
    return ctc / lengths.sum() + ALIGNMENT * alignment


@torch.no_grad()
def phoneme_error(judge: FrameJudge, recordings: list[Recording]) -> Errors:
    """Errors on clips as they are, undistorted."""
    found = [
        phoneme_errors(greedy(judge(each.mel.float()[None])[0].float().numpy()), each.phonemes) for each in recordings
    ]
    return Errors(sum(each.wrong for each in found), sum(each.total for each in found))


def train_phonemes(
    recordings: list[Recording], held_out: list[Recording], course: Course = COURSE
) -> tuple[FrameJudge, float]:
    """A judge, and the seconds that it took."""
    torch.manual_seed(course.seed)
    pupil = Pupil(CONFIG)

    def loss_of(step: int) -> Tensor:
        return phoneme_loss(pupil, choose(recordings, course, step), generator(course.seed, step))

    def check() -> str:
        return f"phoneme error on {len(held_out)} held-out clips {phoneme_error(pupil.judge, held_out).rate:.4f}"

    return pupil.judge, learn("phonemes", pupil, loss_of, course, check, CHECK_EVERY)
