"""`python -m trainer.experiments coupling|shares`: what the documentation quotes."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from trainer.experiments import coupling, shares


def main() -> None:
    """Runs the experiment that is named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m trainer.experiments", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    one = names.add_parser("coupling", help="every coupling of policy and energy model, 20 seeds")
    one.add_argument("--seeds", type=int, default=20, help="seeds for each coupling")
    one.add_argument("--only", nargs="*", default=None, help="couplings to run, all by default")
    one.add_argument(
        "--energy",
        nargs="*",
        choices=coupling.ENERGIES,
        default=coupling.ENERGIES,
        help="energy models, both by default",
    )
    one.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/coupling.jsonl"),
        help="results, one line a run; runs that are there already are not repeated",
    )
    one.add_argument("--docs", type=Path, default=Path("docs"), help="where table and plot go")
    two = names.add_parser("shares", help="value share against pull, over a short training")
    two.add_argument("--preset", default="tiny", help="preset of the training")
    two.add_argument("--steps", type=int, default=400, help="steps of the training")
    two.add_argument("--docs", type=Path, default=Path("docs"), help="where the plot goes")
    options = parser.parse_args()
    lacking = [name for name in ("scipy", "matplotlib") if find_spec(name) is None]
    if lacking:
        parser.error(f"the report needs {' and '.join(lacking)}: pip install {' '.join(lacking)}")
    if options.name == "coupling":
        coupling.main(options.runs, options.docs, options.seeds, options.only, options.energy)
    else:
        shares.main(options.docs, options.preset, options.steps)


if __name__ == "__main__":
    main()
