"""Where the time of a run's updates goes: a trace and a table of the costliest operations, made after the training.

The first updates are done once more under torch's profiler, which slows them down; so the run itself, its times and its
memory stay as they are without.
"""

import itertools
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity

from harness.data import load
from harness.models import build
from harness.records.files import write_text
from harness.spec import Run, RunConfig
from harness.spec.plural import counted
from harness.training.device import Placement
from harness.training.loop import prepare_training, run_updates

TABLE, TRACE = "profile.txt", "trace.json.gz"
"""Files in the run's folder; the trace opens in https://ui.perfetto.dev or chrome://tracing."""
WARM_UP, RECORDED = 5, 10
"""Updates before the recorded ones, and recorded ones; fewer where a run has fewer."""
ROWS = 10


def profile(run: Run, folder: Path, placement: Placement) -> Path:
    """Do the first updates of a run again and write TABLE and TRACE into `folder`; returns the table's path."""
    config, updates = run.config, run.config.recipe.total_updates
    recorded = min(RECORDED, updates)
    warm_up = min(WARM_UP, updates - recorded)
    dataset = load(config.data, device=placement.device, phase="tune")
    training = prepare_training(config, dataset, placement, teacher=_untrained_teacher(config, placement))
    steps = run_updates(training)
    for _ in itertools.islice(steps, warm_up):
        pass
    activities = [ProfilerActivity.CPU]
    if placement.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in itertools.islice(steps, recorded):
            pass
        placement.synchronise()
    temporary = folder / f".{TRACE}.tmp.gz"  # the profiler packs what ends in .gz
    profiler.export_chrome_trace(str(temporary))
    temporary.replace(folder / TRACE)
    by = "self_device_time_total" if placement.device.type == "cuda" else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=by, row_limit=ROWS, max_name_column_width=60)
    threads = counted(torch.get_num_threads(), "thread")
    length = f"{counted(recorded, 'update')} of {counted(config.recipe.batch_size, 'image')}"
    head = f"{run.label}: {length}, {placement.precision}, {threads}"
    write_text(folder / TABLE, f"{head}\n\n{table}")
    return folder / TABLE


def _untrained_teacher(config: RunConfig, placement: Placement) -> nn.Module | None:
    """A teacher that costs what a trained one costs, where the recipe has one."""
    if config.recipe.distillation is None:
        return None
    return placement.place(build(config.recipe.distillation.teacher, **config.shape)).eval()
