"""The machine that a bench ran on, without its name."""

import os
import re
from pathlib import Path
from typing import Any

from harness.records import provenance

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")
"""Of the processor's features, those that decide how fast it multiplies."""


def slug(cpu: str, cores: int, gpu: str = "") -> str:
    """A name for files: the processor's model, its cores that can be used, and the GPU's model where one is used."""
    model = re.sub(r"\((?:r|tm|c)\)|\bcpu\b|\bprocessor\b|@.*", " ", cpu.lower())
    words = f"{model} {cores} core{'s' * (cores != 1)} {gpu.lower()}"
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def gpu_name(device: str) -> str:
    """The GPU's model; empty for `cpu`."""
    if device != "cuda":
        return ""
    import torch

    return torch.cuda.get_device_name()


def described(device: str) -> dict[str, Any]:
    """Processor, cores, features, memory and GPU."""
    import psutil

    hardware = provenance.hardware()
    return {
        "cpu": hardware["cpu"],
        "cores": hardware["cores"],
        "flags": flags(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpu_name(device),
    }


def flags() -> list[str]:
    """Those of FLAGS that the processor has, as Linux tells; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    has = set(found[1].split()) if found else set()
    return [flag for flag in FLAGS if flag in has]


def has_fast_bf16(found: list[str]) -> bool:
    """Whether a processor with these features multiplies bf16 in hardware."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(found))


def load_average() -> float:
    """Processes that wanted to run over the last minute; 0 where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
