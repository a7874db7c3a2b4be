"""`vlamon diff` says where two runs part, and which term first."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vlamon.cli import run

SAMPLE = Path(__file__).parents[2] / "fixtures" / "metriclogger" / "sample"


def diff(capfdbinary: pytest.CaptureFixture[bytes], *args: str | Path) -> tuple[int, str, str]:
    code = run(["diff", *map(str, args)])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def log(path: Path, rows: list[dict[str, float]]) -> Path:
    path.write_text("".join(json.dumps({"step": i, **row}) + "\n" for i, row in enumerate(rows)))
    return path


def rows(count: int = 50) -> list[dict[str, float]]:
    return [{"closs": 8.0 - 0.01 * i, "loss_ct": 0.2, "z_loss": 50.0} for i in range(count)]


def test_the_first_step_and_the_first_term_are_named(capfdbinary: Any, tmp_path: Path) -> None:
    one, other = rows(), rows()
    for i in range(20, 50):
        other[i]["loss_ct"] = 0.3
    for i in range(21, 50):
        other[i]["closs"] += 0.5
    files = log(tmp_path / "a.jsonl", one), log(tmp_path / "b.jsonl", other)
    code, out, _ = diff(capfdbinary, *files, "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["first"]["metric"], found["first"]["step"]) == ("loss_ct", 20)
    assert (found["first"]["a"], found["first"]["b"]) == (0.2, 0.3)
    parted = {p["metric"]: p["step"] for p in found["metrics"]}
    assert parted == {"loss_ct": 20, "closs": 21, "z_loss": None}
    _, text, _ = diff(capfdbinary, *files)
    assert "The runs diverge at step 20, loss_ct first" in text


def test_two_logs_of_one_run_are_the_same(capfdbinary: Any) -> None:
    code, out, _ = diff(capfdbinary, SAMPLE / "output.log", SAMPLE / "output.log")
    assert code == 0
    assert "Identical" in out


def test_clocks_alone_do_not_part_two_runs(capfdbinary: Any, tmp_path: Path) -> None:
    one = [{**row, "time": 1.0} for row in rows()]
    other = [{**row, "time": 1.1} for row in rows()]
    files = log(tmp_path / "a.jsonl", one), log(tmp_path / "b.jsonl", other)
    assert diff(capfdbinary, *files)[0] == 0


def test_a_tolerance_lets_small_differences_pass(capfdbinary: Any, tmp_path: Path) -> None:
    other = rows()
    other[7]["closs"] *= 1.001
    files = log(tmp_path / "a.jsonl", rows()), log(tmp_path / "b.jsonl", other)
    assert diff(capfdbinary, *files)[0] == 1
    assert diff(capfdbinary, *files, "--tolerance", "0.01")[0] == 0


def test_the_same_nan_is_no_difference_and_one_alone_is(capfdbinary: Any, tmp_path: Path) -> None:
    broken = rows()
    broken[9]["closs"] = float("nan")
    files = log(tmp_path / "a.jsonl", broken), log(tmp_path / "b.jsonl", broken)
    assert diff(capfdbinary, *files)[0] == 0
    _, out, _ = diff(capfdbinary, files[0], log(tmp_path / "c.jsonl", rows()), "--json")
    assert json.loads(out)["first"]["a"] == "nan"


def test_a_changed_batch_is_found_in_its_interval(capfdbinary: Any, tmp_path: Path) -> None:
    lines = (SAMPLE / "output.log").read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if "Epoch: [1]  [100/260]" in line)
    lines[place] = re.sub(
        r"closs: (\S+) \(\S+\)",
        lambda found: f"closs: {float(found[1]) + 0.5:.4f} ({float(found[1]) + 0.5:.4f})",
        lines[place],
    )
    other = tmp_path / "output.log"
    other.write_text("".join(lines))
    _, out, _ = diff(capfdbinary, SAMPLE / "output.log", other, "--json")
    found = json.loads(out)
    assert found["first"]["metric"] == "closs"
    assert found["first"]["where"] == "epoch 1, iterations 91–100"
    assert [p["metric"] for p in found["metrics"] if p["differs"]] == ["closs"]


def test_runs_without_a_common_step_say_so(capfdbinary: Any, tmp_path: Path) -> None:
    one = tmp_path / "a.jsonl"
    one.write_text('{"step": 1, "loss": 1.0}\n')
    other = tmp_path / "b.jsonl"
    other.write_text('{"step": 2, "loss": 1.0}\n')
    code, out, _ = diff(capfdbinary, one, other)
    assert code == 2
    assert "no metric with a common step" in out
    code, out, _ = diff(capfdbinary, one, other, "--json")
    assert code == 2
    assert (json.loads(out)["same"], json.loads(out)["first"]) == (False, None)


def test_a_directory_of_a_run_will_do(capfdbinary: Any, tmp_path: Path) -> None:
    assert diff(capfdbinary, SAMPLE, SAMPLE)[0] == 0
    code, _, err = diff(capfdbinary, tmp_path, SAMPLE)
    assert code == 2
    assert "no training log" in err


def test_a_weight_that_one_run_does_not_know_is_said_to_be_unknown(
    capfdbinary: Any, tmp_path: Path
) -> None:
    other = log(tmp_path / "b.jsonl", [{"loss": 1.0}] * 20)

    _, text, _ = diff(capfdbinary, SAMPLE / "output.log", other)

    assert "Weight of loss_ct: 10 in A, not known in B\n" in text
