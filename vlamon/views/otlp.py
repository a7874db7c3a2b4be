"""What a training does right now as an OTLP metrics request, in the JSON encoding of OTLP/HTTP.

Names follow OpenTelemetry's conventions where there is one (`hw.*`, `process.*`); a run's own
metrics are one name, `vlamon.metric`, with an attribute, because conventions forbid free names.
JSON needs no library, and every collector takes it on the port that protocol buffers come in on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from vlamon.hardware import GpuSample
from vlamon.records import RunInfo, RunState, Status
from vlamon.safe_text import line
from vlamon.views.prometheus import Scrape

Point = tuple[Mapping[str, str], float]


def request(reading: Scrape, now: float | None = None) -> dict[str, Any]:
    """The document of one export; without a training it holds `vlamon.up` 0 alone."""
    nanoseconds = str(int((time.time() if now is None else now) * 1e9))
    metrics = [
        _gauge(name, about, unit, points, nanoseconds)
        for name, about, unit, points in _families(reading)
        if points
    ]
    scope = {"scope": {"name": "vlamon"}, "metrics": metrics}
    resource = {"attributes": _attributes(_resource(reading.info))}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}


def _resource(info: RunInfo | None) -> dict[str, str]:
    if info is None:
        return {"service.name": "vlamon"}
    return {
        "service.name": info.name,
        "service.namespace": "vlamon",
        "service.instance.id": info.run_id,
        "host.name": info.host,
        "process.owner": info.user,
    }


def _families(reading: Scrape) -> Iterator[tuple[str, str, str, list[Point]]]:
    """Name, description, unit in UCUM, and the points."""
    info = reading.info
    yield "vlamon.up", "Whether a training answered.", "1", [({}, float(info is not None))]
    if info is not None and info.total_steps is not None:
        total = float(info.total_steps)
        yield "vlamon.total_steps", "Steps that are planned.", "{step}", [({}, total)]
    newest: list[Point] = [({"name": name}, value) for name, value in reading.latest.items()]
    yield "vlamon.metric", "Newest value of each metric.", "1", newest
    if reading.status is not None:
        yield from _status(reading.status)
    if reading.gpu is not None:
        yield from _gpu(reading.gpu)


def _status(status: Status) -> Iterator[tuple[str, str, str, list[Point]]]:
    states = dict.fromkeys((*get_args(RunState), status.state))
    is_in: list[Point] = [({"state": state}, float(state == status.state)) for state in states]
    yield "vlamon.state", "1 for the state that the training is in.", "1", is_in
    for name, about, unit, value in (
        ("step", "Last finished step.", "{step}", status.step),
        ("epoch", "Epoch of that step.", "{epoch}", status.epoch),
        ("attempt", "One more after each rollback or restart.", "{attempt}", status.attempt),
        ("speed", "Recent speed.", "{step}/s", status.steps_per_second),
        ("eta", "Time left.", "s", status.eta),
        ("rollback_budget", "Automatic rollbacks left.", "{rollback}", status.budget),
    ):
        if value is not None:
            yield f"vlamon.{name}", about, unit, [({}, float(value))]


def _gpu(sample: GpuSample) -> Iterator[tuple[str, str, str, list[Point]]]:
    for name, about, unit, field, scale in (
        ("hw.gpu.utilization", "Load of the device.", "1", "util", 0.01),
        ("hw.gpu.memory.usage", "Memory in use.", "By", "memory_used", 1.0),
        ("hw.gpu.memory.limit", "Memory of the device.", "By", "memory_total", 1.0),
        ("hw.temperature", "Temperature.", "Cel", "temperature", 1.0),
        ("hw.power", "Power draw.", "W", "power", 1.0),
    ):
        points: list[Point] = []
        for device in sample.devices:
            value = getattr(device, field)
            if value is not None:
                about_it = {"hw.id": device.uuid, "hw.name": device.name, "hw.type": "gpu"}
                points.append((about_it, float(value) * scale))
        yield name, about, unit, points
    process = sample.process
    if process is not None and process.rss is not None:
        resident: list[Point] = [({}, float(process.rss))]
        yield "process.memory.usage", "Memory of the training process.", "By", resident


def _gauge(name: str, about: str, unit: str, points: list[Point], when: str) -> dict[str, Any]:
    found = [
        {"attributes": _attributes(labels), "timeUnixNano": when, "asDouble": _double(value)}
        for labels, value in points
    ]
    return {"name": name, "description": about, "unit": unit, "gauge": {"dataPoints": found}}


def _attributes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"stringValue": line(text)}} for key, text in labels.items() if text
    ]


def _double(value: float) -> float | str:
    """Numbers that JSON lacks are words in the JSON encoding of protocol buffers."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
