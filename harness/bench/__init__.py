"""How fast the harness is, beside what people use for the same work: measured side by side in one run.

`benchmark` does what `patchbench bench` asks for: it lets the `contestants` of each part take turns (`contest`), and
keeps and shows the rows of a machine (`bench_page`). `usual_stack` is what others write.
"""
