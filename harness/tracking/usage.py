"""How busy this machine is while a launch is at work, as MLflow's monitors of processor, memory and cards tell."""

import contextlib
import time
from typing import Any

SECONDS = 10.0  # least time between two measurements


class Usage:
    """Measures at most every ten seconds; the names are those that MLflow's tab of system metrics knows."""

    def __init__(self) -> None:
        self._monitors: list[Any] = []
        self._at = -SECONDS

    def measured(self) -> dict[str, float]:
        """What is measured now; nothing so soon after the time before."""
        if (now := time.monotonic()) - self._at < SECONDS:
            return {}
        self._at = now
        if not self._monitors:
            self._monitors = _monitors()
        found: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            found |= {f"system/{name}": float(value) for name, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        return found


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors: list[Any] = [CPUMonitor()]
    with contextlib.suppress(ImportError, RuntimeError):  # no card, or no nvidia-ml-py
        monitors.append(GPUMonitor())
    return monitors
