"""`vlamon analyze` writes the report that people write by hand, and exits with a verdict."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vlamon.cli import run
from vlamon.report.text import columns

FIXTURES = Path(__file__).parents[2] / "fixtures"
TWELVE = str(FIXTURES / "logs" / "log_train.txt")
SAMPLE = FIXTURES / "metriclogger" / "sample"
RAGGED = FIXTURES / "metriclogger" / "sample_ragged_ranks"


def analyze(capfdbinary: pytest.CaptureFixture[bytes], *args: str | Path) -> tuple[int, str, str]:
    code = run(["analyze", *map(str, args)])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def as_json(capfdbinary: pytest.CaptureFixture[bytes], *args: str | Path) -> dict[str, Any]:
    _, out, _ = analyze(capfdbinary, *args, "--format", "json")
    whole: dict[str, Any] = json.loads(out)
    return whole


def ids(report: dict[str, Any]) -> set[str]:
    return {diagnosis["id"] for diagnosis in report["diagnoses"]}


def healthy_log(path: Path) -> Path:
    lines = [
        {
            "train_lr": 5e-6 * (1 - epoch / 20),
            "train_closs": 4 + 5 * 0.6**epoch,
            "train_loss_ct": 0.1 + 0.2 * 0.6**epoch,
            "train_grad_norm": 2.0,
            "epoch": epoch,
        }
        for epoch in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_both_explosions_of_the_twelve_epochs_are_named(capfdbinary: Any) -> None:
    report = as_json(capfdbinary, TWELVE)
    assert {"epochs", "anomalies", "contributions", "convergence", "diagnoses"} <= set(report)
    found = [a for a in report["anomalies"] if a["metric"] == "closs"]
    assert [(a["value"], a["level"], a["where"]) for a in found] == [
        (95.19, "explode", "epoch 7"),
        (37.74, "explode", "epoch 10"),
    ]
    for diagnosis in report["diagnoses"]:
        assert {"id", "severity", "evidence", "advice"} <= set(diagnosis)


def test_it_finds_what_the_eye_finds_and_what_it_misses(capfdbinary: Any) -> None:
    report = as_json(capfdbinary, TWELVE)
    assert ids(report) >= {
        "closs-explosion",
        "loss-ct-steady-during-spike",
        "not-converged",
        "alternating-levels",
        "not-emitting-action-tokens",
    }
    statuses = {line["epoch"]: line["status"] for line in report["epochs"]}
    assert (statuses[7], statuses[8], statuses[10]) == ("explosion", "recovered", "explosion")


def test_a_spike_that_averages_hide_is_found_in_the_batch_log(capfdbinary: Any) -> None:
    report = as_json(capfdbinary, SAMPLE / "log_train.txt", SAMPLE / "output.log")
    (spike,) = [a for a in report["anomalies"] if a["metric"] == "closs"]
    assert (spike["epoch"], spike["first"], spike["last"]) == (2, 181, 190)
    assert report["exit_code"] == 20


def test_epoch_lines_mixed_across_ranks_are_no_explosion(capfdbinary: Any) -> None:
    report = as_json(capfdbinary, RAGGED / "log_train.txt", RAGGED / "output.log")
    assert report["anomalies"] == []
    assert {"epoch-line-disagrees-with-batches", "meter-order-changed"} <= ids(report)
    assert report["exit_code"] == 10


def test_a_meter_order_that_holds_is_not_reported(capfdbinary: Any) -> None:
    report = as_json(capfdbinary, SAMPLE / "log_train.txt", SAMPLE / "output.log")
    assert not ids(report) & {"epoch-line-disagrees-with-batches", "meter-order-changed"}


@pytest.mark.parametrize(
    ("name", "begin"),
    [("r.html", "<!doctype html>"), ("r.md", "# "), ("r.json", "{"), ("r.txt", "12 rows, ")],
)
def test_the_name_of_the_output_says_how_it_is_written(
    capfdbinary: Any, tmp_path: Path, name: str, begin: str
) -> None:
    analyze(capfdbinary, TWELVE, "-o", tmp_path / name)
    assert (tmp_path / name).read_text().startswith(begin)


@pytest.mark.parametrize("layout", ["text", "md", "html", "json"])
def test_exit_codes_tell_scripts_how_it_went(capfdbinary: Any, tmp_path: Path, layout: str) -> None:
    fine = healthy_log(tmp_path / "log_train.txt")
    assert analyze(capfdbinary, fine, "--format", layout)[0] == 0
    ragged = (RAGGED / "log_train.txt", RAGGED / "output.log")
    assert analyze(capfdbinary, *ragged, "--format", layout)[0] == 10
    assert analyze(capfdbinary, TWELVE, "--format", layout)[0] == 20


def test_shares_take_the_weights_that_are_given(capfdbinary: Any, tmp_path: Path) -> None:
    log = tmp_path / "log_train.txt"
    line = '{"train_closs": 8.5, "train_loss_ct": 0.13, "train_z_loss": 40, "epoch": %d}\n'
    log.write_text("".join(line % epoch for epoch in range(4)))
    report = as_json(capfdbinary, log)
    shares = {term["metric"]: term["share"] for term in report["contributions"]}
    assert shares == pytest.approx({"closs": 0.867, "loss_ct": 0.1326, "z_loss": 4.1e-5}, rel=0.01)
    report = as_json(capfdbinary, log, "--weight", "loss_ct=100")
    shares = {term["metric"]: term["share"] for term in report["contributions"]}
    assert shares["loss_ct"] == pytest.approx(13 / 21.5, rel=0.01)


def test_the_vocabulary_decides_what_a_guess_is(capfdbinary: Any, tmp_path: Path) -> None:
    log = tmp_path / "log_train.txt"
    log.write_text("".join(f'{{"train_closs": 9.0, "epoch": {e}}}\n' for e in range(4)))
    assert "near-random-guess" not in ids(as_json(capfdbinary, log))
    assert "near-random-guess" in ids(as_json(capfdbinary, log, "--vocab", "8192"))


def test_the_text_report_fits_eighty_columns(capfdbinary: Any) -> None:
    for lang in ("en", "zh"):
        for files in ((TWELVE,), (SAMPLE / "log_train.txt", SAMPLE / "output.log")):
            _, out, _ = analyze(capfdbinary, *files, "--lang", lang)
            assert max(columns(line) for line in out.splitlines()) <= 80


def test_it_speaks_chinese(capfdbinary: Any) -> None:
    _, out, _ = analyze(capfdbinary, TWELVE, "--lang", "zh")
    assert "爆炸" in out
    assert "95.19" in out


class Page(HTMLParser):
    """Collects what a page would fetch, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.curves = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.curves += tag == "polyline"
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.curves += tag == "polyline"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_by_itself(capfdbinary: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    code, out, _ = analyze(capfdbinary, TWELVE, "--format", "html", "-o", page)
    assert (code, out) == (20, "")
    parser = Page()
    parser.feed(page.read_text())
    assert parser.links == []
    assert parser.open == []
    assert parser.curves >= 2
    assert "<script" not in page.read_text()


def test_names_from_a_log_cannot_break_the_page(capfdbinary: Any, tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    rows = [{"step": i, "<b>loss</b>": 1.0 + (i == 30) * 90} for i in range(60)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, out, _ = analyze(capfdbinary, log, "--format", "html")
    assert "<b>loss" not in out


def test_non_finite_values_stay_json(capfdbinary: Any, tmp_path: Path) -> None:
    log = tmp_path / "log_train.txt"
    log.write_text('{"train_closs": 3.0, "epoch": 0}\n{"train_closs": NaN, "epoch": 1}\n')
    report = as_json(capfdbinary, log)
    assert report["epochs"][1]["metrics"]["closs"] == "nan"
    assert "non-finite" in ids(report)
    assert report["exit_code"] == 20


@pytest.mark.parametrize("name", sorted(path.name for path in (FIXTURES / "logs").iterdir()))
def test_every_format_can_be_analyzed(capfdbinary: Any, name: str) -> None:
    code, out, _ = analyze(capfdbinary, FIXTURES / "logs" / name)
    assert code in (0, 10, 20)
    assert out


def test_mistakes_are_one_sentence(capfdbinary: Any, tmp_path: Path) -> None:
    for args, said in (
        ((tmp_path / "none.txt",), "does not exist"),
        ((TWELVE, "--weight", "loss_ct"), "NAME=NUMBER"),
        ((TWELVE, "--weight", "nothing=1"), "no such metric"),
        ((TWELVE, "-o", tmp_path / "no" / "where.txt"), "cannot be written"),
    ):
        code, out, err = analyze(capfdbinary, *args)
        assert (code, out) == (2, "")
        assert said in err
        assert "Traceback" not in err


@pytest.mark.parametrize(("text", "said"), [("Dear diary,\n", "Dear diary,"), ("", "is empty")])
def test_a_file_without_a_known_line_is_not_judged(
    capfdbinary: Any, tmp_path: Path, text: str, said: str
) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text(text)
    code, out, err = analyze(capfdbinary, diary)
    assert (code, out) == (30, "")
    assert err.startswith("vlamon: NOT JUDGED · ")
    assert said in err


def test_lines_that_were_not_understood_are_counted_and_shown(capfdbinary: Any) -> None:
    _, out, err = analyze(capfdbinary, RAGGED / "output.log", "--unknown")
    assert "lines not understood: 8" in out
    assert "output.log:8: W1124" in err


def test_a_thousand_epochs_and_a_hundred_spikes_stay_readable(
    capfdbinary: Any, tmp_path: Path
) -> None:
    log = tmp_path / "log_train.txt"
    values = [95.0 if epoch % 11 == 10 else 8.5 for epoch in range(1100)]
    log.write_text("".join(f'{{"train_closs": {v}, "epoch": {e}}}\n' for e, v in enumerate(values)))
    code, out, _ = analyze(capfdbinary, log)
    assert code == 20
    assert len(out.splitlines()) < 250
    assert "1030 epochs, 60 anomalies" in out
    assert len(as_json(capfdbinary, log)["anomalies"]) == 100


def test_an_output_log_alone_shows_that_its_averages_are_mixed(capfdbinary: Any) -> None:
    report = as_json(capfdbinary, RAGGED / "output.log")
    assert "epoch-line-disagrees-with-batches" in ids(report)
    assert report["epochs"][0]["metrics"]["closs"] == 10.9293
    clean = as_json(capfdbinary, SAMPLE / "output.log")
    assert "epoch-line-disagrees-with-batches" not in ids(clean)


def epochs_log(path: Path, values: list[float]) -> Path:
    path.write_text(
        "".join(f'{{"train_closs": {v}, "epoch": {e}}}\n' for e, v in enumerate(values))
    )
    return path


def test_a_run_that_stays_up_does_not_recover(capfdbinary: Any, tmp_path: Path) -> None:
    log = epochs_log(tmp_path / "log_train.txt", [3] * 5 + [30, 31, 32, 33, 34])
    report = as_json(capfdbinary, log)
    assert [line["status"] for line in report["epochs"]][4:] == ["steady"] + ["explosion"] * 5
    (spike,) = report["anomalies"]
    assert (spike["onset"], spike["onset_step"], spike["onset_epoch"]) == ("epoch 5", 5, 5.0)
    assert (spike["where"], spike["value"], spike["usual"]) == ("epoch 9", 34.0, 3.0)
    assert (spike["length"], spike["lasting"]) == (5, True)
    assert "converged" not in ids(report)
    _, out, _ = analyze(capfdbinary, log)
    assert "closs exploded: from epoch 5, worst epoch 9: 34" in out


def test_a_run_that_comes_back_recovers_once(capfdbinary: Any, tmp_path: Path) -> None:
    log = epochs_log(tmp_path / "log_train.txt", [3.0] * 5 + [30, 31, 29] + [3.0] * 5)
    statuses = [line["status"] for line in as_json(capfdbinary, log)["epochs"]]
    assert statuses[5:10] == ["explosion"] * 3 + ["recovered", "steady"]


def test_a_file_that_is_named_twice_counts_once(capfdbinary: Any, tmp_path: Path) -> None:
    log = epochs_log(tmp_path / "log_train.txt", [3] * 5 + [30] + [3] * 5)
    (tmp_path / "link.txt").symlink_to(log)
    report = as_json(capfdbinary, log, tmp_path, tmp_path / "link.txt", log)
    assert len(report["anomalies"]) == 1
    assert [file["path"] for file in report["files"]] == [str(log)]


def test_a_terminal_shows_the_verdict_again_below_a_report_that_scrolls() -> None:
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "vlamon", "analyze", TWELVE]
    done = subprocess.Popen(words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # Linux: the other end is closed
        while piece := os.read(ours, 1 << 16):
            said += piece
    os.close(ours)

    assert done.wait(60) == 20
    lines = said.decode().splitlines()
    assert lines[-1].startswith("EXPLOSION · ")
    assert sum(shown.startswith("EXPLOSION · ") for shown in lines) == 2
