"""How fast the harness is, beside what people use for the same work: measured side by side in one run."""
