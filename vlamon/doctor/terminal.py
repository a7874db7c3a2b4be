"""Checks of the terminal: what it can show, and what stands between it and vlamon."""

from __future__ import annotations

from collections.abc import Iterator

from vlamon.doctor.facts import CheckResult, Facts

LEAST_COLUMNS, LEAST_ROWS = 60, 14
"""Below this the dashboard is numbers and sparklines."""
SLOW_ESCAPE = 100
"""Milliseconds for which tmux delays an Esc: more is noticeable."""
MODERN = ("256color", "kitty", "ghostty", "alacritty", "wezterm", "foot", "direct")


def kind(facts: Facts) -> Iterator[CheckResult]:
    """Whether there is a terminal that can move its cursor."""
    term = facts.environ.get("TERM", "")
    if not facts.is_terminal():
        yield CheckResult(
            "terminal", "note", "stdout is not a terminal: runs are shown as plain lines"
        )
    elif term in ("", "dumb"):
        name = "not set" if not term else "dumb"
        text = f"TERM is {name}: runs are shown as plain lines instead of the dashboard"
        yield CheckResult("terminal", "warn", text, "export TERM=xterm-256color")
    else:
        yield CheckResult("terminal", "ok", term)


def colours(facts: Facts) -> Iterator[CheckResult]:
    """How many colours the terminal promises."""
    environ = facts.environ
    if not facts.is_terminal():
        return
    if environ.get("NO_COLOR"):
        yield CheckResult("colours", "note", "none: NO_COLOR is set", "unset NO_COLOR")
    elif environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        yield CheckResult("colours", "ok", "16 million")
    elif any(word in environ.get("TERM", "") for word in MODERN):
        remote = "SSH_CONNECTION" in environ
        text = "256; OpenSSH does not forward COLORTERM" if remote else "256"
        yield CheckResult("colours", "ok", text)
    else:
        text = "16: TERM promises no more, and charts have no tint"
        if "TMUX" in environ:  # which knows no other terminal than its own
            fix = "tmux set -g default-terminal tmux-256color  # for new windows"
        else:
            fix = f"export TERM={'screen' if 'STY' in environ else 'xterm'}-256color"
        yield CheckResult("colours", "warn", text, fix)


def size(facts: Facts) -> Iterator[CheckResult]:
    """Whether charts have room."""
    if not facts.is_terminal():
        return
    columns, rows = facts.size()
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        text = f"{columns}×{rows}: below {LEAST_COLUMNS}×{LEAST_ROWS} there are no charts"
        yield CheckResult("size", "warn", text, f"resize -s {LEAST_ROWS * 2} {LEAST_COLUMNS * 2}")
    else:
        yield CheckResult("size", "ok", f"{columns}×{rows}")


def unicode(facts: Facts) -> Iterator[CheckResult]:
    """Whether the locale allows UTF-8, which charts are drawn with."""
    if facts.environ.get("TERM") == "linux":
        text = (
            "the Linux console's font has no Braille: charts are drawn with ASCII; a terminal"
            " emulator shows them in full"
        )
        yield CheckResult("locale", "note", text)
        return
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    name, value = next(
        ((name, facts.environ[name]) for name in names if facts.environ.get(name)), ("", "")
    )
    if "." in value and "utf" not in value.lower():
        text = f"{name}={value}: charts are drawn with ASCII"
        yield CheckResult("locale", "warn", text, "export LC_ALL=C.UTF-8")
    else:
        yield CheckResult("locale", "ok", value or "not set: taken for UTF-8")


def mouse(facts: Facts) -> Iterator[CheckResult]:
    """Whether clicks and the wheel reach the dashboard, which needs neither."""
    from vlamon import config
    from vlamon.user_settings import ENVIRONMENT

    if not facts.is_terminal():
        return
    held = config.load(facts.environ, only="mouse").values["mouse"]
    if facts.environ.get("TERM") == "linux":
        yield CheckResult("mouse", "note", "the Linux console sends no events: use the keys")
    elif not held.value:
        named = held.source.startswith(ENVIRONMENT)
        fix = f"unset {held.source}" if named else f"sed -i '/^mouse/d' {held.source}"
        yield CheckResult("mouse", "note", f"off by {held.source}: the terminal selects text", fix)
    elif "TMUX" not in facts.environ:  # whose own setting decides, see below
        yield CheckResult("mouse", "ok", "clicks and wheel; with Shift the terminal selects text")


def tmux(facts: Facts) -> Iterator[CheckResult]:
    """Settings of tmux that cost colours, speed, mouse or notifications."""
    if "TMUX" not in facts.environ:
        return
    version = facts.ask("tmux", "-V")
    if version is None:
        yield CheckResult("tmux", "note", "TMUX is set, but tmux does not answer here")
        return
    yield CheckResult("tmux", "ok", version)
    inside = facts.ask("tmux", "show-options", "-gv", "default-terminal") or ""
    if inside and not any(word in inside for word in MODERN):
        text = f"default-terminal is {inside}: 16 colours in new windows"
        yield CheckResult("tmux", "warn", text, "tmux set -g default-terminal tmux-256color")
    held = facts.ask("tmux", "show-options", "-sv", "escape-time") or ""
    if held.isdigit() and int(held) > SLOW_ESCAPE:
        text = f"escape-time is {held} ms: Esc acts that much later"
        yield CheckResult("tmux", "warn", text, "tmux set -s escape-time 10")
    if facts.ask("tmux", "show-options", "-gv", "mouse") == "off":
        text = "the mouse selects text instead of charts"
        yield CheckResult("tmux", "note", text, "tmux set -g mouse on")
    if facts.ask("tmux", "show-options", "-gv", "allow-passthrough") == "off":
        text = "desktop notifications do not pass"
        yield CheckResult("tmux", "note", text, "tmux set -g allow-passthrough on")
