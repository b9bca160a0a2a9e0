"""Mistakes that the tests must find: each is put into a copy of the repository, where its tests have to fail.

    python tests/mutations.py                  all of them
    python tests/mutations.py NAME [NAME ...]  some
    python tests/mutations.py --list

The mistakes are tables in `tests/mistakes/*.py`, lists `MISTAKES` of keyword arguments of `Mistake`. A mistake is found
if every test named by it fails, by an assertion, and passes in an unchanged copy.

PyTorch is imported once; every copy is tested in a process forked from there, which imports the package anew.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import json
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "tests" / "mistakes"
COPIED = {".py", ".toml"}
TIMEOUT_S = 120
# On top of that for every test: the unchanged copy runs those of all mistakes.
TEST_S = 5
# What the package and its tests import, so that a fork has it already; the host's own dependencies come on demand.
PRELOADED = ("torch", "numpy", "safetensors.torch", "torch.testing", "torchaudio.functional", "PIL.Image", "av")
PRELOADED_FOR_HOST = ("transformers", "aiohttp", "scipy", "einops", "torchsde", "torchvision", "yaml", "psutil")
BY_ASSERTION = (AssertionError, pytest.fail.Exception)


@dataclass(frozen=True)
class Mistake:
    """One wrong line.

    Attributes:
        name: what is wrong, in words joined by underscores.
        file: the file that it is in, from the repository's root.
        old: text of that file, occurring once.
        new: what the mistake has in its place.
        tests: pytest ids that find it; one without brackets stands for all its cases, at least one of which must fail.
        host: whether its tests import ComfyUI's modules, and are skipped without them.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    host: bool = False

    def apply(self, folder: Path) -> str:
        """Make the mistake in the copy in `folder`.

        Returns:
            The file's text as it was.

        Raises:
            ValueError: `old` is not there once; the table has to follow the code.
        """
        path = folder / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has {text.count(self.old)} times, expected once:\n{self.old}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text


