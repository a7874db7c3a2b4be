"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: on a busy machine an example that takes 1 ms alone may well take 300.
settings.register_profile("vlamon", deadline=None)
settings.load_profile("vlamon")

# One thread for each test's arithmetic, set before torch is imported and inherited by processes:
# the suite already runs on all cores, and threads that wait for one wait spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
