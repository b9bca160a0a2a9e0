"""The loop: it learns, goes on exactly after a kill, shares a batch out over processes, and stops at NaN."""

from __future__ import annotations

import errno
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

_spec = importlib.util.spec_from_file_location("regression", Path(__file__).with_name("regression.py"))
regression = importlib.util.module_from_spec(_spec)
sys.modules["regression"] = regression
_spec.loader.exec_module(regression)

from unitalking.training.settings import OptimiserSettings, TrainerSettings, TrainingError  # noqa: E402

SETTINGS = {
    "steps": 12,
    "batch_size": 8,
    "precision": "fp32",
    "ema": 0.9,
    "checkpoint_every": 4,
    "log_every": 2,
    "workers": 0,
    "optimiser": {"lr": 0.02, "warmup": 2, "decay_from": 0.5},
}


def run(folder: Path, **changes: Any) -> tuple[Any, list[float]]:
    trainer = regression.build(folder, {**SETTINGS, **changes})
    seen = regression.record(trainer)
    trainer.run()
    return trainer, seen


def events_of(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    return events


def curve(folder: Path, name: str) -> dict[int, float]:
    return {point.step: point.value for point in events_of(folder).Scalars(name)}


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.inner.named_parameters()}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_loss_falls_and_the_average_follows(tmp_path: Path, kind: str) -> None:
    trainer, seen = run(tmp_path, steps=60, optimiser={"lr": 0.02, "kind": kind})
    assert sum(seen[-10:]) < 0.5 * sum(seen[:10])
    averaged = trainer.ema_state_dict()
    now = trainer.inner.state_dict()
    assert averaged.keys() == now.keys()
    assert any(not torch.equal(averaged[name], now[name]) for name in now)
    assert all((averaged[name] - now[name]).abs().max() < 0.5 for name in now)


def test_curves_lie_where_tensorboard_finds_them(tmp_path: Path) -> None:
    run(tmp_path)
    events = events_of(tmp_path)
    assert {"loss/loss", "loss/root", "train/gradient_norm", "train/samples_per_s", "lr/model0"} <= set(
        events.Tags()["scalars"]
    )
    assert [point.step for point in events.Scalars("loss/loss")] == [2, 4, 6, 8, 10, 12]
    rates = {point.step: point.value for point in events.Scalars("lr/model0")}
    assert rates[2] == pytest.approx(0.02)
    assert rates[10] == pytest.approx(0.02 * 3 / 6)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_killed_run_goes_on_with_the_same_numbers_bit_for_bit(tmp_path: Path, kind: str) -> None:
    optimiser = {**SETTINGS["optimiser"], "kind": kind}
    whole, losses = run(tmp_path / "whole", optimiser=optimiser)

    class KilledError(Exception):
        pass

    broken = regression.build(tmp_path / "killed", {**SETTINGS, "optimiser": optimiser})
    seen = regression.record(broken)
    step = broken._one_step

    def killed_after_seven(micro_batches: Any) -> Any:
        if broken.step == 7:  # three steps after the checkpoint
            raise KilledError
        return step(micro_batches)

    broken._one_step = killed_after_seven
    with pytest.raises(KilledError):
        broken.run()
    assert seen == losses[:7]
    resumed, rest = run(tmp_path / "killed", optimiser=optimiser)
    assert rest == losses[4:]
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())
    assert all(map(torch.equal, resumed.average.values, whole.average.values))


def test_workers_do_not_change_the_numbers(tmp_path: Path) -> None:
    _, alone = run(tmp_path / "a")
    _, ahead = run(tmp_path / "b", workers=2)
    assert ahead == alone


