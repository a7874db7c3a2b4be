"""`analyze` on directories: which logs were taken, files that are no logs, and a table of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlamon.cli import run


def analyze(capfdbinary: pytest.CaptureFixture[bytes], *args: str | Path) -> tuple[int, str, str]:
    code = run(["analyze", *map(str, args)])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def log(path: Path, *, broken_at: int | None = None, end: str = "", rows: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    losses = [2 + 2 * 0.9**step for step in range(rows)]
    if broken_at is not None:
        losses[broken_at : broken_at + 6] = [90.0] * 6
    lines = [f"step: {10 * (n + 1)}, loss: {loss:.4f}\n" for n, loss in enumerate(losses)]
    path.write_text("".join(lines) + end)
    return path


def test_the_first_line_says_what_was_found(capfdbinary: Any, tmp_path: Path) -> None:
    _, out, _ = analyze(capfdbinary, log(tmp_path / "train.log"))
    first = out.splitlines()[0]
    assert first == "60 rows, steps 10–600, loss 4.000 → 2.004 (best 2.004 at 600), nanogpt"
    _, out, _ = analyze(capfdbinary, tmp_path / "train.log", "--format", "json")
    assert json.loads(out)["found"]["rows"] == 60


def test_a_directory_says_which_log_was_taken(capfdbinary: Any, tmp_path: Path) -> None:
    log(tmp_path / "slurm-7.out")
    (tmp_path / "slurm-7.err").write_text("a warning that is not a log\n")
    code, _, err = analyze(capfdbinary, tmp_path)
    assert code in (0, 10)
    assert "reading slurm-7.out, slurm-7.err (output of a job)" in err
    assert "slurm-7.err" in err.partition("left out: ")[2]


def test_stdout_and_stderr_with_the_same_rows_count_once(capfdbinary: Any, tmp_path: Path) -> None:
    log(tmp_path / "a.out")
    log(tmp_path / "a.err", rows=61)
    _, out, _ = analyze(capfdbinary, tmp_path, "--format", "json")
    assert json.loads(out)["found"]["rows"] == 61


def test_several_directories_are_compared_in_a_table(capfdbinary: Any, tmp_path: Path) -> None:
    log(tmp_path / "good" / "train.log")
    log(tmp_path / "bad" / "train.log", broken_at=40)
    log(
        tmp_path / "killed" / "train.log",
        end="slurmstepd: error: *** JOB 7 CANCELLED AT 2026 ***\n",
    )
    runs = [tmp_path / name for name in ("good", "bad", "killed")]
    code, out, _ = analyze(capfdbinary, *runs)
    assert code == 20
    table = {row.split()[0].rpartition("/")[2]: row for row in out.splitlines() if "–600" in row}
    assert "EXPLOSION" in table["bad"]
    assert "killed" in table["killed"].removeprefix(f"  {runs[2]}")
    assert "EXPLOSION" not in table["good"]
    _, out, _ = analyze(capfdbinary, *runs, "--format", "json")
    told = json.loads(out)
    assert told["exit_code"] == 20
    assert told["runs"][str(runs[0])]["found"]["best"] < 2.01


@pytest.mark.parametrize(("layout", "mark"), [("md", "| run |"), ("html", "<th")])
def test_the_table_is_set_like_any_report(
    capfdbinary: Any, tmp_path: Path, layout: str, mark: str
) -> None:
    runs = [log(tmp_path / name / "train.log").parent for name in ("a", "b")]
    _, out, _ = analyze(capfdbinary, *runs, "--format", layout)
    assert mark in out


def test_a_directory_without_a_log_is_left_out_of_the_table(
    capfdbinary: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    good = log(tmp_path / "good" / "train.log").parent
    code, out, err = analyze(capfdbinary, tmp_path / "empty", good)
    assert code in (0, 10)
    assert "left out" in err
    assert "good" in out


def test_tail_reads_what_is_a_log_and_names_what_is_not(capfdbinary: Any, tmp_path: Path) -> None:
    log(tmp_path / "slurm-7.out")
    (tmp_path / "slurm-7.err").write_text("a warning that is not a log\n")
    assert run(["tail", "--once", "--plain", str(tmp_path)]) == 0
    out, err = capfdbinary.readouterr()
    assert out.count(b"loss") >= 60
    assert b"left out" in err
