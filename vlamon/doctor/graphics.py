"""Checks of the driver and of PyTorch. Torch itself is never imported: that takes seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlamon.doctor.facts import CheckResult, Facts

DRIVER = "/proc/driver/nvidia/version"


def nvml(facts: Facts) -> Iterator[CheckResult]:
    """Whether the GPUs' load, memory and clocks can be read."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except Exception as problem:  # NVML raises its own types for everything
        if facts.read(DRIVER):
            text = f"the driver is loaded, but NVML fails ({problem}): no GPU panel"
            yield CheckResult("gpu", "warn", text, "nvidia-smi")
        else:
            yield CheckResult("gpu", "note", "no NVIDIA driver on this machine: no GPU panel")
        return
    visible = facts.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "":
        text = f"{count} GPUs, none visible: CUDA_VISIBLE_DEVICES is empty"
        yield CheckResult("gpu", "warn", text, "unset CUDA_VISIBLE_DEVICES")
    else:
        yield CheckResult("gpu", "ok", f"{count} GPUs, driver {_text(version)}")


def torch(facts: Facts) -> Iterator[CheckResult]:
    """Whether PyTorch, which the guard needs, was built for the driver that is here."""
    version, cuda = torch_build()
    if version is None:
        yield CheckResult(
            "torch",
            "note",
            "not installed: enough to watch; the guard needs it",
            "pip install 'vlamon[trainer]'",
        )
        return
    driver = driver_cuda()
    built = f"{version}, {f'CUDA {cuda}' if cuda else 'CPU'}"
    if driver is None:
        yield CheckResult("torch", "ok", built)
    elif cuda is None:
        text = f"{version} is a CPU build, and there is a GPU"
        yield CheckResult("torch", "warn", text, _install(driver))
    elif _pair(cuda)[0] > driver[0]:
        text = f"{version} needs CUDA {cuda}; the driver has {driver[0]}.{driver[1]}"
        yield CheckResult("torch", "warn", text, _install(driver))
    else:
        yield CheckResult("torch", "ok", f"{built} on a driver for {driver[0]}.{driver[1]}")


def torch_build() -> tuple[str | None, str | None]:
    """Version of the installed PyTorch and of the CUDA that it was built for."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None, None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return "unknown", None
    version = re.search(r"^__version__ = '([^']+)'", text, re.M)
    cuda = re.search(r"^cuda(?:: [^=]+)? = '([^']+)'", text, re.M)
    return version[1] if version else "unknown", cuda[1] if cuda else None


def driver_cuda() -> tuple[int, int] | None:
    """Newest CUDA that the driver can run; None where there is no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        pynvml.nvmlShutdown()
    except Exception:  # NVML raises its own types for everything
        return None
    return number // 1000, number % 1000 // 10


def _install(driver: tuple[int, int]) -> str:
    wheel = "cu118" if driver[0] < 12 else "cu126" if driver[0] == 12 else "cu130"
    return f"pip install --upgrade torch --index-url https://download.pytorch.org/whl/{wheel}"


def _pair(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
