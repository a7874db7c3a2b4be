"""The command palette: every key's action by name, every theme, every metric's chart."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from vlamon.tui.bindings import keys_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vlamon.tui.screens.main import MainScreen


class DashboardCommands(Provider):
    """Commands of the main screen; a read-only dashboard has none that order."""

    async def discover(self) -> Hits:
        """Give everything that a key does, before anything is typed."""
        for name, words, run in self._keys():
            yield DiscoveryHit(name, run, help=words)

    async def search(self, query: str) -> Hits:
        """Give what matches: keys, themes, metrics."""
        matcher = self.matcher(query)
        for name, words, run in (*self._keys(), *self._themes(), *self._metrics()):
            score = matcher.match(f"{name} {words}" if len(query) > 3 else name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, help=words)

    @property
    def _main(self) -> MainScreen:
        return cast("MainScreen", self.screen)

    def _keys(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        main = self._main
        for key in keys_for(main.dashboard.options.read_only):
            if key.action != "palette":
                name = f"{key.words} ({key.label})"
                yield name, key.help, partial(main.run_action, key.action)

    def _themes(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        main = self._main
        for name, theme in main.dashboard.theme_set.themes.items():
            yield f"theme: {name}", theme.title, partial(main.keep_theme, name)

    def _metrics(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        main = self._main
        for group in main.groups():
            words = f"{', '.join(group.metrics[:4])} on the whole screen"
            yield f"chart: {group.name}", words, partial(main.show_alone, group.name)
