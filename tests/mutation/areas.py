"""What is mutated, and which tests ought to notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Area:
    """Code and its tests, as paths below `top`."""

    name: str
    code: str
    tests: tuple[str, ...]
    top: Path = TOP

    def modules(self) -> list[Path]:
        """The modules that have mutants."""
        found = sorted((self.top / self.code).rglob("*.py"))
        return [path for path in found if not path.name.startswith("__")]

    def test_files(self) -> list[Path]:
        """The files of its tests, without those that only start processes, which see no mutant."""
        found: dict[Path, None] = {}
        for name in self.tests:
            path = self.top / name
            each = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
            found |= dict.fromkeys(
                file for file in each if str(file.relative_to(self.top)) not in PASSED_OVER
            )
        return list(found)

    def dotted(self, module: Path) -> str:
        """What a module is imported as."""
        return ".".join(module.relative_to(self.top).with_suffix("").parts)


AREAS = (
    Area(
        "protocol",
        "vlamon/protocol",
        (
            "tests/vlamon/protocol",
            "tests/vlamon/emitter/test_journal.py",
            "tests/vlamon/emitter/test_blocklog.py",
            "tests/vlamon/emitter/test_commands.py",
            "tests/vlamon/sources/test_replay.py",
        ),
    ),
    Area(
        "detect",
        "vlamon/detect",
        (
            "tests/vlamon/detect",
            "tests/vlamon/analysis",
            "tests/vlamon/sources/test_alerts.py",
            "tests/vlamon/sources/test_one_verdict.py",
            "tests/vlamon/guard/test_verdicts.py",
        ),
    ),
    Area("guard", "vlamon/guard", ("tests/vlamon/guard",)),
    Area(
        "objectives",
        "trainer/objectives",
        ("tests/trainer/objectives", "tests/trainer/test_totals.py"),
    ),
)
PASSED_OVER = (
    "tests/trainer/objectives/test_energy_ranks.py",
    "tests/vlamon/guard/checkpoint/test_sharded.py",
    "tests/vlamon/guard/test_gpu.py",
    "tests/vlamon/guard/test_ranks.py",
    "tests/vlamon/guard/test_ranks_gate.py",
    "tests/vlamon/guard/test_slow.py",
)
"""Test files that start processes, which see no mutant, or take minutes."""
