"""The accelerators' recent past: a ring of samples, a short line a device."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from vlamon.hardware import Device, GpuSample

KEEP = 3600
"""An hour at one sample a second; a dashboard shows minutes of it."""


class GpuHistory:
    """Samples as they came, newest last."""

    def __init__(self) -> None:
        self._samples: deque[GpuSample] = deque(maxlen=KEEP)

    @property
    def latest(self) -> GpuSample | None:
        """The newest sample."""
        return self._samples[-1] if self._samples else None

    def append(self, sample: GpuSample) -> None:
        """Take a sample in; the oldest goes when an hour is held."""
        self._samples.append(sample)

    def times(self) -> NDArray[np.float64]:
        """When each sample was taken."""
        return np.array([sample.time for sample in self._samples], dtype=np.float64)

    def history(self, device_index: int, field: str) -> NDArray[np.float64]:
        """One field of one device, NaN where the driver would not say."""
        return np.array(
            [_reading(sample, device_index, field) for sample in self._samples], dtype=np.float64
        )

    def process_history(self, field: str) -> NDArray[np.float64]:
        """One field of the training process, NaN where it is not known."""
        return np.array(
            [_number(getattr(sample.process, field, None)) for sample in self._samples],
            dtype=np.float64,
        )


def _reading(sample: GpuSample, index: int, field: str) -> float:
    for device in sample.devices:
        if device.index == index:
            return _number(_field(device, field))
    return float("nan")


def _field(device: Device, field: str) -> float | None:
    value: float | None = getattr(device, field)
    return value


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
