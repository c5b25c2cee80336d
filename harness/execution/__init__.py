"""From a study to its results: plan, search, run, resume."""


class StudyInterrupted(Exception):
    """The study was asked to stop; everything is kept and the same command goes on."""
