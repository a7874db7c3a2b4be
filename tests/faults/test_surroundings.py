"""Commands in odd surroundings, a sample; `python -m tests.faults.surroundings` tries them all."""

from __future__ import annotations

import pytest

from tests.faults.surroundings import outcome

SAMPLE = (
    ("no-working-directory", "config"),
    ("no-working-directory", "doctor"),
    ("stdout-full", "help"),
    ("stdout-full", "runs"),
    ("stdout-closed", "runs"),
    ("all-closed", "explain"),
    ("no-file-may-grow", "script"),
    ("sixteen-descriptors", "alone"),
    ("c-locale", "explain"),
    ("home-is-a-file", "runs"),
    ("odd-settings", "config"),
)


@pytest.mark.parametrize(("name", "command"), SAMPLE)
def test_a_command_in_odd_surroundings_ends_with_a_sentence_at_most(
    name: str, command: str
) -> None:
    assert outcome(name, command) == ""
