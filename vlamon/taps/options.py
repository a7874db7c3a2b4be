"""How a tapped training is to be served, and how that crosses from `vlamon run` to its child."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

VARIABLE = "VLAMON_TAP"
"""Environment variable with the options as JSON; its presence turns the tap on."""


@dataclass(frozen=True, slots=True)
class TapOptions:
    """The arguments of the emitter that the first logged value makes."""

    path: str | None = "auto"
    run: str = ""
    run_dir: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    alerts: bool | str | None = None
    watch: bool = False
    annotate: bool = False

    def as_text(self) -> str:
        """One line for the environment."""
        return json.dumps(asdict(self))

    @staticmethod
    def of_text(text: str) -> TapOptions:
        """The options that `as_text` wrote; ValueError where it did not."""
        given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError(f"{VARIABLE} holds no JSON object: {text[:80]}")
        return TapOptions(
            path=given.get("path"),
            run=str(given.get("run", "")),
            run_dir=given.get("run_dir"),
            weights={str(name): float(value) for name, value in given.get("weights", {}).items()},
            alerts=given.get("alerts"),
            watch=bool(given.get("watch", False)),
            annotate=bool(given.get("annotate", False)),
        )
