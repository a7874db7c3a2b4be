"""What is read from each library, and where: module name to the patch that runs once it is loaded.

A patch wraps a method, calls the original with exactly what it was given, and reports numbers to
the collector afterwards. It returns what the original returns.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from vlamon.taps.collector import Collector
from vlamon.taps.imports import Patch

Report = Callable[[Mapping[str, Any]], None]
"""Gets the arguments of a call by name, as the original's signature names them."""


def wrap(owner: Any, name: str, report: Report, collector: Collector) -> None:
    """Replace `owner.name` by itself followed by `report`, which never raises into the script."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def called(*args: Any, **given: Any) -> Any:
        result = original(*args, **given)
        try:
            report(signature.bind(*args, **given).arguments)
        except Exception as error:
            collector.complain(f"{name}: {type(error).__name__}: {error}")
        return result

    setattr(owner, name, called)


def _wandb(module: ModuleType, collector: Collector) -> None:
    def log(given: Mapping[str, Any]) -> None:
        # Without a step W&B counts its rows, and a row stays open until it is committed.
        more = given.get("commit") is False
        collector.add("wandb", given["data"], given.get("step"), more_to_come=more)

    for kind in _classes_with(module, "log"):
        wrap(kind, "log", log, collector)


def _summary_writer(module: ModuleType, collector: Collector) -> None:
    def scalar(given: Mapping[str, Any]) -> None:
        value = {given["tag"]: given["scalar_value"]}
        collector.add("tensorboard", value, given.get("global_step"))

    def scalars(given: Mapping[str, Any]) -> None:
        tag, values = given["main_tag"], given["tag_scalar_dict"]
        named = {f"{tag}/{name}": value for name, value in values.items()}
        collector.add("tensorboard", named, given.get("global_step"))

    wrap(module.SummaryWriter, "add_scalar", scalar, collector)
    wrap(module.SummaryWriter, "add_scalars", scalars, collector)


def _tracker(source: str, class_name: str, argument: str) -> Patch:
    """A tracker whose class has `log(argument, step=None)`."""

    def patch(module: ModuleType, collector: Collector) -> None:
        def log(given: Mapping[str, Any]) -> None:
            collector.add(source, given[argument], given.get("step"))

        wrap(getattr(module, class_name), "log", log, collector)

    return patch


def _mlflow(module: ModuleType, collector: Collector) -> None:
    def metric(given: Mapping[str, Any]) -> None:
        collector.add("mlflow", {given["key"]: given["value"]}, given.get("step"))

    def metrics(given: Mapping[str, Any]) -> None:
        collector.add("mlflow", given["metrics"], given.get("step"))

    wrap(module, "log_metric", metric, collector)
    wrap(module, "log_metrics", metrics, collector)


def _transformers(module: ModuleType, collector: Collector) -> None:
    def created(given: Mapping[str, Any]) -> None:
        from vlamon.integrations.transformers import VlamonCallback

        trainer = given["self"]
        present = trainer.callback_handler.callbacks
        if not any(isinstance(callback, VlamonCallback) for callback in present):
            trainer.add_callback(VlamonCallback(sink=collector))

    wrap(module.Trainer, "__init__", created, collector)


def _lightning(module: ModuleType, collector: Collector) -> None:
    def created(given: Mapping[str, Any]) -> None:
        from vlamon.integrations.lightning import Hooks, callback_class

        trainer = given["self"]
        if not any(isinstance(callback, Hooks) for callback in trainer.callbacks):
            kind = callback_class(module.__name__.partition(".")[0])
            trainer.callbacks.append(kind(sink=collector))

    wrap(module.Trainer, "__init__", created, collector)


def _lerobot(module: ModuleType, collector: Collector) -> None:
    from vlamon.integrations.lerobot import watch_lerobot

    watch_lerobot(collector)


def _lerobot_plugins(module: ModuleType, collector: Collector) -> None:
    """The script may run as `__main__`, which no import announces; it loads plug-ins first."""
    original = module.register_third_party_plugins

    @functools.wraps(original)
    def register_third_party_plugins(*args: Any, **given: Any) -> Any:
        try:  # before vlamon's own plug-in, which leaves alone what is watched
            _lerobot(module, collector)
        except Exception as error:
            collector.complain(f"lerobot: {type(error).__name__}: {error}")
        return original(*args, **given)

    module.register_third_party_plugins = register_third_party_plugins  # type: ignore[attr-defined]


def patch_meters(module: ModuleType, collector: Collector) -> None:
    """DeiT's MetricLogger and its descendants: `update(**values)` once or more per batch."""
    logger = getattr(module, "MetricLogger", None)
    if not isinstance(logger, type) or not {"update", "log_every"} <= vars(logger).keys():
        return
    meters = _Meters(collector)
    wrap(logger, "update", meters.update, collector)
    # A generator's function returns at once, before its first batch.
    wrap(logger, "log_every", meters.begin, collector)


class _Meters:
    """Which batch each MetricLogger is at: one is made per epoch, another per evaluation."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._seen: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()
        self._evaluating: weakref.WeakSet[Any] = weakref.WeakSet()
        self._step = -1

    def begin(self, given: Mapping[str, Any]) -> None:
        """`header` is what the logger prints before its lines: `Epoch: [3]`, `Test:`."""
        header = str(given.get("header") or "").strip().lower()
        if header.startswith(("test", "val", "eval")):
            self._evaluating.add(given["self"])

    def update(self, given: Mapping[str, Any]) -> None:
        """A batch's values, or some more of the same batch."""
        logger, *rest = given.values()
        values = {name: value for part in rest for name, value in part.items()}
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
    "swanlab.sdk.internal.run": _tracker("swanlab", "Run", "data"),
    "lerobot.scripts.lerobot_train": _lerobot,
    "lerobot.utils.import_utils": _lerobot_plugins,
    "trackio.run": _tracker("trackio", "Run", "metrics"),
    "mlflow.tracking.fluent": _mlflow,
    "accelerate.accelerator": _tracker("accelerate", "Accelerator", "values"),
    "transformers.trainer": _transformers,
    "lightning.pytorch.trainer.trainer": _lightning,
    "pytorch_lightning.trainer.trainer": _lightning,
}
