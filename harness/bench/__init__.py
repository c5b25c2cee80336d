"""How fast the harness is, beside what people use for the same work: measured side by side in one run.

`benchmark` does what `patchbench bench` asks for. It calls the parts, `part_step`, `part_data` and `part_study`: each
makes contenders of a workload (`workloads`) or of a whole command, and lets them take turns (`contest`), which gives
`rows`. `peers` and `usual_stack` are what others write; `bench_file` keeps the rows of a machine, `targets` judges
them, `bench_page` shows them.
"""
