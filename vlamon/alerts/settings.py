"""Reads channels and their secrets from `alerts.toml` of mode 0600, or the environment.

    language = "en"

    [ntfy]
    url = "https://ntfy.sh/my-topic"

    [slack]
    url = "https://hooks.slack.com/services/…"

Each value may come from the environment instead: `VLAMON_SLACK_URL`, `VLAMON_TELEGRAM_TOKEN` and so
on; a channel is in force as soon as one of its values is there. Secrets are never taken from a
command line, which every user of the machine can read and the journal keeps.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vlamon.alerts.channels import KINDS, Channel
from vlamon.alerts.message import LANGUAGES
from vlamon.alerts.redaction import Redacted
from vlamon.errors import VlamonError
from vlamon.locations import config_directory, state_directory

FIELDS = ("url", "token", "secret", "chat", "to", "from", "password", "run")


class AlertSettingsError(VlamonError):
    """The alerts are not set up as they must be; says where and what to do."""


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Channels by name, and the language of the messages."""

    channels: Mapping[str, Channel] = field(default_factory=dict)
    language: str = "en"


def alerts_file() -> Path:
    """Where the settings are kept unless `$VLAMON_ALERTS` names another file."""
    named = os.environ.get("VLAMON_ALERTS")
    return Path(named) if named else Path(config_directory()) / "alerts.toml"


def load_settings(
    command: str | None = None, environment: Mapping[str, str] = os.environ
) -> AlertSettings:
    """The channels of file and environment, and `command` as one more."""
    path = alerts_file()
    document = _read(path)
    language = str(environment.get("VLAMON_ALERT_LANGUAGE") or document.get("language", "en"))
    if language not in LANGUAGES:
        raise AlertSettingsError(
            f"{path}: there are no messages in {language!r}, only in {' and '.join(LANGUAGES)}"
        )
    unknown = sorted(set(document) - set(KINDS) - {"language"})
    if unknown:
        raise AlertSettingsError(
            f"{path}: no channel is called {unknown[0]!r}; there are {', '.join(KINDS)}"
        )
    channels = {}
    for name in KINDS:
        given = _given(name, document.get(name, {}), environment)
        if name == "command" and command:
            given["run"] = command
        if given:
            channels[name] = _channel(path, name, given)
    return AlertSettings(channels, language)


def channels_needed(settings: AlertSettings) -> AlertSettings:
    """The settings, refused where they have no channel: a watchdog without one can send nothing."""
    if settings.channels:
        return settings
    raise AlertSettingsError(
        f"no channel for alerts is set up: add one to {alerts_file()} (chmod 600), or give "
        "--on-alert CMD; `vlamon alert test` shows that it works"
    )


def outbox_directory() -> Path:
    """Where messages wait that no channel has taken yet."""
    return Path(state_directory()) / "alerts"


def _given(name: str, table: object, environment: Mapping[str, str]) -> dict[str, str]:
    given = {key: str(value) for key, value in table.items()} if isinstance(table, dict) else {}
    for key in FIELDS:
        value = environment.get(f"VLAMON_{name}_{key}".upper())
        if value:
            given[key] = value
    return given


def _channel(path: Path, name: str, given: Mapping[str, str]) -> Channel:
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise AlertSettingsError(f"{path}: [{name}] knows no {unknown[0]!r}")
    try:
        return Redacted(KINDS[name](given), given)
    except KeyError as missing:
        key = str(missing.args[0])
        raise AlertSettingsError(
            f"alerts by {name} need `{key}`: put it under [{name}] in {path} "
            f"or into $VLAMON_{name.upper()}_{key.upper()}"
        ) from None
    except ValueError:
        # What `urllib` says of it quotes it, password and all.
        raise AlertSettingsError(f"{path}: the url of [{name}] is not an address") from None


def _read(path: Path) -> dict[str, object]:
    """The file's tables; none where it does not exist. Refused where others may read it."""
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AlertSettingsError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        found = os.fstat(file.fileno())
        if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o077:
            raise AlertSettingsError(
                f"{path} holds secrets and may be read by others: chmod 600 {path}"
            )
        try:
            return tomllib.load(file)
        except (ValueError, RecursionError) as error:
            raise AlertSettingsError(f"{path} is not TOML: {error}") from error
