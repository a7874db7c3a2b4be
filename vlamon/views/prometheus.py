"""What a training does right now in Prometheus' text format.

Names of metrics are a label, not the name: a run's own names are no Prometheus names.
GPU names and units follow OpenTelemetry's `hw.gpu` where it has one (a ratio, bytes).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from vlamon.hardware import GpuSample
from vlamon.records import RunInfo, RunState, Status
from vlamon.safe_text import line

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Scrape:
    """One look at a training; all None where none answered."""

    info: RunInfo | None = None
    status: Status | None = None
    latest: Mapping[str, float] = field(default_factory=dict)
    gpu: GpuSample | None = None


def exposition(reading: Scrape) -> str:
    """The page that a scrape gets."""
    return "".join(f"{shown}\n" for shown in _lines(reading))


def _lines(reading: Scrape) -> Iterator[str]:
    info, status = reading.info, reading.status
    up = 0.0 if info is None else 1.0
    yield from _family("vlamon_up", "Whether a training answered.", [({}, up)])
    if info is None:
        return
    run = {"run": info.name}
    about = {**run, "run_id": info.run_id, "host": info.host, "user": info.user}
    yield from _family("vlamon_run_info", "Who trains.", [(about, 1.0)])
    if info.total_steps is not None:
        total = [(run, float(info.total_steps))]
        yield from _family("vlamon_total_steps", "Steps that are planned.", total)
    if status is not None:
        yield from _status(run, status)
    newest: list[Sample] = [({**run, "name": n}, value) for n, value in reading.latest.items()]
    yield from _family("vlamon_metric", "Newest value of each metric.", newest)
    if reading.gpu is not None:
        yield from _gpu(run, reading.gpu)


def _status(run: Labels, status: Status) -> Iterator[str]:
    states = [
        ({**run, "state": state}, float(state == status.state))
        for state in dict.fromkeys((*get_args(RunState), status.state))
    ]
    yield from _family("vlamon_state", "1 for the state that the training is in.", states)
    for name, about, value in (
        ("step", "Last finished step.", status.step),
        ("epoch", "Epoch of that step.", status.epoch),
        ("attempt", "Attempt: one more after each rollback or restart.", status.attempt),
        ("steps_per_second", "Recent speed.", status.steps_per_second),
        ("eta_seconds", "Seconds left.", status.eta),
        ("rollback_budget", "Automatic rollbacks that are left.", status.budget),
        ("status_timestamp_seconds", "When the training said so.", status.time or None),
    ):
        if value is not None:
            yield from _family(f"vlamon_{name}", about, [(run, float(value))])


def _gpu(run: Labels, sample: GpuSample) -> Iterator[str]:
    def each(name: str, about: str, values: Sequence[float | None]) -> Iterator[str]:
        found: list[Sample] = [
            ({**run, "index": str(device.index), "uuid": device.uuid}, float(value))
            for device, value in zip(sample.devices, values, strict=True)
            if value is not None
        ]
        yield from _family(f"vlamon_gpu_{name}", about, found)

    devices = sample.devices
    loads = [None if d.util is None else d.util / 100 for d in devices]
    yield from each("utilization_ratio", "Load of the device.", loads)
    yield from each("memory_used_bytes", "Memory in use.", [d.memory_used for d in devices])
    yield from each("memory_total_bytes", "Its memory.", [d.memory_total for d in devices])
    yield from each("temperature_celsius", "Temperature.", [d.temperature for d in devices])
    yield from each("power_watts", "Power draw.", [d.power for d in devices])
    throttled = [float(bool(d.throttle)) for d in devices]
    yield from each("throttled", "Whether its clocks are held back.", throttled)
    process = sample.process
    if process is not None and process.rss is not None:
        resident: list[Sample] = [(run, float(process.rss))]
        yield from _family("vlamon_process_resident_bytes", "Memory of the process.", resident)


def _family(name: str, about: str, samples: Sequence[Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        listed = ",".join(f'{label}="{_label(text)}"' for label, text in labels.items())
        yield f"{name}{{{listed}}} {_value(value)}"


def _label(text: str) -> str:
    return line(text).replace("\\", "\\\\").replace('"', '\\"')


def _value(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