def test_accumulated_micro_batches_make_the_same_step(tmp_path: Path) -> None:
    trainer, _ = run(tmp_path / "a", steps=1, optimiser={"lr": 0.02}, clip=0.0, log_every=1)
    regression_batches = trainer.batches

    class Halves:
        def batch(self, index: int, rank: int, ranks: int) -> Any:
            return regression_batches.batch(index // 2, index % 2, 2)

    settings = {**SETTINGS, "steps": 1, "optimiser": {"lr": 0.02}, "clip": 0.0, "accumulation": 2, "log_every": 1}
    other = regression.build(tmp_path / "b", settings)
    other.batches = Halves()
    other.run()
    expected = weights(trainer)
    assert all(torch.allclose(value, expected[name], atol=1e-7) for name, value in weights(other).items())
    norms = [curve(folder, "train/gradient_norm")[1] for folder in (tmp_path / "a", tmp_path / "b")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)  # AdamW's first step is the same for any multiple


MUON = {"optimiser": {**SETTINGS["optimiser"], "kind": "muon"}}


@pytest.mark.parametrize("extra", [{}, {"accumulation": 2}, MUON], ids=["plain", "accumulated", "muon"])
def test_two_processes_give_the_losses_of_one(tmp_path: Path, extra: dict[str, Any]) -> None:
    settings = {**SETTINGS, **extra}
    shares = settings.get("accumulation", 1)
    # `accelerate launch` starts several processes on GPUs alone; PyTorch's launcher, which it uses there, does on CPUs.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [str(tmp_path / "two"), json.dumps(settings), str(tmp_path / "two.json")]
    done = subprocess.run([*launch, regression.__file__, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    _, alone = run(tmp_path / "one", **extra)
    written = json.loads((tmp_path / "two.json").read_text())
    assert written["processes"] == 2
    two = written["losses"]
    assert len(two) == len(alone) == 12 * shares
    assert two == pytest.approx(alone, rel=1e-6, abs=1e-9)
    # What two processes wrote, one can go on with.
    shutil.rmtree(tmp_path / "two" / "checkpoints" / "step-00000012")
    _, rest = run(tmp_path / "two", **extra)
    assert rest == pytest.approx(alone[8 * shares :], rel=1e-5)


def test_nan_stops_the_run_and_names_step_and_batch(tmp_path: Path) -> None:
    trainer = regression.build(tmp_path, SETTINGS, poison=6)
    with pytest.raises(TrainingError, match=r"Step 6: the loss is NaN.*point-6-0.*step-00000004"):
        trainer.run()
    assert [path.name for path in trainer.checkpoints.complete()] == ["step-00000004"]


def test_nan_in_the_step_of_a_checkpoint_is_not_saved(tmp_path: Path) -> None:
    trainer = regression.build(tmp_path, SETTINGS, poison=3)
    with pytest.raises(TrainingError, match="Step 3"):
        trainer.run()
    assert trainer.checkpoints.complete() == []


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = regression.build(tmp_path, SETTINGS)
    write = trainer.accelerator.save_state

    def full_at_eight(path: str) -> None:
        write(path)
        if trainer.step == 8:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer.accelerator, "save_state", full_at_eight)
    with pytest.raises(TrainingError, match=r"step 8 could not be written.*No space left.*step-00000004"):
        trainer.run()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000004"]
    _, rest = run(tmp_path)
    assert len(rest) == 8


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    trainer, _ = run(tmp_path, checkpoint_every=2, keep=3)
    names = [path.name for path in trainer.checkpoints.complete()]
    assert names == ["step-00000008", "step-00000010", "step-00000012"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run(tmp_path, steps=4)
    (tmp_path / "checkpoints" / "step-00000004" / "optimizer.bin").write_bytes(b"half")
    with pytest.raises(TrainingError, match=r"step-00000004 cannot be read"):
        run(tmp_path)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, steps=4)
    with pytest.raises(TrainingError, match=r"written by another run: settings.seed was 0, is 1"):
        run(tmp_path, seed=1)
    other = regression.Trainer(
        regression.from_mapping(TrainerSettings, SETTINGS), regression.Regression(8), None, tmp_path
    )
    with pytest.raises(TrainingError, match=r"parameters.net.blocks.0.bias was \[16\], is \[8\]"):
        other.run()


def test_a_finished_run_does_nothing_and_a_longer_one_goes_on(tmp_path: Path) -> None:
    optimiser = {"lr": 0.02}
    run(tmp_path, steps=4, optimiser=optimiser)
    assert run(tmp_path, steps=4, optimiser=optimiser)[1] == []
    _, rest = run(tmp_path, steps=6, optimiser=optimiser)
    assert rest == run(tmp_path / "whole", steps=6, optimiser=optimiser)[1][4:]


def test_samples_see_averaged_weights_and_leave_the_run_as_it_was(tmp_path: Path) -> None:
    seen = []

    def on_sample(step: int, trainer: Any) -> None:
        now = weights(trainer)
        torch.randn(5)
        seen.append((step, now, [value.clone() for value in trainer.average.values]))

    settings = {**SETTINGS, "sample_every": 5}
    trainer = regression.build(tmp_path / "a", settings)
    trainer.on_sample = on_sample
    losses = regression.record(trainer)
    trainer.run()
    assert [step for step, *_ in seen] == [5, 10, 12]
    assert losses == run(tmp_path / "b")[1]
    final = weights(trainer)
    _, during, kept = seen[-1]
    names = sorted(final)  # the order in which the loop keeps them
    assert all(torch.equal(during[name], value) for name, value in zip(names, trainer.average.values, strict=True))
    assert all(torch.equal(final[name], value) for name, value in zip(names, kept, strict=True))
    assert not any(torch.equal(during[name], final[name]) for name in final)


class Duel(regression.Objective):
    """Two parties that pull one number apart."""

    parties = ("up", "down")

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
        self.seen: list[tuple[float, float]] = []

    def trained(self, party: str) -> Any:
        return iter([(party, getattr(self, party))])

    def forward(self, batch: Any, party: str) -> regression.Losses:
        self.seen.append((self.up[0].item(), self.down[0].item()))
        apart = (self.up - self.down + batch.inputs[:, :2] * 0).sum(1)
        return regression.Losses(-apart, {party: apart})


def test_parties_are_stepped_in_turn_and_only_their_own(tmp_path: Path) -> None:
    duel = Duel()
    settings = regression.from_mapping(TrainerSettings, {**SETTINGS, "steps": 1, "optimiser": {"lr": 0.1}})
    trainer = regression.Trainer(settings, duel, regression.RegressionBatches(8, 0), tmp_path)
    trainer.run()
    assert duel.seen[0] == (0.0, 0.0)
    assert duel.seen[1] == (pytest.approx(0.1), 0.0)
    assert duel.down.tolist() == pytest.approx([-0.1, -0.1])


def test_rate_rises_stays_and_falls_to_nothing() -> None:
    optimiser = OptimiserSettings(warmup=4, decay_from=0.5)
    factors = [optimiser.lr_factor(step, 20) for step in range(20)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[10] == 1.0
    assert factors[15] == 0.5
    assert factors[19] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, r"trainer.batch_size: got 0"),
        ({"batch_size": 9, "accumulation": 2}, r"trainer.batch_size: got 9, expected a multiple of"),
        ({"precision": "fp16"}, r"trainer.precision: got fp16, expected fp32 or bf16"),
        ({"optimiser": {"kind": "sgd"}}, r"optimiser.kind: got sgd"),
        ({"optimiser": {"decay_from": 2.0}}, r"optimiser.decay_from: got 2.0"),
        ({"epochs": 3}, r"unknown key\(s\) epochs"),
    ],
)
def test_settings_that_cannot_work_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **changes)
