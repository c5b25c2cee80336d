"""The seeds of a study with those of its earlier launches: runs are pooled, never dropped after they were seen."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, count, islice
from pathlib import Path

from harness.records.files import read_json
from harness.records.layout import StudyFolder, study_folder
from harness.records.study_file import read_study, without_passwords
from harness.spec import InvalidInput, ResolvedStudy, canonical_json
from harness.spec.errors import require
from harness.spec.formats import counted


def with_seeds(study: ResolvedStudy, results: Path, number: int) -> ResolvedStudy:
    """The study with so many seeds in all: those trained before, the declared ones, the smallest that are free.

    Raises `InvalidInput` for fewer than have been trained with its settings in the folder of all `results`.
    """
    trained = earlier_seeds(study, study_folder(study, results))
    done = f"{counted(len(trained), 'seed')} of this study {'has' if len(trained) == 1 else 'have'} been trained"
    require(
        number >= len(trained),
        f"--seeds is {number}, but {done} ({', '.join(map(str, trained))}), and none is dropped once it may have been "
        f"seen. Give --seeds {len(trained)} or more, or another folder with --results.",
    )
    known = dict.fromkeys((*trained, *study.seeds))
    free = (seed for seed in count() if seed not in known)
    return replace(study, seeds=tuple(islice(chain(known, free), number)))


def pooled(study: ResolvedStudy, folder: Path) -> tuple[ResolvedStudy, str]:
    """The study with the seeds that its results folder has results of, and a note where it does not declare these.

    They stand first, in the order in which they were planned, which decides what each was trained with.
    """
    trained = earlier_seeds(study, folder, known=study.seeds)
    note, missing = "", [seed for seed in trained if seed not in study.seeds]
    if missing:
        from harness.analysis.wording import of_seeds  # which loads scipy, as few studies need

        told = f"those of {of_seeds(missing)}, which the study does not declare now, are pooled with its own"
        note = f"Earlier results are not dropped: {told}."
    return replace(study, seeds=tuple(dict.fromkeys((*trained, *study.seeds)))), note


def earlier_seeds(study: ResolvedStudy, folder: Path, known: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Seeds of the launches of a study into `folder` up to the last that has a result with the study's settings.

    In the order in which they were planned: of what was launched last, then of what was published; without those of
    launches whose seeds `known` begins with.
    """
    places, found = StudyFolder(folder), dict[int, None]()
    for kept, seeds_of in ((places.work, _trained), (folder, _published)):
        with contextlib.suppress(InvalidInput):  # nothing there, or nothing that can be read
            before = read_study(kept)[0]
            same = [arm.name for arm in study.all_arms if _settings(study, arm.name) == _settings(before, arm.name)]
            if same and before.seeds != known[: len(before.seeds)]:
                have = set(seeds_of(places, same))
                last = max((place for place, seed in enumerate(before.seeds) if seed in have), default=-1)
                found |= dict.fromkeys(before.seeds[: last + 1])
    return tuple(found)


def _settings(study: ResolvedStudy, name: str) -> str | None:
    """What the runs of an arm follow from, besides training size and seed; None where the study lacks it."""
    arm = next((arm for arm in study.all_arms if arm.name == name), None)
    if arm is None:
        return None
    search = replace(study.search, space={}, by_family={}, by_arm={}, repeats=1)
    shared = (study.search.space_of(arm), search, study.test_shifts, study.few_shot)
    return without_passwords(canonical_json([arm.model, study.recipe_of(arm), study.data_of(arm), *shared]))


def _published(places: StudyFolder, arms: Iterable[str]) -> Iterator[int]:
    from harness.records.run_table import load_runs  # which loads pandas

    runs = load_runs(places.path)
    yield from runs[runs["arm"].isin(list(arms))]["seed"]


def _trained(places: StudyFolder, arms: Iterable[str]) -> Iterator[int]:
    for path in places.runs.glob("*/result.json"):
        with contextlib.suppress(InvalidInput, LookupError, TypeError):
            run = read_json(path.with_name("config.json"))
            if run["trial"] is None and run["arm"] in arms:
                yield int(run["config"]["seed"])
