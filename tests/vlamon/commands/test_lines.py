"""watch, tail, replay and export where there is no terminal."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.commands.training import environment, training, vlamon
from vlamon import Emitter


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that is over, with its journal."""
    folder = tmp_path_factory.mktemp("over")
    with training(folder / "vla.sock", steps=20, run_dir=folder / "run") as process:
        process.wait(120)
    return folder / "run"


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_watch_as_json_shows_everything_once_and_ends_with_the_training(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    watching = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "watch", "--socket", str(path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert watching.stderr is not None
    assert "waiting for" in watching.stderr.readline()
    with training(path, steps=60, monitors=1):
        out, _ = watching.communicate(timeout=300)

    assert watching.returncode == 0
    lines = objects(out)
    steps = [line["step"] for line in lines if line["kind"] == "batch"]
    assert steps == list(range(60))
    kinds = Counter(line["kind"] for line in lines)
    assert len({line["boot"] for line in lines if line["kind"] == "run"}) == 1
    assert kinds["epoch"] == 1
    assert [line["event"] for line in lines if line["kind"] == "event"] == ["note", "end"]


WITHOUT_OTHERS = """
import sys
from vlamon.sources import discovery
discovery.TEMPORARY = sys.argv[1]  # trainings of this machine's user are none of this test
from vlamon.cli import main
main(sys.argv[2:])
"""


def test_watch_without_a_name_waits_for_a_training_to_appear(tmp_path: Path) -> None:
    place = tmp_path / "runtime" / "vlamon" / "one.sock"
    place.parent.parent.mkdir()
    watching = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_OTHERS, str(tmp_path / "vla*.sock"), "watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(XDG_RUNTIME_DIR=str(tmp_path / "runtime")),
    )
    assert watching.stderr is not None
    said = watching.stderr.readline()
    assert "no training was found; waiting for one" in said
    assert str(place.parent) in said
    here = {"XDG_RUNTIME_DIR": str(tmp_path / "runtime")}
    with training(place, steps=20, run_dir=tmp_path / "run", monitors=1, **here):
        out, _ = watching.communicate(timeout=300)

    assert watching.returncode == 0
    assert [line["step"] for line in objects(out) if line["kind"] == "batch"] == list(range(20))


def test_a_journal_is_watched_whole(run: Path) -> None:
    lines = objects(vlamon(["watch", str(run), "--json"]).stdout)

    batches = [line for line in lines if line["kind"] == "batch"]
    assert [line["step"] for line in batches] == list(range(20))
    assert batches[3]["metrics"]["odd"] == "nan"
    assert batches[7]["metrics"]["closs"] == 8 + 0.1 * 7


@pytest.mark.parametrize("command", [["watch"], ["replay", "--speed", "max"]])
def test_a_script_that_only_emits_has_its_explosion_reported_by_the_monitor(
    tmp_path: Path, command: list[str]
) -> None:
    with Emitter(None, run="plain", run_dir=tmp_path, weights={"closs": 1.0}) as emitter:
        for step in range(200):
            emitter.log(step, closs=95.19 if step == 150 else 4.0 + 0.01 * (step % 7))

    lines = objects(vlamon([*command, str(tmp_path), "--json"]).stdout)

    (seen,) = [line for line in lines if line["kind"] == "event" and line["event"] == "explode"]
    assert seen["step"] == 150
    assert seen["text"].startswith("closs 95.19: 23.6× the median")
    assert seen["data"]["by"] == "monitor"


def test_a_replay_at_full_speed_has_the_same_rows(run: Path) -> None:
    done = vlamon(["replay", str(run / "run.vlaj"), "--speed", "max", "--json"])

    assert [o["step"] for o in objects(done.stdout) if o["kind"] == "batch"] == list(range(20))


def test_an_export_is_exact(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = vlamon(["export", str(run), "-o", str(out)])

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["closs"]) for row in rows] == [8 + 0.1 * step for step in range(20)]
    assert rows[3]["odd"] == "nan"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_an_export_as_json_lines_is_the_watch(run: Path) -> None:
    exported = vlamon(["export", str(run), "--as", "jsonl"]).stdout
    watched = vlamon(["watch", str(run), "--json"]).stdout

    assert exported == watched


