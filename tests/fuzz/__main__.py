"""`python -m tests.fuzz [--seconds N] [--seed S] [TARGET …]`: hostile bytes for every reader.

Exit code 1 with the inputs kept under `--keep` where something broke. To make one a regression
test, copy it to tests/fuzz/corpus/TARGET/.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
from pathlib import Path

from tests.fuzz.engine import Fuzzer
from tests.fuzz.targets import BY_NAME, FIXTURES, TARGETS

MEMORY = 8 << 30
"""Bytes of address space: an input that makes a reader grow beyond ends in a MemoryError."""


def differential(rng: random.Random) -> list[str]:
    """Ways of telling that changed what a fixture says."""
    from tests.fuzz.differential import frames_cut, journal_cut, retold

    broken = []
    for path in [
        *sorted((FIXTURES / "logs").iterdir()),
        *sorted((FIXTURES / "run").glob("*.txt")),
        FIXTURES / "run" / "output.log",
    ]:
        if "tfevents" in path.name:
            continue
        way = retold(path.read_bytes(), path.name, rng)
        if way:
            broken.append(f"{path.name} told by {way} is other numbers")
    for name, same in (("frames", frames_cut), ("journal", journal_cut)):
        broken += [
            f"{name} cut is other {name}" for seed in BY_NAME[name].seeds() if not same(seed, rng)
        ]
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(BY_NAME))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="repeat a session")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "vlamon-fuzz")
    args = parser.parse_args()
    unknown = [name for name in args.targets if name not in BY_NAME]
    if unknown:
        parser.error(f"no target is called {unknown[0]}; there are {', '.join(BY_NAME)}")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "big")
    with tempfile.TemporaryDirectory(prefix="vlamon-fuzz-home-") as home:
        for name in ("VLAMON_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[name] = home
        return _session(args, seed)


def _session(args: argparse.Namespace, seed: int) -> int:
    fuzzer = Fuzzer([BY_NAME[name] for name in args.targets] or TARGETS, seed)
    fuzzer.replay()
    broken = [] if args.targets else differential(fuzzer.rng)
    fuzzer.run(args.seconds)
    tries = sum(fuzzer.tries.values())
    print(f"seed {seed}: {tries} inputs, {len(fuzzer.findings)} defects, {len(broken)} differences")
    print("  " + ", ".join(f"{name} {count}" for name, count in fuzzer.tries.items()))
    for difference in broken:
        print(difference)
    for found in fuzzer.findings.values():
        print(f"{found.keep(args.keep)}: {found.where}\n{found.traceback}")
    return 1 if fuzzer.findings or broken else 0


if __name__ == "__main__":
    sys.exit(main())