def load_mistakes() -> list[Mistake]:
    """All tables, in the order of their files; two of one name, or one without tests, are a ValueError."""
    entries = [entry for path in sorted(TABLES.glob("*.py")) for entry in runpy.run_path(str(path))["MISTAKES"]]
    mistakes = [Mistake(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
    names = [mistake.name for mistake in mistakes]
    wrong = {name for name in names if names.count(name) > 1} | {each.name for each in mistakes if not each.tests}
    if wrong:
        raise ValueError(f"mistakes: without tests, or twice: {', '.join(sorted(wrong))}")
    return mistakes


# ---- copies


def repository_files() -> list[Path]:
    """Files of the repository, tracked and not, without what git ignores; paths from its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    files = [Path(name) for name in listing.stdout.split("\0") if name]
    if listing.returncode != 0:  # an archive without history
        files = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        files = [path for path in files if not any(part[0] == "." or part == "__pycache__" for part in path.parts)]
    return [path for path in files if (ROOT / path).is_file()]


def copy_repository(files: Sequence[Path], folder: Path) -> None:
    """Sources copied, everything else (assets, models) linked."""
    for path in files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in COPIED:
            shutil.copyfile(ROOT / path, target)
        else:
            target.symlink_to(ROOT / path)


# ---- one copy, in a process of its own


class Outcomes:
    """A pytest plugin that notes how every test ended: passed, skipped, failed (by an assertion) or error."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    @pytest.hookimpl
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> None:
        """Note a test's end; the set-up or tear-down only if it goes wrong."""
        if call.excinfo is None:
            if call.when == "call":
                self.of[item.nodeid] = "passed"
        elif call.excinfo.errisinstance(pytest.skip.Exception):
            self.of[item.nodeid] = f"skipped: {call.excinfo.value}"
        elif call.when == "call" and call.excinfo.errisinstance(BY_ASSERTION):
            self.of[item.nodeid] = "failed"
        else:
            self.of[item.nodeid] = f"error: {call.excinfo.exconly()[:200]}"

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot even be collected."""
        if report.failed:
            self.of[report.nodeid] = f"error: not collected: {report.longreprtext[-300:]}"


def run_copy(folder: Path, tests: Sequence[str], result: Path) -> None:
    """Runs `tests` of the copy in `folder` and writes their outcomes to `result`; for a process of its own."""
    os.chdir(folder)
    importlib.import_module("torch").set_num_threads(1)
    outcomes = Outcomes()
    with result.with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        options = [f"--rootdir={folder}", f"--config-file={folder / 'pyproject.toml'}", "-q", "-p", "no:cacheprovider"]
        options += [f"--basetemp={result.with_suffix('.tmp')}", "--tb=short"]
        options += ["--assert=plain", "-p", "no:unraisableexception"]  # half of the time, for nothing that is read here
        pytest.main([*options, *tests], plugins=[outcomes])
    result.write_text(json.dumps(outcomes.of), encoding="utf-8")


def of_test(outcomes: dict[str, str], test: str) -> str:
    """How the test `test` ended, all its cases together: the worst of them counts."""
    cases = [outcome for name, outcome in outcomes.items() if name == test or name.startswith(f"{test}[")]
    if not cases:
        uncollected = [outcome for name, outcome in outcomes.items() if test.startswith(name)]
        return uncollected[0] if uncollected else "error: no such test"
    for kind in ("error", "failed", "skipped"):
        worst = [outcome for outcome in cases if outcome.startswith(kind)]
        if worst:
            return worst[0]
    return "passed"


# ---- all copies


@dataclass(frozen=True)
class Job:
    """A copy being tested: with a mistake, or None, the unchanged repository."""

    mistake: Mistake | None
    tests: tuple[str, ...]
    folder: Path
    result: Path
    original: str
    process: BaseProcess
    deadline: float

    def outcomes(self) -> dict[str, str]:
        """What the tests gave, once their process has ended or run out of time; the copy is unchanged again."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        if self.mistake is not None:
            (self.folder / self.mistake.file).write_text(self.original, encoding="utf-8")
        if self.result.exists():
            return json.loads(self.result.read_text(encoding="utf-8"))
        log = self.result.with_suffix(".log")
        end = log.read_text(encoding="utf-8")[-500:] if log.exists() else ""
        return {test: f"error: no result, exit code {self.process.exitcode}: {end}" for test in self.tests}


def start(mistake: Mistake | None, tests: tuple[str, ...], folder: Path, result: Path) -> Job:
    """Tests of the copy in `folder`, with the mistake, in a process forked from this one."""
    original = "" if mistake is None else mistake.apply(folder)
    process = multiprocessing.get_context("fork").Process(target=run_copy, args=(folder, tests, result))
    process.start()
    return Job(mistake, tests, folder, result, original, process, time.monotonic() + TIMEOUT_S + TEST_S * len(tests))


def outcomes_of(mistakes: Sequence[Mistake | None], workers: int) -> Iterator[tuple[Mistake | None, dict[str, str]]]:
    """Outcomes with each mistake, as they come, `workers` copies at a time; None stands for none, and all tests."""
    every_test = tuple(sorted({test for mistake in mistakes if mistake is not None for test in mistake.tests}))
    files, waiting = repository_files(), list(mistakes)
    running: list[Job] = []
    with tempfile.TemporaryDirectory(prefix="unitalking-mutations-") as temporary:
        free = [Path(temporary) / f"copy{number}" for number in range(workers)]
        for folder in free:
            copy_repository(files, folder)
        while waiting or running:
            while waiting and free:
                mistake = waiting.pop(0)
                tests = every_test if mistake is None else mistake.tests
                try:
                    running.append(start(mistake, tests, free[-1], Path(temporary) / f"{len(waiting)}.json"))
                    del free[-1]
                except ValueError as error:
                    yield mistake, {test: f"error: {error}" for test in tests}
            wait([job.process.sentinel for job in running], timeout=1)
            for job in [job for job in running if not job.process.is_alive() or time.monotonic() > job.deadline]:
                running.remove(job)
                yield job.mistake, job.outcomes()
                free.append(job.folder)


def preload(*, host: bool) -> None:
    """Imports what forks share, pytest's plugins included; what is not installed is left to the tests that need it."""
    for name in PRELOADED + (PRELOADED_FOR_HOST if host else ()):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as empty:
        pytest.main(["--noconftest", f"--config-file={os.devnull}", "-p", "no:cacheprovider", empty])
    gc.freeze()  # a fork that collects garbage would copy all of the above


def verdict(mistake: Mistake, changed: dict[str, str], unchanged: dict[str, str]) -> str:
    """`found`, `skipped: why`, or what is wrong with the mistake or its tests."""
    before = {test: of_test(unchanged, test) for test in mistake.tests}
    skipped = [outcome for outcome in before.values() if outcome.startswith("skipped")]
    if skipped:
        return skipped[0]
    broken = {test: outcome for test, outcome in before.items() if outcome != "passed"}
    if broken:
        return f"fails without the mistake: {broken}"
    after = {test: of_test(changed, test) for test in mistake.tests}
    survived = {test: outcome for test, outcome in after.items() if outcome != "failed"}
    return f"not found: {survived}" if survived else "found"


def verdicts(mistakes: Sequence[Mistake], workers: int = 2) -> dict[str, str]:
    """Name of every mistake -> `found`, `skipped: why`, or what is wrong."""
    preload(host=any(mistake.host for mistake in mistakes))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = True
    results = {mistake: outcomes for mistake, outcomes in outcomes_of([None, *mistakes], workers)}
    return {mistake.name: verdict(mistake, results[mistake], results[None]) for mistake in mistakes}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 if a mistake was not found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="mistakes, default all")
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument("--json", type=Path, help="file for the verdicts")
    parser.add_argument("--workers", type=int, default=2, help="copies tested at a time")
    options = parser.parse_args(arguments)
    known = {mistake.name: mistake for mistake in load_mistakes()}
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; --list names them")
    chosen = [known[name] for name in options.names] or list(known.values())
    if options.list:
        sys.stdout.writelines(f"{mistake.name}\t{mistake.file}\n" for mistake in chosen)
        return 0
    started = time.monotonic()
    results = verdicts(chosen, options.workers)
    if options.json:
        options.json.write_text(json.dumps(results), encoding="utf-8")
    sys.stdout.writelines(f"{name}: {result}\n" for name, result in results.items() if result != "found")
    found = sum(result == "found" for result in results.values())
    sys.stdout.write(f"{found} of {len(results)} mistakes found in {time.monotonic() - started:.0f} s\n")
    return int(any(result != "found" and not result.startswith("skipped") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