def test_plain_lines_are_for_people(run: Path) -> None:
    lines = vlamon(["watch", str(run)]).stdout.splitlines()

    assert lines[0].startswith("# run demo")
    assert sum("  step " in line for line in lines) == 20
    assert any("half way" in line for line in lines)


RUN = Path(__file__).parents[2] / "fixtures" / "run"


def test_a_directory_stands_for_the_logs_of_its_run(tmp_path: Path) -> None:
    names = ("log_train.txt", "output.log", "log_eval_ind.txt", "log_eval_ood.txt")
    for name in (*names, "guard.jsonl", "run.json"):
        (tmp_path / name).write_bytes((RUN / name).read_bytes())

    of_directory = vlamon(["tail", str(tmp_path), "--once", "--json"])
    of_files = vlamon(["tail", *(str(tmp_path / name) for name in names), "--once", "--json"])

    assert (of_directory.returncode, of_directory.stdout) == (0, of_files.stdout)
    assert {line.get("split") for line in objects(of_directory.stdout)} >= {"train", "val_ood"}


def test_a_log_that_is_still_to_come_is_followed_when_its_directory_was_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "output.log").write_bytes((RUN / "output.log").read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "tail", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["kind"] != "interval":
        pass
    (tmp_path / "log_train.txt").write_bytes((RUN / "log_train.txt").read_bytes())
    while json.loads(process.stdout.readline())["kind"] != "epoch":
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)

    assert "waiting for" not in err  # a run that is there is not awaited


def test_a_directory_without_logs_says_what_was_looked_for(run: Path, tmp_path: Path) -> None:
    empty, journal_alone = vlamon(["tail", str(tmp_path)]), vlamon(["tail", str(run)])

    assert (empty.returncode, journal_alone.returncode) == (2, 2)
    assert "looked for log_train.txt, output.log" in empty.stderr
    assert f"vlamon watch {run}" in journal_alone.stderr


def test_each_kind_of_file_says_how_it_is_opened(run: Path, tmp_path: Path) -> None:
    log = tmp_path / "log_train.txt"
    log.write_text('{"train_closs": 8.5, "epoch": 0}\n')
    journal = run / "run.vlaj"

    for arguments, sentence in (
        (["tail", str(journal), "--once"], f"vlamon watch {journal}"),
        (["watch", str(log)], f"vlamon tail {log}"),
        (["replay", str(log)], f"vlamon tail {log}"),
        (["watch", "--socket", str(journal)], f"vlamon watch {journal}"),
        (["status", "--socket", str(log)], "is not a socket"),
    ):
        done = vlamon(arguments)
        assert done.returncode == 2
        assert sentence in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["watch", "no-such.vlaj"],
        ["watch", "--socket", "a", "--ssh", "b:c"],
        ["watch", "--auto-rollback", "--read-only", "--socket", "a"],
        ["replay", "no-such.vlaj"],
        ["replay", ".", "--speed", "-1"],
        ["tail"],
        ["tail", "no-such.txt", "--once"],
        ["tail", "x", "--format", "no-such-format"],
        ["export", "no-such.vlaj"],
        ["export", "-"],
        ["export", "run.vlaj", "-o", "run.xlsx"],
        ["analyze", "x", "--weight", "closs=nan"],
        ["analyze", "x", "--clip-grad", "nan"],
        ["frobnicate"],
        ["--frobnicate"],
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str]) -> None:
    done = vlamon(arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("vlamon")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_leaves_early_is_no_error(run: Path) -> None:
    command = f"{sys.executable} -m vlamon watch {run} --json | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )

    assert done.returncode == 0
    assert done.stderr in ("", f"vlamon: following {run}/run.vlaj\n")
    assert json.loads(done.stdout)["kind"] == "run"


def test_ctrl_c_ends_quietly(tmp_path: Path) -> None:
    log = tmp_path / "log_train.txt"
    log.write_text('{"train_closs": 8.5, "epoch": 0}\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "tail", str(log), "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    while "closs" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)

    assert process.returncode == 130
    assert "Traceback" not in err
