"""How fast the harness is, beside what people use for the same work: measured side by side in one run.

`command.bench` measures parts (`parts.PARTS`), each a module with one function `measure(Settings) -> list[Row]`.
"""
