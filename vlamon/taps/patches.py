"""What is read from each library, and where: module name to the patch that runs once it is loaded.

A patch wraps a method, calls the original with exactly what it was given, and reports numbers to
the collector afterwards. It returns what the original returns.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from vlamon.taps.collector import Collector
from vlamon.taps.imports import Patch

Report = Callable[..., None]


def wrap(owner: Any, name: str, report: Report) -> None:
    """Replace `owner.name` by itself followed by `report` with the same arguments."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)

    @functools.wraps(original)
    def called(*args: Any, **given: Any) -> Any:
        result = original(*args, **given)
        report(*args, **given)
        return result

    setattr(owner, name, called)


def _wandb(module: ModuleType, collector: Collector) -> None:
    def log(run: Any, data: Any, step: Any = None, commit: Any = None, *_: Any, **__: Any) -> None:
        if not isinstance(data, Mapping):
            return
        # Without a step W&B counts its rows, and a row stays open until it is committed.
        collector.add("wandb", data, step, more_to_come=commit is False)

    for kind in _classes_with(module, "log"):
        wrap(kind, "log", log)


def _summary_writer(module: ModuleType, collector: Collector) -> None:
    def scalar(writer: Any, tag: str, value: Any, step: Any = None, *_: Any, **given: Any) -> None:
        step = given.get("global_step", step)
        collector.add("tensorboard", {tag: given.get("scalar_value", value)}, step)

    def scalars(
        writer: Any, tag: str, values: Any, step: Any = None, *_: Any, **given: Any
    ) -> None:
        step = given.get("global_step", step)
        collector.add("tensorboard", {f"{tag}/{name}": v for name, v in values.items()}, step)

    wrap(module.SummaryWriter, "add_scalar", scalar)
    wrap(module.SummaryWriter, "add_scalars", scalars)


def _tracker(source: str, class_name: str) -> Patch:
    """A tracker whose class has `log(values, step=None)`."""

    def patch(module: ModuleType, collector: Collector) -> None:
        def log(run: Any, values: Any, step: Any = None, *_: Any, **__: Any) -> None:
            if isinstance(values, Mapping):
                collector.add(source, values, step)

        wrap(getattr(module, class_name), "log", log)

    return patch


def _mlflow(module: ModuleType, collector: Collector) -> None:
    def metric(key: str, value: Any, step: Any = None, *_: Any, **__: Any) -> None:
        collector.add("mlflow", {key: value}, step)

    def metrics(values: Any, step: Any = None, *_: Any, **__: Any) -> None:
        collector.add("mlflow", values, step)

    wrap(module, "log_metric", metric)
    wrap(module, "log_metrics", metrics)


def _transformers(module: ModuleType, collector: Collector) -> None:
    def created(trainer: Any, *_: Any, **__: Any) -> None:
        from vlamon.integrations.transformers import VlamonCallback

        present = trainer.callback_handler.callbacks
        if not any(isinstance(callback, VlamonCallback) for callback in present):
            trainer.add_callback(VlamonCallback(sink=collector))

    wrap(module.Trainer, "__init__", created)


def _lightning(module: ModuleType, collector: Collector) -> None:
    def created(trainer: Any, *_: Any, **__: Any) -> None:
        from vlamon.integrations.lightning import VlamonCallback, callback_class

        if not any(isinstance(callback, VlamonCallback) for callback in trainer.callbacks):
            kind = callback_class(module.__name__.partition(".")[0])
            trainer.callbacks.append(kind(sink=collector))

    wrap(module.Trainer, "__init__", created)


def _lerobot(module: ModuleType, collector: Collector) -> None:
    from vlamon.integrations.lerobot import watch_updates

    watch_updates(module, collector)


def patch_meters(module: ModuleType, collector: Collector) -> None:
    """DeiT's MetricLogger and its descendants: `update(**values)` once or more per batch."""
    logger = getattr(module, "MetricLogger", None)
    if not isinstance(logger, type) or not {"update", "log_every"} <= vars(logger).keys():
        return
    meters = _Meters(collector)
    wrap(logger, "update", meters.update)
    original = logger.__dict__["log_every"]

    @functools.wraps(original)
    def log_every(self: Any, *args: Any, **given: Any) -> Any:
        header = given.get("header", args[2] if len(args) > 2 else "")
        meters.begin(self, str(header))
        return original(self, *args, **given)

    logger.log_every = log_every  # type: ignore[attr-defined]


class _Meters:
    """Which batch each MetricLogger is at: one is made per epoch, another per evaluation."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._seen: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()
        self._evaluating: weakref.WeakSet[Any] = weakref.WeakSet()
        self._step = -1

    def begin(self, logger: Any, header: str) -> None:
        """`header` is what the logger prints before its lines: `Epoch: [3]`, `Test:`."""
        if header.lower().lstrip().startswith(("test", "val", "eval")):
            self._evaluating.add(logger)

    def update(self, logger: Any, *_: Any, **values: Any) -> None:
        """A batch's values, or some more of the same batch."""
        if logger in self._evaluating:
            return  # one row per evaluated batch would pass for training
        names = self._seen.setdefault(logger, set())
        if not names or not names.isdisjoint(values):  # the same meter again: another batch
            self._step += 1
            names.clear()
        names.update(values)
        self._collector.add("MetricLogger", values, self._step)


def _classes_with(module: ModuleType, method: str) -> list[type]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__ and method in vars(kind)
    ]


PATCHES: Mapping[str, Patch] = {
    "wandb.sdk.wandb_run": _wandb,
    "wandb.sdk.lib.noop_run": _wandb,
    "torch.utils.tensorboard.writer": _summary_writer,
    "tensorboardX.writer": _summary_writer,
    "swanlab.sdk.internal.run": _tracker("swanlab", "Run"),
    "lerobot.scripts.lerobot_train": _lerobot,
    "trackio.run": _tracker("trackio", "Run"),
    "mlflow.tracking.fluent": _mlflow,
    "accelerate.accelerator": _tracker("accelerate", "Accelerator"),
    "transformers.trainer": _transformers,
    "lightning.pytorch.trainer.trainer": _lightning,
    "pytorch_lightning.trainer.trainer": _lightning,
}
