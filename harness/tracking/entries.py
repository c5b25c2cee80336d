"""What MLflow should hold about one training, computed from the run's folder alone; nothing here knows MLflow."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.records.files import sha256
from harness.records.journal import Event
from harness.records.runs import RunFolder, RunResult
from harness.spec import canonical_json
from harness.spec.plural import counted

LONGEST_PARAM = 6000
"""MLflow's limit for the value of a parameter, characters."""

FINAL_METRICS = (
    "test_accuracy",
    "test_loss",
    "train_images_per_second",
    "eval_images_per_second",
    "train_seconds",
    "peak_memory_bytes",
    "eval_peak_memory_bytes",
    "params",
    "macs_per_image",
    "attention_macs_per_image",
)
"""Metrics that a run has once, with its result; named as in runs.csv."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a metric."""

    key: str
    value: float
    time: int
    """When it was measured, ms since 1970."""
    step: int
    """Updates done; of the test of shifted images, the shift in pixels; 0 of what a run has once."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One training as MLflow should show it."""

    digest: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[Point, ...]
    start: int
    """ms since 1970."""
    end: int | None
    status: Literal["FINISHED", "FAILED"] | None
    """MLflow's word for how it ended; None while there is no result."""
    source: str
    data_hash: str

    @property
    def fingerprint(self) -> str:
        """Changes whenever anything changes that MLflow should show; tells whether the mirror is up to date."""
        return sha256(canonical_json(self).encode())[:16]


def read_entry(folder: RunFolder, study: str, scale: str) -> Entry | None:
    """The entry of a run; None for a folder that holds no configuration yet. `RecordsError` for a damaged one."""
    if not folder.config_path.exists():
        return None
    content, events, result = folder.config(), folder.journal(), folder.result()
    config = content["config"]
    written = folder.config_path.stat().st_mtime_ns // 1_000_000
    finished = [event for event in events if event["event"] == "finished"]
    end = (finished or events or [{"time": written}])[-1]["time"]
    tags = {"study": study, "scale": scale} | _tags(content)
    if result is not None:
        tags |= {"status": result.status, "code_fingerprint": result.code_fingerprint}
    return Entry(
        digest=content["digest"],
        name=_name(content),
        tags=tags,
        params={key: value[:LONGEST_PARAM] for key, value in _flat(config)},
        points=(*_evaluations(events), *_finals(result, end), *_shifts(result, end)),
        start=_start(events, written),
        end=None if result is None else end,
        status=None if result is None else "FINISHED" if result.status == "completed" else "FAILED",
        source=config["data"]["source"],
        data_hash=config["data_hash"],
    )


def _name(content: Mapping[str, Any]) -> str:
    config = content["config"]
    part = f"trial {content['trial']}" if config["phase"] == "tune" else f"seed {config['seed']}"
    return f"{content['arm']} · {part} · {counted(config['data']['train_size'], 'image')}"  # lists cut what comes last


def _tags(content: Mapping[str, Any]) -> dict[str, str]:
    config = content["config"]
    values = {
        "arm": content["arm"],
        "phase": config["phase"],
        "seed": config["seed"],
        "train_size": config["data"]["train_size"],
        "digest": content["digest"],
        "trial": content["trial"],
    }
    return {key: str(value) for key, value in values.items() if value is not None}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested fields as `recipe.augmentation.flip`; lists as JSON."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else str(value)


def _evaluations(events: list[Event]) -> Iterator[Point]:
    for event in events:
        if event["event"] == "evaluated":
            for key, value in event.items():
                if key not in ("time", "update") and isinstance(value, int | float):
                    yield Point(key=key, value=float(value), time=event["time"], step=event["update"])


def _finals(result: RunResult | None, time: int) -> Iterator[Point]:
    """From the result, not from the event `finished`: a run killed between the two writes that event again.

    At step 0: then MLflow draws them as bars, a bar per run.
    """
    if result is not None:
        for key in FINAL_METRICS:
            value = getattr(result, key)
            if value is not None:
                yield Point(key=key, value=float(value), time=time, step=0)


def _shifts(result: RunResult | None, time: int) -> Iterator[Point]:
    """The test of shifted images, from the plain test on: a curve over the shift."""
    for shift in () if result is None else result.shift_curve:
        yield Point(key="shifted_accuracy", value=shift.accuracy, time=time, step=shift.pixels)
        yield Point(key="shift_agreement", value=shift.agreement, time=time, step=shift.pixels)


def _start(events: list[Event], written: int) -> int:
    """When training began, from the first event where there is one, so that a rebuilt mirror says the same."""
    if not events:
        return written
    first = events[0]
    return int(first["time"] - 1000 * first.get("seconds", 0))
