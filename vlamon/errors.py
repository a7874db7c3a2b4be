"""The one exception whose message is the sentence that a user reads."""

from __future__ import annotations


class VlamonError(Exception):
    """What is wrong, where, and what to do, in one sentence; the command line prints it and ends.

    Each layer derives its own; `exit_code` is what `vlamon` then exits with.
    """

    exit_code = 2

    def __init__(self, sentence: str, *listed: str) -> None:
        super().__init__("\n".join((sentence, *listed)))
        self.lines = (sentence, *listed)
        """The sentence, and what it lists, a line each."""
