"""`python -m tests.soak [--minutes N] [--seed S]`: everything at once, an hour by default.

Exit code 1 with a sentence for each promise that did not hold.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import Plan, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # leave nothing
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "big")
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        return _session(args.keep, args.minutes, seed)
    with tempfile.TemporaryDirectory(prefix="vlamon-soak-") as folder:
        return _session(Path(folder), args.minutes, seed)


def _session(folder: Path, minutes: float, seed: int) -> int:
    for name in ("VLAMON_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        os.environ[name] = str(folder / "home")
    outcome = soak(folder, Plan(seconds=60 * minutes, seed=seed))
    print(f"seed {seed}: {outcome.summary}")
    for sentence in outcome.broken:
        print(f"broken: {sentence}")
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
