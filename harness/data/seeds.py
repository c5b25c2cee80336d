"""Independent seeds for each purpose, from one root seed."""

import hashlib
import json


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(0, "order", epoch)`; the same on every machine and version."""
    text = json.dumps([seed, *purpose], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
