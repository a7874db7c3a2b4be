"""status and ctl against a real training: what they say and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vlamon.commands.training import training, vlamon


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("run") / "vla.sock"
    with training(path):
        yield path


def ctl(socket: Path, *order: str) -> tuple[int, str, str]:
    done = vlamon(["ctl", "--socket", str(socket), *order])
    return done.returncode, done.stdout, done.stderr


def test_status_is_a_line(socket: Path) -> None:
    done = vlamon(["status", "--socket", str(socket), "--timeout", "60"])

    assert done.returncode == 0
    assert done.stdout.startswith("demo  training  step ")
    assert "/100,000" in done.stdout
    assert "closs" in done.stdout
    assert done.stdout.count("\n") == 1


def test_status_as_json_has_run_and_newest_values(socket: Path) -> None:
    done = vlamon(["status", "--socket", str(socket), "--json", "--timeout", "60"])

    line = json.loads(done.stdout)
    assert line["kind"] == "status"
    assert line["state"] == "training"
    assert line["run"]["name"] == "demo"
    assert line["metrics"]["loss_ct"] == 0.13


def test_a_command_that_is_done_exits_0(socket: Path) -> None:
    code, out, _ = ctl(socket, "checkpoint")

    assert code == 0
    assert out.startswith("checkpoint done: step ")


def test_options_may_stand_behind_the_command(socket: Path) -> None:
    done = vlamon(["ctl", "checkpoint", "--socket", str(socket), "--timeout", "30", "--json"])

    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True


def test_a_command_that_is_refused_exits_1_with_the_reason(socket: Path) -> None:
    code, out, err = ctl(socket, "rollback", "--to", "3")

    assert (code, out) == (1, "")
    assert err == "vlamon: rollback was refused: no trusted snapshot yet.\n"


def test_a_command_without_answer_exits_4(socket: Path) -> None:
    code, _, err = ctl(socket, "--timeout", "0.5", "pause")

    assert code == 4
    assert "did not answer" in err


@pytest.mark.parametrize(
    ("order", "args"),
    [
        (["set", "lr_scale", "0.5"], {"name": "lr_scale", "value": 0.5}),
        (["set", "guard", "ask"], {"name": "guard", "value": "ask"}),
        (["note", "looks", "odd"], {"text": "looks odd"}),
        (["note", "--", "-5"], {"text": "-5"}),
    ],
)
def test_arguments_arrive_as_typed(socket: Path, order: list[str], args: dict[str, object]) -> None:
    code, out, _ = ctl(socket, "--json", *order)

    answer = json.loads(out)
    assert code == 0
    assert answer["ok"] is True
    assert {key: answer["result"][key] for key in args} == args


@pytest.mark.parametrize(
    "order",
    [["frobnicate"], [], ["set", "x"], ["rollback", "--to", "soon"], ["--timeout", "0", "pause"]],
)
def test_wrong_usage_exits_2_in_one_sentence(socket: Path, order: list[str]) -> None:
    code, out, err = ctl(socket, *order)

    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert err


def test_a_negative_value_is_no_option_and_out_of_range(socket: Path) -> None:
    code, _, err = ctl(socket, "set", "lr_scale", "-0.5")

    assert code == 2
    assert "lr_scale must be a number from 1e-06 to 100, not '-0.5'" in err


def test_without_a_trainer_both_exit_3(tmp_path: Path) -> None:
    nobody = str(tmp_path / "nobody.sock")

    for arguments in (["status", "--socket", nobody], ["ctl", "--socket", nobody, "pause"]):
        done = vlamon(arguments)
        assert done.returncode == 3
        assert nobody in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_script_reads_what_became_of_its_command_in_any_case(
    tmp_path: Path, socket: Path
) -> None:
    nobody = tmp_path / "nobody.sock"
    for path, timeout, expected in ((nobody, "30", 3), (socket, "0.5", 4)):
        code, out, err = ctl(path, "--json", "--timeout", timeout, "pause")
        assert code == expected
        answer = json.loads(out)
        assert (answer["ok"], answer["command"], answer["result"]) == (False, "pause", {})
        assert answer["error"] in err


def test_a_script_that_takes_no_commands_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "deaf.sock"
    with training(path, orders=False):
        code, _, err = ctl(path, "--timeout", "30", "checkpoint")

    assert code == 1
    assert "takes no commands" in err


def test_a_stopped_trainer_exits_4(tmp_path: Path) -> None:
    path = tmp_path / "frozen.sock"
    with training(path) as process:
        os.kill(process.pid, signal.SIGSTOP)
        done = vlamon(["status", "--socket", str(path), "--timeout", "0.5"])
        os.kill(process.pid, signal.SIGCONT)

    assert done.returncode == 4
    assert "did not answer" in done.stderr


def test_the_only_socket_is_found_and_two_are_listed(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    (runtime / "vlamon").mkdir(parents=True)
    (runtime / "vlamon" / "stale.sock").touch()
    one, two = runtime / "vlamon" / "one.sock", runtime / "vlamon" / "two.sock"
    here = {"XDG_RUNTIME_DIR": str(runtime), "VLAMON_SOCKET": ""}
    with training(one):
        alone = vlamon(["status"], **here)
        with training(two):
            both = vlamon(["ctl", "checkpoint"], **here)
            named = vlamon(["status"], XDG_RUNTIME_DIR=str(runtime), VLAMON_SOCKET=str(two))

    # Another training of this machine's user may serve /tmp/vla*.sock meanwhile.
    assert alone.stdout.startswith("demo") or str(one) in alone.stderr
    assert both.returncode == 2
    assert str(one) in both.stderr
    assert str(two) in both.stderr
    assert "demo (pid " in both.stderr
    assert named.returncode == 0


def test_both_reach_another_machine_through_ssh(tmp_path: Path, socket: Path) -> None:
    ssh = tmp_path / "ssh"  # runs at once, here, what it is to run at the far end
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    far = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "VLAMON_REMOTE": f"{sys.executable} -m vlamon relay",
    }
    status = vlamon(["status", "--ssh", f"node:{socket}", "--timeout", "60"], **far)
    done = vlamon(["ctl", "--ssh", f"node:{socket}", "checkpoint", "--reason", "reboot"], **far)
    nobody = vlamon(["status", "--ssh", f"node:{tmp_path}/none.sock"], **far)
    both = vlamon(["status", "--ssh", "node", "--socket", str(socket)], **far)

    assert status.stdout.startswith("demo  training  step ")
    assert done.stdout.startswith("checkpoint done: step ")
    assert nobody.returncode == 3
    assert nobody.stderr.count("\n") == 1
    assert (both.returncode, "exclude each other" in both.stderr) == (2, True)
