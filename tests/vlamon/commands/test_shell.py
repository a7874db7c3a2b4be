"""Completion scripts and manual pages, made from the commands themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.commands.training import vlamon
from vlamon.cli import COMMANDS, run


def completed(*words: str) -> list[str]:
    """What bash is offered behind `words`, the last of which is being typed."""
    line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = vlamon([], _VLAMON_COMPLETE="bash_complete", **line)
    return [offer.partition(",")[2] for offer in done.stdout.splitlines()]


def test_commands_options_choices_and_metrics_are_completed() -> None:
    assert completed("vlamon", "re") == ["relay", "replay"]
    assert "--low-bandwidth" in completed("vlamon", "watch", "--low")
    assert completed("vlamon", "analyze", "x", "--format", "h") == ["html"]
    assert completed("vlamon", "ctl", "roll") == ["rollback"]
    assert "closs" in completed("vlamon", "explain", "clo")
    assert completed("vlamon", "tail", "--theme", "pa") == ["paper"]
    assert completed("vlamon", "tail", "--threshold", "warn_r") == ["warn_ratio="]
    assert completed("vlamon", "watch", "--key", "next-e") == ["next-event="]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    done = vlamon(["completion", shell])

    assert done.returncode == 0
    assert f"_VLAMON_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_every_command_has_a_page_with_all_its_options(tmp_path: Path) -> None:
    assert run(["man", "-o", str(tmp_path)]) == 0

    pages = {path.stem: path.read_text() for path in tmp_path.iterdir()}
    assert set(pages) == {"vlamon", *(f"vlamon-{name}" for name in COMMANDS)}
    assert "\\-\\-low\\-bandwidth" in pages["vlamon-watch"]
    assert "rollback" in pages["vlamon-ctl"]
    assert "VLAMON_THEME" in pages["vlamon"]
    indented = [line for text in pages.values() for line in text.splitlines() if line[:1] == " "]
    assert indented == [], "troff breaks a paragraph at a line that begins with a space"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_a_page_is_roff_without_a_warning(tmp_path: Path) -> None:
    run(["man", "-o", str(tmp_path)])

    for path in tmp_path.iterdir():
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", str(path)],
            capture_output=True,
            check=False,
        )
        told = re.sub(rb".*(?:can't break|cannot break|adjust).*\n", b"", done.stderr)
        assert (done.returncode, told) == (0, b""), path.name


def test_without_a_directory_the_page_is_printed(capsys: Any) -> None:
    assert run(["man"]) == 0
    assert capsys.readouterr().out.startswith('.TH "VLAMON"')


def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")

    assert run(["man", "-o", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
