"""The run that was opened last, so that `vlamon` alone can offer it again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from vlamon.locations import state_directory


def remember(command: str, paths: Sequence[str], *options: str) -> None:
    """Keep a command and the files that it opened; those that do not exist are not worth it."""
    if not paths or not all(os.path.exists(path) for path in paths):
        return
    arguments = [command, *map(os.path.abspath, paths), *options]
    path = _file()
    written = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(written, "w", encoding="utf-8") as file:
            json.dump(arguments, file)
        os.replace(written, path)
    except (OSError, UnicodeError):
        return  # a convenience: a full or read-only home directory must not keep a run from opening


def recall() -> list[str]:
    """The arguments that open it again; empty where there is none, or where it is gone."""
    try:
        with open(_file(), encoding="utf-8") as file:
            arguments = json.load(file)
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(arguments, list) or not all(isinstance(word, str) for word in arguments):
        return []
    paths = [word for word in arguments[1:] if os.path.isabs(word)]
    return arguments if paths and all(map(os.path.exists, paths)) else []


def _file() -> str:
    return os.path.join(state_directory(), "last-run.json")
