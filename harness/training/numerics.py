"""Whether finished trainings may stand beside new ones: a number that is raised when the same training gives others."""

NUMERICS = 1  # kept with every result. Results of different numbers are not mixed unless the user says so

HISTORY = {1: "the numbers of version 0.1"}  # what changed in the numbers, for each value of `NUMERICS`
