"""`accelerate launch -m unitalking.training RECIPE [key=value ...]`, or `python -m` on one device.

RECIPE is a YAML file or the name of one that comes with the pack; `trainer.steps=100` changes what it says. A run is
continued from its folder: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys

from .processes import leave_processes
from .recipe import load_recipe
from .settings import TrainingError


def main(arguments: list[str] | None = None) -> int:
    """Parse, validate, run; the exit status."""
    parser = argparse.ArgumentParser("python -m unitalking.training", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe of the pack")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="what this run has different")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    try:
        module, recipe = load_recipe(given.recipe, given.changes)
        module.run(recipe)
    except TrainingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    finally:
        leave_processes()
    return 0


if __name__ == "__main__":
    sys.exit(main())
