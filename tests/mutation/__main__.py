"""`python -m tests.mutation [--sample N] [--seed S] [AREA …]`: which mutants no test notices.

A random sample of the mutants of `protocol`, `detect`, `guard` and `objectives`. First the tests of
the area run once, and the lines that each of them runs are noted. A mutant is then tried in a fork
of the process that has imported everything, by the tests that run its line, the fastest first,
until one fails. Those that may survive are in `accepted.toml`, each with its reason; exit code 1
where others do, and where one of them is noticed after all or gone.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads do not survive a fork

from tests.mutation.accepted import read
from tests.mutation.areas import AREAS, Area
from tests.mutation.forked import forked
from tests.mutation.trial import Result, Wanted, try_area


def _within(at: list[str], area: Area) -> bool:
    return not at or any(place.startswith(f"{area.code}/") for place in at)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    names = [area.name for area in AREAS]
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(names))
    parser.add_argument("--sample", type=int, default=50, help="mutants an area")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, an area")
    parser.add_argument("--at", nargs="*", default=[], metavar="FILE[:LINE]", help="those alone")
    parser.add_argument("--tests", nargs="*", default=[], metavar="FILE", help="no other tests")
    args = parser.parse_args()
    for name in ("hypothesis", "numpy", "torch"):  # once for all areas
        importlib.import_module(name)
    wanted = Wanted(
        sample=args.sample, seed=args.seed, seconds=args.seconds, at=args.at, accepted=read()
    )
    files = [Path(name).resolve() for name in args.tests]
    out = os.dup(1)
    bad = False
    for area in AREAS:
        if (args.areas and area.name not in args.areas) or not _within(args.at, area):
            continue
        with tempfile.TemporaryDirectory(prefix="m-") as base:

            def say(text: str) -> None:
                os.write(out, f"{text}\n".encode())

            work = partial(try_area, area, wanted, say, Path(base), files)
            result: Result | None = forked(work, float("inf"))
        if result is None or result.broken:
            print(f"{area.name}: {result.broken if result else 'ended'}", flush=True)
            bad = True
            continue
        for entry in result.missing:
            print(f"on the list, and there is no such mutant: {entry}")
        for entry in result.noticed:
            print(f"on the list, and noticed by tests: {entry}")
        told = f"{result.tried} of {result.sites} mutants, {result.survived} survive"
        print(f"{area.name}: {told}, {result.accepted} of them on the list", flush=True)
        bad |= result.survived > result.accepted or bool(result.noticed or result.missing)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
