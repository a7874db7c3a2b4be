"""`make bench`: run every benchmark here, one after the other, and print its table.

A benchmark is a module of this package with a `main()` that prints a markdown table of ratios.
Names given on the command line run only those.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.bench


def benchmark_names() -> list[str]:
    """Names of the benchmark modules, alphabetically."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(tests.bench.__path__)
        if not module.name.startswith("_")
    )


def main(wanted: list[str]) -> int:
    """Run the wanted benchmarks, or all; 2 when a name is not known."""
    names = benchmark_names()
    unknown = [name for name in wanted if name not in names]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(names)}")
        return 2
    sys.argv = sys.argv[:1]
    for name in wanted or names:
        module = importlib.import_module(f"tests.bench.{name}")
        if not hasattr(module, "main"):
            continue
        print(f"\n## {name}\n", flush=True)
        module.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
