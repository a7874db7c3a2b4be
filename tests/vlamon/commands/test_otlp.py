"""`vlamon otlp` is read back by OpenTelemetry's own protocol buffers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.alerts.servers import http_server
from tests.vlamon.commands.training import training, vlamon
from vlamon.cli import run
from vlamon.commands.otlp import headers_of, target
from vlamon.errors import VlamonError
from vlamon.hardware import Device, GpuSample
from vlamon.records import RunInfo, Status
from vlamon.views.otlp import request
from vlamon.views.prometheus import Scrape

EVIL = 'a"} \x1b[2J\n'


def decoded(document: Any) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The points by metric, as a collector decodes them."""
    service = pytest.importorskip(
        "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
        reason="needs opentelemetry-proto, the consumer",
    )
    from google.protobuf import json_format

    message = json_format.Parse(json.dumps(document), service.ExportMetricsServiceRequest())
    (resource,) = message.resource_metrics
    (scope,) = resource.scope_metrics
    assert scope.scope.name == "vlamon"
    return {
        metric.name: [
            ({each.key: each.value.string_value for each in point.attributes}, point.as_double)
            for point in metric.gauge.data_points
        ]
        for metric in scope.metrics
    } | {"resource": [({a.key: a.value.string_value for a in resource.resource.attributes}, 0.0)]}


def test_every_value_comes_back_exactly() -> None:
    device = Device(3, "GPU-1", "H200", 91.0, 5, 9, 70.0, 600.0, 700.0, 1, 2, ("power cap",))
    found = decoded(
        request(
            Scrape(
                RunInfo(run_id="r", name=EVIL, host="node17", total_steps=500),
                Status("training", 42, epoch=0.5, eta=9.25),
                {"closs": 0.1 + 0.2, "odd": math.nan, "big": math.inf, EVIL: -math.inf},
                GpuSample(1e9, (device,)),
            )
        )
    )
    values = {labels["name"]: value for labels, value in found["vlamon.metric"]}
    assert values["closs"] == 0.1 + 0.2
    assert math.isnan(values["odd"])
    assert values["big"] == math.inf
    assert found["vlamon.step"] == [({}, 42.0)]
    assert ({"state": "training"}, 1.0) in found["vlamon.state"]
    (gpu,) = found["hw.gpu.utilization"]
    assert gpu[0]["hw.id"] == device.uuid
    assert gpu[1] == pytest.approx(0.91)
    assert found["resource"][0][0]["host.name"] == "node17"
    assert "\x1b" not in str(found)


def test_a_training_is_exported_and_one_that_is_gone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = str(tmp_path / "vla.sock")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20key")
    with http_server() as server:
        command = ["otlp", "--socket", socket, "--endpoint", server.url, "--once"]
        with training(Path(socket), run_dir=tmp_path / "run"):
            vlamon(command)
        vlamon(command)
        (path, headers, running), (_, _, gone) = server.requests
    assert path == "/v1/metrics"
    assert headers["Authorization"] == "Bearer key"
    assert headers["Content-Type"].startswith("application/json")
    found = decoded(running)
    assert found["vlamon.up"] == [({}, 1.0)]
    assert ({"name": "loss_ct"}, 0.13) in found["vlamon.metric"]
    assert decoded(gone)["vlamon.up"] == [({}, 0.0)]


def test_a_collector_that_refuses_is_a_sentence(tmp_path: Path, capsys: Any) -> None:
    socket = str(tmp_path / "vla.sock")
    with http_server() as server:
        server.code = 503
        assert run(["otlp", "--socket", socket, "--endpoint", server.url, "--once"]) == 1
    assert run(["otlp", "--socket", socket, "--endpoint", server.url, "--once"]) == 1
    said = capsys.readouterr().err
    assert "nothing was exported: the server answered 503" in said
    assert "cannot be reached" in said
    assert "Traceback" not in said


def test_the_endpoint_and_the_headers_are_opentelemetrys() -> None:
    assert target(None, {}) == "http://127.0.0.1:4318/v1/metrics"
    assert target("http://c:1/", {}) == "http://c:1/v1/metrics"
    assert target(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}) == "http://c:1/v1/metrics"
    exact = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:1/other"}
    assert target(None, exact) == "http://c:1/other"
    assert headers_of({"OTEL_EXPORTER_OTLP_HEADERS": "a=b%2Cc, d=e"}) == {"a": "b,c", "d": "e"}
    with pytest.raises(VlamonError):
        headers_of({"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0Ac"})
