"""`--on-alert CMD`: any program, with the alert as JSON on its standard input."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict

from vlamon.alerts.channels.http import ChannelError
from vlamon.alerts.message import Message

TIMEOUT = 30.0
"""Seconds after which the program is killed."""


class CommandLine:
    """Runs a command line in a shell, as the user wrote it."""

    def __init__(self, line: str) -> None:
        self._line = line

    def send(self, message: Message) -> None:
        """Hand the alert over; it was accepted where the program exits with 0."""
        document = {
            **asdict(message.alert),
            "title": message.title,
            "body": message.body,
        }
        try:
            done = subprocess.run(
                self._line,
                shell=True,
                input=json.dumps(document).encode() + b"\n",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=TIMEOUT,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ChannelError(f"the command did not end within {TIMEOUT:.0f} s") from None
        except OSError as error:
            raise ChannelError(f"the command cannot be run: {error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-200:]
            raise ChannelError(f"the command exited with {done.returncode}: {said}")
