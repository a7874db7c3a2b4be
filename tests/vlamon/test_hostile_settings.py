"""A `vlamon.toml` that somebody else left where one works: it runs nothing, reads nothing, holds
nothing up, and costs a sentence at most."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlamon import config
from vlamon.cli import run
from vlamon.config import load, rules_in_force
from vlamon.detect.rules import SpikeRules
from vlamon.user_settings import SETTINGS

LOG = Path(__file__).parents[1] / "fixtures" / "logs" / "log_train.txt"
STRANGER = 65534


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    there = tmp_path / "shared" / "deep"
    there.mkdir(parents=True)
    monkeypatch.chdir(there)
    return tmp_path / "shared"


def text(content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data) and None


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def unreadable(path: Path) -> None:
    path.write_text("theme = 'paper'\n")
    path.chmod(0)


FILES: dict[str, Callable[[Path], None]] = {
    "a key of 30,000 parts": text("theme" + ".a" * 30_000 + " = 1\n"),
    "tables in tables": text("\n".join(f"[weights{'.a' * n}]" for n in range(150))),
    "brackets": text("pinned = " + "[" * 30_000),
    "inline tables": text("theme = " + "{a=" * 3000 + "1" + "}" * 3000),
    "a number of 50,000 digits": text("vocab = 0x" + "f" * 50_000),
    "a number beyond any float": text("every = " + "9" * 400 + "\nclip_grad = 0x" + "f" * 9000),
    "no numbers": text("every = nan\nclip_grad = -inf\nvocab = inf\n[weights]\ncloss = nan\n"),
    "a text of 60,000 characters": text("axis = '" + "\\u001b" * 9_000 + "a" * 50_000 + "'"),
    "a long name": text("a" * 60_000 + " = 1"),
    "another file": text("".join(f"setting_{number} = 1\n" for number in range(4000))),
    "escape sequences": text('"\\u001b]0;owned\\u0007" = 1\naxis = "\\u001b[2J\\u202e"\n'),
    "not UTF-8": text(b"theme = '\xff\xfe'\n"),
    "zeros": text(b"\0" * 5000),
    "all wrong types": text(
        "".join(f"{s.name} = [[1979-05-27T07:32:00Z, {{}}]]\n" for s in SETTINGS)
    ),
    "a table for each": text("".join(f"[{setting.name}]\na = 'b'\n" for setting in SETTINGS)),
    "weights without names": text('weights = { "" = 1, " " = 2, "=" = 3, "a=b" = 4 }\n'),
    "a theme elsewhere": text('theme = "../../../../etc/passwd"\n'),
    "a theme of control characters": text('theme = "\\u0000\\n\\u001b[2J"\n'),
    "odd names": text('pinned = ["", "\\u0000", "[", "(", "*"]\nhidden = ["closs", ""]\n'),
    "a terabyte": sparse,
    "a pipe": lambda path: os.mkfifo(path),
    "a directory": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a long name": lambda path: path.symlink_to("x" * 300),
    "memory": lambda path: path.symlink_to("/proc/self/mem"),
    "not readable": unreadable,
}


@pytest.mark.parametrize("kind", FILES)
def test_whatever_lies_there_a_log_is_judged_as_without_it(
    kind: str, place: Path, capfdbinary: Any
) -> None:
    code = run(["analyze", str(LOG)])
    judged = capfdbinary.readouterr().out
    FILES[kind](place / "vlamon.toml")
    began = time.monotonic()
    assert run(["analyze", str(LOG)]) == code
    out, err = capfdbinary.readouterr()
    assert time.monotonic() - began < 20.0
    assert out == judged
    said = err.decode().splitlines()
    assert len(said) <= 2 * config.MOST_COMPLAINTS + 1
    assert all(len(line) < 1000 and line.isprintable() for line in said)


def given_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, STRANGER, STRANGER)


def test_a_strangers_file_sets_how_things_look_and_neither_keys_nor_what_explodes(
    place: Path,
) -> None:
    path = place / "vlamon.toml"
    path.write_text('axis = "epoch"\n[keys]\nquit = "Q"\n[thresholds]\nwarn_ratio = 1e9\n')
    ours = load({})
    assert ours.values["keys"].value
    assert ours.values["thresholds"].value
    given_away(path)
    found = load({})
    assert found.values["axis"].value == "epoch"
    assert found.values["keys"].source == found.values["thresholds"].source == "default"
    assert len(found.complaints) == 2
    assert all(f"belongs to uid {STRANGER}" in complaint for complaint in found.complaints)
    said: list[str] = []
    assert rules_in_force(said.append) == SpikeRules()
    assert len(said) == 1
