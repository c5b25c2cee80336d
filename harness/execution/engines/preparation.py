"""What is checked where the trainings will run, before the first one: the data, the device, the models."""

from collections.abc import Iterable

from harness.data import load
from harness.spec import DataSpec
from harness.training.device import choose


def prepare(data: Iterable[DataSpec], device: str, precision: str) -> dict[str, str]:
    """Load every data set once (which checks and caches it) and choose the device.

    Returns `device` and `precision` as they will be used. Raises `InvalidInput` for data or a device that will not do.
    """
    placement = choose(device, precision)
    for spec in data:
        load(spec, device="cpu", phase="confirm")
    return {"device": str(placement.device), "precision": placement.precision}
