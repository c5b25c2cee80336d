"""Which devices are set aside: those whose errors say so, and those on which runs fail that complete elsewhere."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from harness.execution.engines import Fault, Outcome, SetAside

FAILURES = 2  # runs in a row that fail on a device and complete elsewhere, from which on the device is to blame


DEVICES_REMEDY = "Mend or free these devices, or name others with --device; the same command goes on."


def in_words(aside: Mapping[str, str]) -> str:
    """Devices, each with what is wrong with it."""
    return "; ".join(f"{device} ({reason.rstrip('.')})" for device, reason in aside.items())


class Watch:
    """Follows how runs end on which devices."""

    def __init__(self) -> None:
        self.aside: dict[str, str] = {}  # why, by device
        self.failed_on: defaultdict[str, set[str]] = defaultdict(set)  # devices, by digest of the run
        self._suspicions: defaultdict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
        """By device, of the runs that failed on it since one last had a result there: what that weighs, and why."""
        self._completed = set[str]()

    def ended(self, outcome: Outcome, fault: Fault | None) -> Iterator[SetAside]:
        """Take in how a run's attempt ended, and what its process said of its devices; gives what is set aside now."""
        digest, slot = outcome.run.digest, outcome.slot
        if outcome.interrupted or "signal SIGKILL" in outcome.error:  # the system, or a person, and no device
            return
        if outcome.result is None:
            blamed = (fault.device,) if fault and fault.device in slot else slot
            self.failed_on[digest].update(blamed)
            reason = fault.reason if fault else last_line(outcome.error)
            for device in blamed:
                self._suspicions[device][digest] = FAILURES if fault else 1, reason
                if fault and fault.is_sure:
                    yield from self._set_aside(device, reason)
        elif outcome.result.status != "out_of_memory":
            self._completed.add(digest)
            for device in slot:
                self._suspicions[device].clear()
            for device, runs in self._suspicions.items():
                proven = [found for of, found in runs.items() if of in self._completed]
                if sum(weight for weight, _ in proven) >= FAILURES:
                    yield from self._set_aside(device, f"{proven[-1][1]} (elsewhere the same run completed)")

    def _set_aside(self, device: str, reason: str) -> Iterator[SetAside]:
        if device not in self.aside:
            self.aside[device] = reason
            yield SetAside(device=device, reason=reason)


def last_line(error: str) -> str:
    """The last line of a traceback that names an error, which CUDA's hints may follow; of other texts the last line."""
    lines = error.strip().splitlines() or ["no reason was given"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+: ", line)), lines[-1])
