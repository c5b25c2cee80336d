"""From a study to its results: plan, search, run, resume."""
