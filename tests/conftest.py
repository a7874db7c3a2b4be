"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline: on a busy machine an example that takes 1 ms alone may well take 300.
settings.register_profile("vlamon", deadline=None)
settings.load_profile("vlamon")
