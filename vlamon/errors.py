"""The exception whose message is the sentence that a user reads, and suggestions for it."""

from __future__ import annotations

import os
from collections.abc import Iterable


class VlamonError(Exception):
    """What is wrong, where, and what to do, in one sentence; the command line prints it and ends.

    Each layer derives its own; `exit_code` is what `vlamon` then exits with.
    """

    exit_code = 2

    def __init__(self, sentence: str, *listed: str) -> None:
        super().__init__("\n".join((sentence, *listed)))
        self.lines = (sentence, *listed)
        """The sentence, and what it lists, a line each."""


def unwritable(path: str, problem: OSError) -> VlamonError:
    """The error of a file that cannot be written, with what to do about it."""
    folder = os.path.dirname(path)
    if isinstance(problem, FileNotFoundError) and folder:
        advice = f"make the directory first: mkdir -p {folder}"
    else:
        advice = "name another place with -o"
    return VlamonError(f"{path} cannot be written: {problem.strerror}; {advice}.")


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'theme'?)` where a known word is like it, else nothing."""
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def nearest_file(path: str) -> str:
    """` (did you mean 'output.log'?)` where a file beside it has a name like it, else nothing."""
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or os.curdir)
    except OSError:
        return ""
    return nearest(name, names)
