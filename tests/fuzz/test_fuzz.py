"""A few seconds of the fuzzer, every past failure, and the same logs told otherwise."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.differential import frames_cut, journal_cut, retold
from tests.fuzz.engine import Fuzzer, attack, corpus
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import BY_NAME, FIXTURES, TARGETS, Target, unsafe

PAST = [(target, path) for target in TARGETS for path in corpus(target)]
LOGS = [path for path in sorted((FIXTURES / "logs").iterdir()) if "tfevents" not in path.name]
LOGS += [FIXTURES / "run" / "log_train.txt", FIXTURES / "run" / "output.log"]


@pytest.mark.parametrize(
    ("target", "path"), PAST, ids=[f"{target.name}-{path.name}" for target, path in PAST]
)
def test_what_broke_a_reader_once_breaks_it_no_more(target: Target, path: Path) -> None:
    found = attack(target, path.read_bytes())
    assert found is None, found.traceback


def test_damaged_inputs_end_in_records_or_a_sentence() -> None:
    fuzzer = Fuzzer(TARGETS, seed=1)
    fuzzer.run(seconds=8.0)
    broken = [found.traceback for found in fuzzer.findings.values()]
    assert not broken, "\n".join(broken)
    assert all(fuzzer.tries.values())


@pytest.mark.parametrize("path", LOGS, ids=[path.name for path in LOGS])
def test_a_log_in_another_form_is_the_same_numbers(path: Path) -> None:
    assert retold(path.read_bytes(), path.name, random.Random(1)) == ""


@pytest.mark.parametrize("seed", range(20))
def test_frames_and_journals_are_the_same_however_they_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    frames = rng.choice(BY_NAME["frames"].seeds())
    journal = BY_NAME["journal"].seeds()[0]
    assert frames_cut(frames, rng)
    assert journal_cut(journal, rng)
    assert journal_cut(mutated(journal, rng), rng)


def test_the_fuzzer_finds_what_is_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(data: bytes) -> None:
        if b"\xff" in data:
            raise KeyError("planted")

    fuzzer = Fuzzer([Target("planted", lambda: [b"step 1 loss 2\n" * 20], fragile)], seed=1)
    fuzzer.run(seconds=2.0)
    assert [found.target for found in fuzzer.findings.values()] == ["planted"]


@pytest.mark.parametrize("shown", ["\x1b[2J", "a\x9b31m", "x‮y", "a\rb", "\x07", "\x00"])
def test_what_commands_a_terminal_is_seen(shown: str) -> None:
    assert unsafe(shown)


def test_plain_text_of_any_language_passes() -> None:
    assert not unsafe("损失 1.5\n\tклосс — ok 😀")
