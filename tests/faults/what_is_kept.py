"""What a study leaves, without its times and ids: equal after a fault to what an undisturbed one leaves."""

import contextlib
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CLOCKS = ("time", "seconds", "per_second", "peak_memory_bytes", "wall", "created", "started", "ended")
"""Parts of the names of what differs from one time to the next."""

LINKS = ("mlflow.parentRunId", "mirrored", "mlflow.user", "mlflow.source.name")
"""Tags that hold ids, or that follow from times."""


def kept(results: Path, study: str) -> dict[str, Any]:
    """All that is compared, by name."""
    folder = results / study / "smoke"
    found: dict[str, Any] = {f"table {path.name}": table(path) for path in sorted(folder.glob("*.csv"))}
    with np.load(folder / "predictions.npz") as content:
        found["predictions"] = {name: content[name].tolist() for name in content.files}
    for path in sorted(folder.glob("work/runs/*")):
        found[f"journal {path.name[:8]}"] = [timeless(json.loads(line)) for line in lines(path / "journal.jsonl")]
        result = json.loads((path / "result.json").read_bytes())["result"]
        found[f"result {path.name[:8]}"] = timeless(result | {"files": sorted(result["files"]), "environment": None})
    found["files"] = files(folder)
    found["unfinished files"] = sorted(str(path.relative_to(results)) for path in results.rglob(".*.tmp"))
    found["looks"] = [timeless(json.loads(line)) for line in lines(folder / "looks.jsonl")]
    found["study"] = json.loads((folder / "study.json").read_bytes())["study"]
    return found | mirrored(results, study)


def files(folder: Path) -> list[str]:
    """Names of all files, but for what was set aside: nothing half-written stays."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not {"set_aside", "damaged"} & set(path.parts))


def table(path: Path) -> str:
    frame = pd.read_csv(path)
    return frame.drop(columns=[name for name in frame if is_clock(name)]).to_csv()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def timeless(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if not is_clock(key)}


def is_clock(name: str) -> bool:
    return any(part in name for part in CLOCKS)


def mirrored(results: Path, study: str) -> dict[str, Any]:
    """What MLflow holds of a study: each training, and whether anything is there twice or still running."""
    with contextlib.closing(sqlite3.connect(results / "mlflow.db")) as database:
        runs = database.execute(
            "select run_uuid, runs.name, status from runs join experiments using (experiment_id) "
            "where experiments.name = ? and runs.lifecycle_stage = 'active'",
            (f"{study}/smoke",),
        ).fetchall()
        found: dict[str, Any] = {}
        digests: Counter[str] = Counter()
        statuses = set()
        for run, name, status in runs:
            tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run,)))
            if "digest" not in tags:
                statuses.add(status)
                continue
            digests[tags["digest"]] += 1
            found[f"mlflow {tags['digest'][:8]}"] = {
                "name": name,
                "status": status,
                "tags": {key: value for key, value in tags.items() if key not in LINKS},
                "params": sorted(database.execute("select key, value from params where run_uuid = ?", (run,))),
                "metrics": sorted(
                    row
                    for row in database.execute("select key, step, value from metrics where run_uuid = ?", (run,))
                    if not is_clock(row[0])
                ),
                "data": database.execute("select count(*) from inputs where destination_id = ?", (run,)).fetchall(),
            }
    found["mlflow: each once"] = set(digests.values()) == {1}
    found["mlflow: running"] = sum(status == "RUNNING" for _, _, status in runs)
    found["mlflow: launches at an end"] = "RUNNING" not in statuses and "FINISHED" in statuses
    return found


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """The names under which two studies differ, with both values, shortened."""
    return [
        f"{name}: {str(expected.get(name))[:300]} != {str(found.get(name))[:300]}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
