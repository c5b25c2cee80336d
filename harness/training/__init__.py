"""One training: loop, optimiser, schedule, checkpoint, evaluation, cost."""
