"""The doctor names what hampers vlamon, and the command that mends it."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vlamon.cli import run
from vlamon.doctor import CheckResult, Facts, files, graphics, jobs, terminal


@dataclass(frozen=True)
class Made(Facts):
    """A machine that the test makes up."""

    tty: bool = True
    shape: tuple[int, int] = (120, 40)
    answers: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def is_terminal(self) -> bool:
        return self.tty

    def size(self) -> tuple[int, int]:
        return self.shape

    def read(self, path: str) -> str:
        return self.texts.get(path, "")

    def ask(self, *command: str) -> str | None:
        return self.answers.get(" ".join(command))


Check = Callable[[Facts], Iterator[CheckResult]]


def only(check: Check, facts: Facts) -> CheckResult:
    (finding,) = check(facts)
    return finding


def warnings(check: Check, facts: Facts) -> list[str]:
    return [finding.fix for finding in check(facts) if finding.level == "warn"]


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({"TERM": "xterm-256color"}, "ok"),
        ({"TERM": "xterm-kitty"}, "ok"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "ok"),
        ({"TERM": "screen"}, "warn"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "note"),
    ],
)
def test_colours_are_those_that_the_terminal_promises(environ: dict[str, str], level: str) -> None:
    assert only(terminal.colours, Made(environ)).level == level


def test_more_colours_are_asked_for_where_they_are_withheld() -> None:
    asked = {
        "xterm": {},
        "screen": {"STY": "1.tty"},
        "tmux set -g default-terminal tmux": {"TMUX": "/tmp/x"},
    }
    for promised, environ in asked.items():
        fix = only(terminal.colours, Made({"TERM": "screen", **environ})).fix
        assert fix.removeprefix("export TERM=").startswith(f"{promised}-256color")


def test_a_console_without_braille_is_reported() -> None:
    assert "drawn with ASCII" in only(terminal.unicode, Made({"TERM": "linux"})).text


def test_a_terminal_that_cannot_move_its_cursor_is_reported() -> None:
    assert warnings(terminal.kind, Made({"TERM": "dumb"})) == ["export TERM=xterm-256color"]
    assert only(terminal.kind, Made({"TERM": "xterm"}, tty=False)).level == "note"
    assert only(terminal.kind, Made({"TERM": "xterm"})).level == "ok"


def test_a_small_terminal_is_reported() -> None:
    assert only(terminal.size, Made({}, shape=(50, 40))).level == "warn"
    assert only(terminal.size, Made({}, shape=(80, 24))).level == "ok"


def test_only_a_locale_that_names_another_character_set_is_a_finding() -> None:
    assert only(terminal.unicode, Made({"LANG": "de_DE.ISO-8859-1"})).level == "warn"
    for fine in ({"LANG": "zh_CN.UTF-8"}, {"LANG": "C"}, {}):
        assert only(terminal.unicode, Made(fine)).level == "ok"


def test_a_mouse_that_is_switched_off_is_told_with_what_switched_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert only(terminal.mouse, Made({})).level == "ok"
    assert only(terminal.mouse, Made({"TERM": "linux"})).level == "note"
    assert only(terminal.mouse, Made({"VLAMON_MOUSE": "off"})).fix == "unset VLAMON_MOUSE"

    (tmp_path / "vlamon.toml").write_text("mouse = false\n")
    assert only(terminal.mouse, Made({})).fix == f"sed -i '/^mouse/d' {tmp_path / 'vlamon.toml'}"
    assert list(terminal.mouse(Made({}, tty=False))) == []
    (tmp_path / "vlamon.toml").unlink()
    assert list(terminal.mouse(Made({"TMUX": "/tmp/x"}))) == [], "tmux decides, and says so itself"


def test_settings_of_tmux_that_hurt_are_mended_by_tmux() -> None:
    answers = {
        "tmux -V": "tmux 3.3a",
        "tmux show-options -gv default-terminal": "screen",
        "tmux show-options -sv escape-time": "500",
        "tmux show-options -gv mouse": "off",
    }
    found = list(terminal.tmux(Made({"TMUX": "/tmp/x"}, answers=answers)))

    assert [finding.level for finding in found] == ["ok", "warn", "warn", "note"]
    assert all(finding.fix.startswith("tmux set") for finding in found[1:])
    assert list(terminal.tmux(Made({}, answers=answers))) == []
    assert only(terminal.tmux, Made({"TMUX": "x"})).level == "note"


def test_a_socket_directory_that_others_can_write_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    facts = Made({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert only(files.sockets, facts).level == "ok"

    tmp_path.chmod(0o777)
    assert "could pose as your training" in only(files.sockets, facts).text
    tmp_path.chmod(0o700)


def test_a_socket_that_is_named_and_not_there_is_reported(tmp_path: Path) -> None:
    facts = Made({"VLAMON_SOCKET": str(tmp_path / "no"), "XDG_RUNTIME_DIR": str(tmp_path / "gone")})

    assert warnings(files.sockets, facts) == [
        "unset VLAMON_SOCKET",
        f"mkdir -m 700 {tmp_path / 'gone'}",
    ]
    assert only(files.sockets, Made({})).level == "note"


def test_a_full_disk_and_a_directory_that_is_not_there_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Made({}, directories=(str(tmp_path / "gone"),))
    assert warnings(files.directories, facts) == [f"mkdir -p {tmp_path / 'gone'}"]

    monkeypatch.setattr(files, "LEAST_FREE", 1 << 62)
    facts = Made({}, directories=(str(tmp_path),))
    assert "a checkpoint may not fit" in next(files.directories(facts)).text


def test_a_directory_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    facts = Made({}, directories=(str(tmp_path),))

    assert f"chmod u+w {tmp_path}" in warnings(files.directories, facts)


def test_a_network_file_system_is_named(tmp_path: Path) -> None:
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n"
    facts = Made({}, directories=(str(tmp_path),), texts={"/proc/self/mounts": mounts})

    assert any("is on nfs4" in finding.text for finding in files.directories(facts))


def test_a_clock_that_differs_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.time.time
    monkeypatch.setattr(files.time, "time", lambda: real() - 3600)
    facts = Made({}, directories=(str(tmp_path),))

    assert "sudo timedatectl set-ntp true" in warnings(files.directories, facts)


def test_a_mistake_in_the_settings_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert only(files.settings, Made({})).level == "ok"

    (tmp_path / "vlamon.toml").write_text("them = 1\n")
    assert "did you mean 'theme'" in only(files.settings, Made({})).text


@pytest.mark.parametrize(
    ("build", "driver", "level"),
    [
        ((None, None), (12, 8), "note"),
        (("2.9.0", "12.8"), (12, 4), "ok"),
        (("2.9.0", "13.0"), (12, 8), "warn"),
        (("2.9.0+cpu", None), (12, 8), "warn"),
        (("2.9.0+cpu", None), None, "ok"),
    ],
)
def test_torch_is_paired_with_the_driver(
    monkeypatch: pytest.MonkeyPatch, build: Any, driver: Any, level: str
) -> None:
    monkeypatch.setattr(graphics, "torch_build", lambda: build)
    monkeypatch.setattr(graphics, "driver_cuda", lambda: driver)

    finding = only(graphics.torch, Made({}))
    assert finding.level == level
    assert (finding.fix.startswith("pip install")) == (level != "ok")


def test_the_build_of_torch_is_read_without_importing_it() -> None:
    torch = pytest.importorskip("torch")

    version, cuda = graphics.torch_build()
    assert version == torch.__version__
    assert cuda == torch.version.cuda


def test_a_job_is_named_and_a_step_without_a_runtime_directory_gets_a_socket() -> None:
    environ = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16", "SLURM_NNODES": "2"}
    found = list(jobs.slurm(Made(environ, answers={"squeue --version": "slurm 23.11"})))

    assert found[0].text == "job 7, 16 tasks on 2 nodes"
    assert found[1].fix == "export VLAMON_SOCKET=/tmp/vla-7.sock"
    assert list(jobs.slurm(Made({}))) == []


def test_a_program_that_hangs_or_is_missing_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlamon.doctor import facts

    monkeypatch.setattr(facts, "_TIMEOUT", 0.2)
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)

    assert Facts().ask(str(slow)) is None
    assert Facts().ask(str(tmp_path / "none")) is None


def test_the_command_prints_it_as_text_and_as_json(tmp_path: Path, capsys: Any) -> None:
    code = run(["doctor", str(tmp_path)])
    text = capsys.readouterr().out
    again = run(["doctor", str(tmp_path), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]

    levels = {finding["level"] for finding in found}
    assert code == again == (10 if "warn" in levels else 0)
    assert all(finding["text"] in text and finding["fix"] in text for finding in found)
    assert {"terminal", "disk", "inotify", "torch"} <= {finding["check"] for finding in found}
    assert os.listdir(tmp_path) == []
