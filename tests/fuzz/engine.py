"""Feeds damaged inputs to the targets and keeps what broke one."""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target

CORPUS = Path(__file__).parent / "corpus"
"""`corpus/TARGET/NAME`: inputs that once broke a target; replayed by every run and by the suite."""
HANG = 60
"""Seconds after which an input of at most 128 KiB counts as one that hangs its reader."""


class Hang(BaseException):
    """The reader does not come back; no `except Exception` of the reader may catch this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke a target."""

    target: str
    data: bytes
    traceback: str

    @property
    def where(self) -> str:
        """The exception and the line that raised it: the same for the same defect."""
        lines = self.traceback.strip().splitlines()
        files = [line.strip() for line in lines if line.strip().startswith("File ")]
        return f"{self.target}: {lines[-1][:160]} @ {files[-1] if files else '?'}"

    def keep(self, directory: Path) -> Path:
        """Write the input where it can be replayed."""
        folder = directory / self.target
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(self.data).hexdigest()[:12]
        path.write_bytes(self.data)
        return path


def attack(target: Target, data: bytes) -> Finding | None:
    """Try one input."""
    try:
        with _alarm(HANG):
            target.attack(data)
    except (Exception, Hang, SystemExit):
        return Finding(target.name, data, traceback.format_exc())
    return None


@contextlib.contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def corpus(target: Target) -> list[Path]:
    """The past failures of a target."""
    folder = CORPUS / target.name
    return sorted(folder.iterdir()) if folder.is_dir() else []


class Fuzzer:
    """One session: seeds, tries and findings by target."""

    def __init__(self, targets: Sequence[Target], seed: int) -> None:
        self.targets = list(targets)
        self.rng = random.Random(seed)
        self.tries = {target.name: 0 for target in self.targets}
        self.findings: dict[str, Finding] = {}
        """One a defect, by where it was raised."""
        self._seeds = {target.name: target.seeds() for target in self.targets}
        for target in self.targets:
            self._seeds[target.name] += [path.read_bytes() for path in corpus(target)]

    def replay(self) -> None:
        """The good inputs and all past failures, undamaged."""
        for target in self.targets:
            for data in self._seeds[target.name]:
                self._try(target, data)

    def run(self, seconds: float) -> None:
        """Damaged inputs for so long; every target gets its share of the tries."""
        end = time.monotonic() + seconds
        turn = [target for target in self.targets for _ in range(target.weight)]
        while time.monotonic() < end:
            for target in turn:
                self._try(target, mutated(self.rng.choice(self._seeds[target.name]), self.rng))
                if time.monotonic() >= end:
                    return

    def _try(self, target: Target, data: bytes) -> None:
        self.tries[target.name] += 1
        found = attack(target, data)
        if found is not None:
            self.findings.setdefault(found.where, found)
