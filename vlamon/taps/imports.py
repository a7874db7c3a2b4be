"""Runs a patch right after a module is imported, by any importer at any time.

A finder in front of `sys.meta_path` lets the others find the module and wraps its loader. Modules
that are imported already are patched at once. A patch that fails is counted and changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from vlamon.taps.collector import Collector

Patch = Callable[[ModuleType, Collector], None]


def install(patches: Mapping[str, Patch], every: Patch, collector: Collector) -> None:
    """Patch the modules named, and run `every` on any module that is imported from now on."""
    for name, patch in patches.items():
        module = sys.modules.get(name)
        if module is not None:
            _apply(patch, module, collector)
    sys.meta_path.insert(0, _Finder(patches, every, collector))


def _apply(patch: Patch, module: ModuleType, collector: Collector) -> None:
    try:
        patch(module, collector)
    except Exception as error:
        collector.complain(f"{module.__name__} is not tapped: {type(error).__name__}: {error}")


class _Finder(MetaPathFinder):
    """Finds nothing itself: it wraps what the finders behind it find."""

    def __init__(self, patches: Mapping[str, Patch], every: Patch, collector: Collector) -> None:
        self._patches = patches
        self._every = every
        self._collector = collector

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The spec that the others give, with a loader that patches after it has loaded."""
        patch = self._patches.get(fullname)
        if patch is None and fullname.rpartition(".")[2].lower() not in METER_MODULES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                break
        else:
            return None
        if spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, patch or self._every, self._collector)
        return spec


METER_MODULES = frozenset(
    {"misc", "utils", "util", "logger", "logging_utils", "metric_logger", "meters", "metrics"}
)
"""Where projects of DeiT's lineage keep their MetricLogger."""


class _Loader(Loader):
    """The module's own loader, and a patch after it. All else is asked of the original."""

    def __init__(self, original: Loader, patch: Patch, collector: Collector) -> None:
        self._original = original
        self._patch = patch
        self._collector = collector

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the original does it."""
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code, hand it its own loader back, then patch."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._original
        module.__loader__ = self._original
        self._original.exec_module(module)
        _apply(self._patch, module, self._collector)

    def __getattr__(self, name: str) -> object:
        return getattr(self._original, name)
