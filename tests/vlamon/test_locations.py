"""Where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlamon import locations


def test_the_users_directories_follow_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    assert locations.user_themes_directory() == tmp_path / "config" / "vlamon" / "themes"


def test_what_is_remembered_lies_with_the_users_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert locations.remembered_theme_file() == tmp_path / "vlamon" / "theme"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locations.remembered_theme_file() == tmp_path / ".local/state/vlamon/theme"


def test_a_relative_xdg_path_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")

    assert locations.config_directory() == str(Path.home() / ".config" / "vlamon")
