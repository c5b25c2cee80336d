"""What MLflow should hold about one training, computed from the run's folder alone; nothing here knows MLflow."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.records.files import sha256
from harness.records.runs import Event, RunFolder
from harness.spec import canonical_json
from harness.spec.formats import counted
from harness.spec.run import leaves, part_of_study

LONGEST_PARAM = 6000  # MLflow's limit for the value of a parameter, characters

GROUPS = {  # MLflow draws what is before the slash as a section of charts; what follows is named as in runs.csv
    "test": ("test_accuracy", "test_loss", "balanced_accuracy", "top5_accuracy"),
    "model": ("params", "macs_per_image", "attention_macs_per_image"),
    "cost": (
        *("train_images_per_second", "eval_images_per_second", "train_seconds"),
        *("peak_memory_bytes", "eval_peak_memory_bytes"),
    ),
}
"""Metrics that a run has once, with its result."""
VALIDATION = "validation/accuracy"
SEEN = "train/images_seen"
LOSS = "train/loss"
COLOUR = "mlflow.runColor"  # tag of the colour that MLflow draws a run in, `#rrggbb`


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    time: int  # when it was measured, ms since 1970
    step: int  # updates done; of the test of shifted images, the shift in pixels; 0 of what a run has once


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One training as MLflow should show it."""

    digest: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[Point, ...]  # as measured, so that what MLflow has of a training under way begins them
    start: int  # ms since 1970
    end: int | None
    status: Literal["FINISHED", "FAILED"] | None  # MLflow's word for how it ended; None while there is no result
    source: str
    data_hash: str

    def mark(self, number: int | None = None) -> str:
        """Tells the first `number` points (all by default) from any others: their number and a hash."""
        points = self.points[:number]
        return f"{len(points)} {sha256(canonical_json(points).encode())[:16]}"


def grouped(key: str, group: str = "train") -> str:
    """A metric of the records as MLflow gets it: `validation_accuracy` as `validation/accuracy`."""
    for start in ("validation", group):
        if key.startswith(f"{start}_"):
            return f"{start}/{key.removeprefix(f'{start}_')}"
    return f"{group}/{key}"


def read_entry(folder: RunFolder, study: str, scale: str, colours: Mapping[str, str] = {}) -> Entry:
    """The entry of a run, in the colour of its arm where that is given; `RecordsError` for a damaged one."""
    content, events, result = folder.config(), folder.journal(), folder.result()
    config, written = content["config"], folder.config_path.stat().st_mtime_ns // 1_000_000
    finished = [event for event in events if event["event"] == "finished"]
    end = int((finished or events or [{"time": written}])[-1]["time"])
    # From the first event where there is one, so that a rebuilt mirror says the same.
    start = int(events[0]["time"] - 1000 * events[0].get("seconds", 0)) if events else written
    size, trial, search = config["data"]["train_size"], content["trial"], content.get("search")
    part = part_of_study(trial, search, config["seed"])
    tags = {"study": study, "scale": scale, "arm": content["arm"], "phase": config["phase"], "seed": config["seed"]}
    tags |= {"train_size": size, "digest": content["digest"]} | ({} if trial is None else {"trial": trial})
    tags |= {} if search is None else {"search": search}
    tags |= {COLOUR: colours[content["arm"]]} if content["arm"] in colours else {}
    if result is not None:
        tags |= {"status": result.status, "code_fingerprint": result.code_fingerprint}
    points = [point for event in events if event["event"] == "evaluated" for point in _evaluated(event)]
    if result is not None:
        # From the result, not from the event `finished`: a run killed between the two writes that event again.
        # At step 0: then MLflow draws them as bars, a bar per run.
        finals = ((grouped(key, group), getattr(result, key)) for group, keys in GROUPS.items() for key in keys)
        points += [Point(key, float(value), end, 0) for key, value in finals if value is not None]
        for shift in result.shift_curve:
            points.append(Point("test/shifted_accuracy", shift.accuracy, end, shift.pixels))
            points.append(Point("test/shift_agreement", shift.agreement, end, shift.pixels))
        points += [Point("test/accuracy_by_patch_size", at.accuracy, end, at.patch_size) for at in result.patches]
        points += [Point("test/few_shot_accuracy", of.accuracy, end, of.shots) for of in result.few_shots]
    return Entry(
        digest=content["digest"],
        name=f"{content['arm']} · {part} · {counted(size, 'image')}",  # lists cut what comes last
        tags={key: str(value) for key, value in tags.items()},
        params={
            key: (json.dumps(value) if isinstance(value, list | dict) else str(value))[:LONGEST_PARAM]
            for key, value in leaves(config).items()
        },
        points=tuple(points),
        start=start,
        end=None if result is None else end,
        status=None if result is None else "FINISHED" if result.status == "completed" else "FAILED",
        source=config["data"]["source"],
        data_hash=config["data_hash"],
    )


def _evaluated(event: Event) -> Iterator[Point]:
    """The numbers of an evaluation, and the losses before it: in place of their mean where there is a curve of them."""
    curve = event.get("loss_curve")
    for update, loss in curve or ():
        yield Point(LOSS, float(loss), event["time"], update)
    for key, value in event.items():
        is_told = key in ("time", "update") or (curve is not None and grouped(key) == LOSS)
        if isinstance(value, int | float) and not is_told:
            yield Point(grouped(key), float(value), event["time"], event["update"])
