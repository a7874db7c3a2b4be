"""The theme that was chosen last, kept between starts in `$XDG_STATE_HOME/vlamon/theme`."""

from __future__ import annotations

import os

from vlamon.locations import remembered_theme_file


def remembered_theme() -> str:
    """Return the name that was kept, empty where there is none that can be read."""
    try:
        return remembered_theme_file().read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def remember_theme(name: str) -> str:
    """Keep a name for the next start; gives what stood in the way, empty where nothing did."""
    path = remembered_theme_file()
    written = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(f"{name}\n", encoding="utf-8")
        written.replace(path)
    except OSError as problem:
        return f"{problem.strerror}: {path}"
    return ""
