"""Where the time of a run's updates goes: a trace and a table of the costliest operations."""

import itertools
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity

from harness.data import load
from harness.models import build
from harness.records.files import write_text
from harness.spec import Run
from harness.spec.formats import counted
from harness.training.device import Placement
from harness.training.loop import prepare_training, run_updates
from harness.training.start import stand_in

TABLE, TRACE = "profile.txt", "trace.json.gz"
"""Files in the run's folder; the trace opens in https://ui.perfetto.dev or chrome://tracing."""
WARM_UP, RECORDED = 5, 10
"""Updates before the recorded ones, and recorded ones; fewer where a run has fewer."""


def profile(run: Run, folder: Path, placement: Placement) -> Path:
    """Do a run's first updates again and write TABLE and TRACE into `folder`; returns the table's path."""
    config, updates = run.config, run.config.recipe.total_updates
    recorded, learned = min(RECORDED, updates), config.recipe.distillation
    # An untrained teacher costs what a trained one costs.
    teacher = None if learned is None else placement.place(build(learned.teacher, **config.shape)).eval()
    dataset = load(config.data, device=placement.device, phase="tune", seed=config.seed)
    steps = run_updates(prepare_training(config, dataset, placement, teacher=teacher, start=stand_in(config)))
    list(itertools.islice(steps, min(WARM_UP, updates - recorded)))
    placement.synchronise()
    is_cuda = placement.device.type == "cuda"
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * is_cuda]) as profiler:
        list(itertools.islice(steps, recorded))
        placement.synchronise()
    temporary = folder / f".{TRACE}.tmp.gz"  # the profiler packs what ends in .gz
    profiler.export_chrome_trace(str(temporary))
    temporary.replace(folder / TRACE)
    by = "self_device_time_total" if is_cuda else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=by, row_limit=10, max_name_column_width=60)
    threads = counted(torch.get_num_threads(), "thread")
    length = f"{counted(recorded, 'update')} of {counted(config.recipe.batch_size, 'image')}"
    write_text(folder / TABLE, f"{run.label}: {length}, {placement.precision}, {threads}\n\n{table}")
    return folder / TABLE
