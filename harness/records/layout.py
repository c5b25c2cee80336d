"""Where everything of a study lies: what is published, and `work/`, from which it is made."""

import os
import shlex
from pathlib import Path

from harness.spec import InvalidInput, ResolvedStudy

STUDY_FILE = "study.json"

REPORT_FILE = "report.json"  # what a report says, for programs
_PUBLISHED = ("report.html", "REPORT.md", REPORT_FILE, "runs.csv", "trials.csv", "comparisons.csv", "claims.csv")


class StudyFolder:
    """The folder `results/<study>/<scale>`; names places, opens nothing.

    The tables, pages and figures in it are published; `work/` is what trainings leave, and is never shared. Of the
    folder of all results it names what belongs to all studies: their `write_lock`, and what was set `aside`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.study_file, self.figures, self.work = path / STUDY_FILE, path / "figures", path / "work"
        self.inside = path / "inside"  # figures of what was seen inside the models
        self.runs = self.work / "runs"  # a folder per run, by its digest
        self.models = self.work / "models"  # a folder per arm: the best model
        self.models_by_size = self.work / "models_by_size"  # that of an arm with fewer training images, to look into
        self.aside = self.work / "set_aside"  # what was damaged, or is of other settings or other code
        self.lock = self.work / "lock"  # held by the coordinator
        self.write_lock = self.work / "turn"  # held while the tables and the report are written
        self.status = self.work / "status.json"  # what the coordinator says of itself
        self.launched_study_file = self.work / STUDY_FILE  # whose runs need not be in the tables yet

    @property
    def latest_study_file(self) -> Path:
        """The study as it was last launched or, in a copy without `work/`, as it was published."""
        return self.launched_study_file if self.launched_study_file.exists() else self.study_file

    def report_files(self) -> list[Path]:
        """What a report consists of, as far as it is there: pages, tables and the folders of figures."""
        return [path for path in (*map(self.path.joinpath, _PUBLISHED), self.figures, self.inside) if path.exists()]

    def require_inside(self, results: Path) -> None:
        """Refuse links that lead out of `results`, where what is written would replace other files."""
        inside = os.path.realpath(results)  # which, unlike `resolve`, takes a link to itself for a file
        shared = pretrained_folder(results)
        places = [self.path.parent, self.path, self.work, self.figures, self.inside, self.aside, shared.parent]
        for parent in (self.runs, self.models, self.models_by_size, shared):
            folders = list(parent.iterdir()) if parent.is_dir() else []
            places += [parent, *(place for own in folders for place in (own, own / "damaged", own / "model"))]
        for place in places:
            if place.is_symlink() and not Path(os.path.realpath(place)).is_relative_to(inside):
                raise InvalidInput(f"{place} is a link that leads out of {results}. Put the folder itself there.")


def default_results() -> Path:
    """The folder of all results where none is named: that of `PATCHBENCH_RESULTS`, else `results` here."""
    return Path(os.environ.get("PATCHBENCH_RESULTS") or "results").absolute()


def command_line(results: Path, *words: str) -> str:
    """A command for a shell; the folder of all results is named in it unless that is `results` here."""
    place = [] if results == Path("results").absolute() else ["--results", str(results)]
    return shlex.join(["patchbench", *place, *words])


def study_folder(study: ResolvedStudy, results: Path) -> Path:
    """`results/<study>/<scale>`."""
    return results / study.name / study.scale


def pretrained_folder(results: Path) -> Path:
    """`results/work/pretrained`: a folder for each training that runs of any study start from, by its digest."""
    return results / "work" / "pretrained"
