"""Python runs this at start-up of everything that `vlamon run` starts: it turns the tap on.

The environment's own sitecustomize, which this one hides, runs first. Whatever fails here is one
line on stderr; the script runs as if nothing were there.
"""

import importlib.machinery
import importlib.util
import os
import sys


def _run_hidden_sitecustomize() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    others = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _turn_on() -> None:
    given = os.environ.get("VLAMON_TAP")
    if given is None:
        return
    try:
        from vlamon.taps import start
        from vlamon.taps.options import TapOptions
    except ImportError as error:
        print(
            f"vlamon run: {sys.executable} cannot import vlamon ({error}), so this training is "
            f"not visible; install it there: {sys.executable} -m pip install vlamon",
            file=sys.stderr,
        )
        return
    start(TapOptions.of_text(given))


_run_hidden_sitecustomize()
try:
    _turn_on()
except Exception as error:
    print(f"vlamon run: this training is not visible: {error}", file=sys.stderr)
