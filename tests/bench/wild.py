"""Strangers' logs, read twice: by vlamon, and by one plain expression a file; where they differ.

`VLAMON_WILD=DIR python -m tests.bench.wild` prints, for each file that the second reading knows,
how many rows with a loss it has, how many of them vlamon reads otherwise, and what `analyze` says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.vlamon.sources.formats.second_reading import Seen, second_reading
from vlamon.records import BatchBlock, Column, EpochBlock, EpochRow, IntervalBlock, Record
from vlamon.sources import SourceError
from vlamon.sources.read_all import read_log

WILD = Path(os.environ.get("VLAMON_WILD", "/nonexistent"))
VERDICTS = {0: "healthy", 10: "warnings", 20: "EXPLOSION", 30: "not judged", 2: "error"}


def files() -> list[Path]:
    """The logs of the folder, without its description."""
    return sorted(p for p in WILD.glob("*") if p.suffix != ".md") if WILD.is_dir() else []


@dataclass(frozen=True, slots=True)
class Compared:
    """One file, read twice."""

    rows: int
    """Rows with a loss that the second reading found."""
    differences: tuple[str, ...]
    """Each row that the two readings disagree about."""


def compare(path: Path) -> Compared | None:
    """Both readings of a file, row by row; None where there is no second one."""
    expected = second_reading(path.stem, path.read_bytes())
    if expected is None:
        return None
    try:
        read = list(_with_losses(read_log(str(path)).records))
    except SourceError:
        read = []
    found: list[str] = []
    for split in dict.fromkeys(row.split for row in (*expected, *read)):
        theirs = [row for row in expected if row.split == split]
        ours = [row for row in read if row.split == split]
        if len(theirs) != len(ours):
            found.append(f"{split or 'training'}: {len(theirs)} rows, vlamon has {len(ours)}")
        for seen, row in zip(theirs, ours, strict=False):
            found += [
                f"{split or 'training'} at {seen.step or seen.epoch}: {d}"
                for d in _differ(seen, row)
            ]
    return Compared(len(expected), tuple(found))


def _differ(seen: Seen, read: Seen) -> Iterator[str]:
    if seen.step is not None and seen.step != read.step:
        yield f"step {seen.step}, vlamon has {read.step}"
    if seen.epoch is not None and seen.epoch != read.epoch:
        yield f"epoch {seen.epoch}, vlamon has {read.epoch}"
    for name, value in seen.values.items():
        other = read.values.get(name)
        if other is None or not (other == value or abs(other - value) <= seen.within):
            yield f"{name} {value}, vlamon has {other}"
    for name in read.values.keys() - seen.values.keys():
        if "loss" in name.lower():
            yield f"{name} is in vlamon's reading alone"


def _with_losses(records: Iterable[Record]) -> Iterator[Seen]:
    """Every row of vlamon's that holds a loss."""
    for row in _rows(records):
        if any("loss" in name.lower() for name in row.values):
            yield row


def _rows(records: Iterable[Record]) -> Iterator[Seen]:
    for record in records:
        if isinstance(record, EpochRow):
            yield Seen(dict(record.metrics), record.step, record.epoch, record.split)
        elif isinstance(record, BatchBlock | IntervalBlock | EpochBlock):
            for row in range(record.rows):
                step = None if record.step is None else int(record.step[row])
                columns = record.metrics if isinstance(record, IntervalBlock) else record.columns
                values = {n: float(c.values[row]) for n, c in columns.items() if _has(c, row)}
                split = record.split if isinstance(record, EpochBlock) else ""
                yield Seen(values, step, float(record.epoch[row]), split)


def _has(column: Column, row: int) -> bool:
    return column.present is None or bool(column.present[row])


def verdict(path: Path) -> str:
    """What `vlamon analyze` says first, and its exit code in a word."""
    command = [sys.executable, "-m", "vlamon", "analyze", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stdout or done.stderr).strip().splitlines()
    headline = next(
        (line for line in said if re.search(r"[A-Z]{5}", line)), said[0] if said else ""
    )
    return f"{VERDICTS.get(done.returncode, str(done.returncode))}: {headline.strip()[:90]}"


def main() -> None:
    """Print the table, and every difference below it."""
    if not files():
        print("VLAMON_WILD names no folder of logs")
        return
    differences: list[str] = []
    total = 0
    print("| file | rows with a loss | read otherwise | `analyze` |")
    print("|---|---|---|---|")
    for path in files():
        compared = compare(path)
        rows, wrong = ("", "") if compared is None else (compared.rows, len(compared.differences))
        print(f"| {path.name} | {rows} | {wrong} | {verdict(path)} |", flush=True)
        if compared is not None:
            total += compared.rows
            differences += [f"{path.name}: {said}" for said in compared.differences]
    print(f"\n{total:,} rows, {len(differences)} differences")
    for said in differences[:100]:
        print(f"- {said}")


if __name__ == "__main__":
    main()
