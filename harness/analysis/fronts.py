"""Which arms are worth their cost: the best accuracy that can be had at each cost, where that is shown."""

import json
from collections import defaultdict

import pandas as pd

from harness.analysis.evidence import Evidence
from harness.analysis.findings import FRONT_COLUMNS, frame
from harness.spec import METRICS, to_plain
from harness.spec.formats import number

COSTS = ("macs_per_image", "train_images_per_second")
"""What figures set accuracy against."""


def fronts_table(evidence: Evidence) -> pd.DataFrame:
    """FRONT_COLUMNS at the largest training size: from the cheapest arm on, each that is shown to gain on the last.

    An arm gains where the interval of its paired difference to the front's last arm lies above 0. Only arms of the
    same data are compared (images of another size are the same data), and none that has lost runs; a front of one arm
    is none.
    """
    size, rows = evidence.sizes[-1], []
    for cost in COSTS:
        groups = defaultdict[str, list[tuple[float, float, str]]](list)
        for arm in evidence.study.all_arms:
            cell, data = (arm.name, size), to_plain(evidence.study.data_of(arm)) | {"image_size": None}
            mean = evidence.contrast({cell: 1.0}).value
            price = number(evidence.median(cell, cost, evidence.rows[cell]))
            if price and number(mean) is not None and not evidence.unfinished(cell):
                dear = -price if METRICS[cost] == "up" else price
                groups[json.dumps(data, sort_keys=True)].append((dear, -mean, arm.name))
        for group, arms in enumerate(groups.values()):
            front: list[str] = []
            for _, _, name in sorted(arms):
                if not front or evidence.difference(name, front[-1], size).sign > 0:
                    front.append(name)
            rows += [(cost, group, name) for name in front] if len(front) > 1 else []
    return frame(rows, FRONT_COLUMNS)
