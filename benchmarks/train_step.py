"""Times one training step of the embedded model and its parts on this machine.

    python benchmarks/train_step.py [--task t2av] [--batch 16] [--threads 2] [--steps 5]

Random latents of clips of 2 s; the network is the one of `embedded_cpu_speech.yaml`; in the precision that this
processor multiplies fastest. Variants are measured one after
another in every round, so that their ratio means something on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from package import ROOT, import_package
from torch.utils.flop_counter import FlopCounterMode

PARTS = ("data", "forward", "backward", "optimiser")


def build(given: argparse.Namespace, folder: Path, **objective: Any) -> tuple[Any, Any]:
    """A fresh objective and its batches."""
    import tiny_data

    from unitalking.mapping import from_mapping
    from unitalking.training import flow_run

    data = folder / "data"
    if not data.exists():
        tiny_data.make_dataset(data, frames=(49,) * (given.batch + 1), side=8)
    config = yaml.safe_load((ROOT / "unitalking/training/recipes/embedded_cpu_speech.yaml").read_text())
    sizes = config["model"]["config"] | {"audio_channels": tiny_data.TINY.audio_channels}
    recipe = tiny_data.recipe(data, folder / "run", model={"config": sizes})
    recipe["tasks"] = {given.task: {"weight": 1.0, "reference": 0.7}}
    recipe["trainer"] |= {"batch_size": given.batch, "precision": "bf16"}
    recipe["objective"] = objective
    trainer, _ = flow_run.build(from_mapping(flow_run.Recipe, recipe))
    return trainer.inner, trainer.batches


def precision() -> str:
    """What training takes here where its recipe says "auto"."""
    from unitalking.training.processes import fastest_precision

    return fastest_precision(cpu=True)


def step(objective: Any, batches: Any, optimisers: list[Any], index: int) -> dict[str, float]:
    """Seconds of each part of one step."""
    times = [time.perf_counter()]
    batch = batches.batch(index, 0, 1)
    times.append(time.perf_counter())
    with torch.autocast("cpu", torch.bfloat16, enabled=precision() == "bf16"):
        loss = objective(batch).total.mean()
    times.append(time.perf_counter())
    loss.backward()
    times.append(time.perf_counter())
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()
    times.append(time.perf_counter())
    return {part: times[place + 1] - times[place] for place, part in enumerate(PARTS)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="t2av")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="the operations that take longest, of the first variant")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    import_package()
    sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "training")]

    from unitalking.training.optimiser import build_optimisers
    from unitalking.training.settings import OptimiserSettings

    variants: dict[str, tuple[dict[str, Any], str]] = {
        "plain attention, muon": ({"attention": "plain"}, "muon"),
        "plain attention, adamw": ({"attention": "plain"}, "adamw"),
        "torch attention, muon": ({"attention": "torch"}, "muon"),
    }
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, tuple[Any, ...]] = {}
        for name, (objective, kind) in variants.items():
            built = build(given, Path(folder), **objective)
            runs[name] = (*built, build_optimisers(built[0], "model", OptimiserSettings(kind=kind, lr=1e-4)))
        if given.profile:
            profile(lambda index: step(*next(iter(runs.values())), index))
            return
        found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for index in range(given.steps + 1):
            for name, run in runs.items():
                times = step(*run, index)
                if index:
                    found[name].append(times)
        flops = {name: count_flops(functools.partial(step, *run, 0)) for name, run in runs.items()}
    count = sum(value.numel() for value in next(iter(runs.values()))[0].parameters())
    print(f"{count / 1e6:.2f} M parameters, {given.task}, batch {given.batch}, {given.threads} threads, {precision()}")
    rate = matrix_rate(given.batch)
    print(f"a matrix product alone: {rate / 1e9:.0f} GFLOP/s")
    for name, rows in found.items():
        median = {part: statistics.median(row[part] for row in rows) for part in PARTS}
        shown = "  ".join(f"{part} {seconds:.3f}" for part, seconds in median.items())
        total = sum(median.values())
        print(f"{name:24s} {total:.3f} s  {shown}  {flops[name] / 1e9:.0f} GFLOP, {flops[name] / total / rate:.0%}")


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of the matrix products of `run`."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def matrix_rate(batch: int) -> float:
    """FLOP/s of the product of a batch's tokens with a block's FFN weight."""
    dtype = torch.bfloat16 if precision() == "bf16" else torch.float32
    tokens, weight = torch.randn(batch * 272, 192).to(dtype), torch.randn(192, 768).to(dtype)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        tokens @ weight
        times.append(time.perf_counter() - start)
    return 2 * tokens.numel() * weight.shape[1] / statistics.median(times)


def profile(run: Callable[[int], object]) -> None:
    """The operations of one step by their own time."""
    run(0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        run(1)
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=22))


if __name__ == "__main__":
    main()
