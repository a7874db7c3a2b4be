"""Settings for all tests."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

# No deadline: on a busy machine an example that takes 1 ms alone may well take 300.
settings.register_profile("vlamon", deadline=None)
settings.load_profile("vlamon")

# One thread for each test's arithmetic, set before torch is imported and inherited by processes:
# the suite already runs on all cores, and threads that wait for one wait spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every training lists itself in the user's home; those of the tests, and of the processes that they
# start, have one of their own.
if "VLAMON_HOME" not in os.environ:
    os.environ["VLAMON_HOME"] = tempfile.mkdtemp(prefix="vlamon-home-")
    atexit.register(shutil.rmtree, os.environ["VLAMON_HOME"], ignore_errors=True)

# So has what vlamon remembers (last run, theme) and what it is set to: nothing of the user's is
# read or written.
for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
    os.environ[name] = os.path.join(tempfile.gettempdir(), f"vlamon-{os.getpid()}-{name.lower()}")
    atexit.register(shutil.rmtree, os.environ[name], ignore_errors=True)

# A shell starts what it puts into the background (`make test &`) with SIGINT ignored, and every
# child inherits that: Ctrl-C, which several tests send for real, would be heard by nobody.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _signals_are_given_back() -> Iterator[None]:
    """A training that a test runs in this process keeps the signals that end it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
