"""What is checked where the trainings will run, before the first one: the data, the device, the models."""

from collections.abc import Collection, Iterable

from harness.data import load
from harness.data.survey import survey
from harness.execution.engines import Prepared
from harness.spec import DataSpec
from harness.training.device import choose


def prepare(data: Iterable[DataSpec], surveyed: Collection[DataSpec], device: str, precision: str) -> Prepared:
    """Load every data set once (which checks and caches it), look at those `surveyed`, and choose the device.

    Raises `InvalidInput` for data or a device that will not do.
    """
    placement = choose(device, precision)
    found = []
    for spec in data:
        loaded = load(spec, device="cpu", phase="confirm")
        if spec in surveyed:
            found.append(survey(spec, loaded))
    return Prepared(device=str(placement.device), precision=placement.precision, data=tuple(found))
