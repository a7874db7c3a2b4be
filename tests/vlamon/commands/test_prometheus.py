"""`vlamon prometheus` is read back by Prometheus' own parser."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.commands.training import environment, training, vlamon
from vlamon.cli import run
from vlamon.hardware import Device, GpuSample
from vlamon.records import RunInfo, Status
from vlamon.views.prometheus import Scrape, exposition

parser = pytest.importorskip(
    "prometheus_client.parser",
    reason="needs prometheus-client, the consumer",
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, metric: str, **labels: str) -> float:
    (found,) = [
        number
        for (name, given), number in samples.items()
        if name == metric and labels.items() <= dict(given).items()
    ]
    return found


def test_every_value_comes_back_exactly_and_no_name_breaks_the_page() -> None:
    evil = 'a"} 1\nforged 2 \\ \x1b[2J'
    device = Device(3, "GPU-1", "H200", 91.0, 5, 9, 70.0, 600.0, 700.0, 1, 2, ("power cap",))
    reading = Scrape(
        RunInfo(run_id="r", name=evil, host="node17", total_steps=500),
        Status("training", 42, epoch=0.5, eta=9.25),
        {"closs": 0.1 + 0.2, "odd": math.nan, evil: math.inf},
        GpuSample(1e9, (device,)),
    )
    text = exposition(reading)
    samples = parsed(text)

    assert value(samples, "vlamon_metric", name="closs") == 0.1 + 0.2
    assert math.isnan(value(samples, "vlamon_metric", name="odd"))
    assert value(samples, "vlamon_state", state="training") == 1
    assert value(samples, "vlamon_state", state="paused") == 0
    assert value(samples, "vlamon_gpu_utilization_ratio", index="3") == 0.91
    assert value(samples, "vlamon_step") == 42
    assert not any(shown.startswith("forged") for shown in text.splitlines())
    assert "\x1b" not in text


def test_a_scrape_of_a_training_that_runs_and_of_none(tmp_path: Path) -> None:
    socket = str(tmp_path / "vla.sock")
    serving = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "vlamon",
            "prometheus",
            "--socket",
            socket,
            "--listen",
            "127.0.0.1:0",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert serving.stderr is not None
        found = re.search(r"http://\S+", serving.stderr.readline())
        assert found is not None

        def scrape() -> Samples:
            with urllib.request.urlopen(found[0], timeout=60) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                return parsed(answer.read().decode())

        assert scrape() == {("vlamon_up", frozenset()): 0.0}
        with training(Path(socket), run_dir=tmp_path / "run"):
            samples = scrape()
        assert value(samples, "vlamon_up") == 1
        assert value(samples, "vlamon_metric", name="loss_ct", run="demo") == 0.13
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(found[0].replace("metrics", "other"), timeout=60)
    finally:
        serving.kill()
        serving.communicate()


def test_a_textfile_appears_whole(tmp_path: Path) -> None:
    place = tmp_path / "vlamon.prom"
    with training(tmp_path / "vla.sock", run_dir=tmp_path / "run"):
        name = str(tmp_path / "vla.sock")
        vlamon(["prometheus", "--socket", name, "--once", "--textfile", str(place)])

    assert value(parsed(place.read_text()), "vlamon_up") == 1
    assert not list(tmp_path.glob(".vlamon-*"))


@pytest.mark.parametrize("listen", ["0.0.0.0:9435", "nowhere", "10.0.0.1:9435", "127.0.0.1:x"])
def test_the_page_is_served_on_loopback_alone(listen: str, capsys: Any) -> None:
    assert run(["prometheus", "--listen", listen]) == 2
    assert "HOST:PORT" in (said := capsys.readouterr().err) or "loopback" in said
