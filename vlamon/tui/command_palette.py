"""The command palette: every key's action by name, every theme, every metric's chart."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from vlamon.key_bindings import keys_for
from vlamon.tui.screen import MainScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class DashboardCommands(Provider):
    """Commands of the main screen; a read-only dashboard has none that act on the training."""

    async def discover(self) -> Hits:
        """Return everything that a key does, before anything is typed."""
        for name, words, run in self._keys():
            yield DiscoveryHit(name, run, help=words)

    async def search(self, query: str) -> Hits:
        """Return what matches: keys, themes, metrics."""
        matcher = self.matcher(query)
        for name, words, run in (*self._keys(), *self._themes(), *self._metrics()):
            score = matcher.match(f"{name} {words}" if len(query) > 3 else name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, help=words)

    @property
    def _main(self) -> MainScreen:
        assert isinstance(self.screen, MainScreen)
        return self.screen

    def _keys(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        main = self._main
        for key in keys_for(main.shell.options.read_only, main.shell.options.keys):
            if key.action != "palette":
                name = f"{key.words} ({key.label})"
                yield name, key.help, partial(main.action_perform, key.action)

    def _themes(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        main = self._main
        for name, theme in main.shell.theme_set.themes.items():
            yield f"theme: {name}", theme.title, partial(main.pages.keep_theme, name)

    def _metrics(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        main = self._main
        for group in main.placement.groups():
            words = f"{', '.join(group.metrics[:4])} on the whole screen"
            yield f"chart: {group.name}", words, partial(main.placement.show_alone, group.name)
