"""Judges the embedded model by clips that ComfyUI made and saved, on sentences, voices and faces it has never met.

    python benchmarks/embedded_model.py --out judged [--clips 200] [--seeds 3] [--cases default,unseen] [--model FILE]

The shipped workflows run in one headless ComfyUI with default widgets. The clips lie in OUT/CASE with the sidecars that
`python -m unitalking.evaluate` reads, the real ones in OUT/real, the tables in OUT/table.md and OUT/table.json. Run
again after it was stopped, it makes what is missing and judges everything anew. Needs requirements-train.txt and, for
making clips, the environment of scripts/environment.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from package import ROOT, import_package

SHIPPED = ROOT / "models" / "unitalking_embedded.safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing, judge everything, print the tables; 1 after an error, 130 when interrupted."""
    import_package()
    sys.path.append(str(ROOT / "scripts"))
    import environment
    from build_cache import SetupError
    from comfyui import ServerError
    from embedded_cases import CASES
    from embedded_making import Job, make_clips
    from embedded_real import NotHeldOutError, check_held_out, write_real_clips
    from embedded_tables import all_tables, write_tables

    from unitalking.client.outcome import PromptError
    from unitalking.client.workflow import WorkflowError
    from unitalking.evaluation.codec_anchor import load_codec
    from unitalking.evaluation.judges import load_judges

    chosen = parse(arguments, list(CASES))
    # Ended from outside, it still ends its servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        head = claim(chosen.out, chosen.model or SHIPPED, chosen.data_seed)
        cases = [CASES[name] for name in chosen.cases]
        real = {
            vocabulary: write_real_clips(chosen.out / "real", vocabulary, chosen.clips, chosen.data_seed)
            for vocabulary in dict.fromkeys(case.vocabulary for case in cases)
        }
        for data in chosen.training:
            check_held_out([path for sidecars in real.values() for path in sidecars], data)
        jobs = [
            Job(case, sidecar, seed, chosen.out / case.name)
            for case in cases
            for seed in range(chosen.seeds)
            for sidecar in real[case.vocabulary]
        ]
        if chosen.workers > 1:
            # Servers that each start a thread for every processor wait for each other: twice as long for two.
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // chosen.workers)))
        make_clips(jobs, environment.comfyui(), chosen.model, chosen.workers)
    except (SettingsError, NotHeldOutError, PromptError, WorkflowError, ServerError, SetupError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; run it again to go on.", file=sys.stderr)
        return 130
    torch.set_num_threads(1)
    tables = all_tables(real, jobs, load_judges(ROOT / "assets" / "judges"), load_codec(chosen.model or SHIPPED))
    write_tables(chosen.out, tables, head)
    print((chosen.out / "table.md").read_text(encoding="utf-8"))
    return 0


class SettingsError(Exception):
    """The folder holds clips that were made otherwise."""


def claim(out: Path, model: Path, data_seed: int) -> str:
    """Writes down what a folder's clips are made with, or checks that they were made with the same.

    Returns:
        The same for reading.

    Raises:
        SettingsError: they were made with something else.
    """
    facts = {"model": hashlib.sha256(model.read_bytes()).hexdigest(), "data_seed": data_seed}
    path = out / "made_with.json"
    if path.is_file() and (there := json.loads(path.read_text(encoding="utf-8"))) != facts:
        raise SettingsError(
            f"{out} holds clips made with {there}, this run has {facts}: give another --out, or what was given then."
        )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts), encoding="utf-8")
    return f"Model {model.name} (sha256 {facts['model'][:16]}), held-out clips of seed {data_seed}."


def parse(arguments: Sequence[str] | None, cases: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for clips and tables")
    parser.add_argument("--cases", type=_listed(cases), default=cases, help=f"of {','.join(cases)}; default all")
    parser.add_argument("--clips", type=int, default=200, help="sentences per case")
    parser.add_argument("--seeds", type=int, default=3, help="every sentence is made with seeds 0 to N-1")
    parser.add_argument("--model", type=Path, help="one-file model with codecs instead of the shipped one")
    parser.add_argument("--workers", type=int, default=1, help="servers at once")
    parser.add_argument("--data-seed", type=int, default=400, help="of sentences, voices and faces")
    parser.add_argument(
        "--training", type=Path, nargs="*", default=[], help="data sets that must not say the judged sentences"
    )
    return parser.parse_args(arguments)


def _listed(known: Sequence[str]) -> object:
    def names(text: str) -> list[str]:
        found = text.split(",")
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no case {', '.join(unknown)}; there are {', '.join(known)}")
        return found

    return names


if __name__ == "__main__":
    sys.exit(main())
