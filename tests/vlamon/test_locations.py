"""Where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlamon import locations


def test_the_users_directories_follow_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))

    assert locations.user_themes_directory() == tmp_path / "config" / "vlamon" / "themes"
    assert locations.runtime_sockets_directory() == tmp_path / "run" / "vlamon"


def test_a_relative_xdg_path_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")

    assert locations.config_directory() == Path.home() / ".config" / "vlamon"


def test_without_a_runtime_directory_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    assert locations.runtime_sockets_directory() is None
