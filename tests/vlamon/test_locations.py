"""Where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlamon import locations


def test_the_users_directories_follow_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    assert locations.user_themes_directory() == tmp_path / "config" / "vlamon" / "themes"


def test_a_relative_xdg_path_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")

    assert locations.config_directory() == Path.home() / ".config" / "vlamon"
