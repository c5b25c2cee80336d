"""The whole analysis of a study: records in, findings out."""

from harness.analysis.answer import answer
from harness.analysis.cells import Cells
from harness.analysis.comparisons import comparisons_table
from harness.analysis.conditions import length_warnings, machine_warnings, mixture_warnings
from harness.analysis.crossover import crossovers_table, frontier_table, slopes_table
from harness.analysis.estimate import FEWEST_SEEDS
from harness.analysis.evidence import evidence_of
from harness.analysis.findings import Findings
from harness.analysis.judging import claims_table
from harness.analysis.laws import laws_table
from harness.analysis.learning import doubtful, learning_cautions, learning_warnings
from harness.analysis.shifts import shifts_table
from harness.analysis.summary import arms_table, gaps
from harness.analysis.tuning import audit_table, budget_table, trials_of, tuning_warnings
from harness.analysis.wording import listed
from harness.records.data_facts import of_provenance
from harness.records.run_table import StudyRecords
from harness.spec.plural import counted


def analyse(records: StudyRecords, *, seed: int = 0, resamples: int = 2000) -> Findings:
    """Every number of a report, from whatever part of the study is there.

    `seed` is the root of all randomness: each comparison draws from a generator of its own, derived from the seed and
    the names compared, so neither the order of rows and arms nor a further arm moves an interval, and the same seed
    gives the same bytes. `resamples` is the number of bootstrap draws of test images and of crossover curves.
    """
    evidence = evidence_of(records, seed=seed, resamples=resamples)
    cells = evidence.cells
    trials = trials_of(records)
    cautions = learning_cautions(evidence, records.curves, records.provenance)
    return Findings(
        arms=arms_table(cells, cautions),
        comparisons=comparisons_table(evidence),
        claims=claims_table(evidence),
        crossovers=crossovers_table(evidence),
        laws=laws_table(cells),
        slopes=slopes_table(evidence),
        budget=budget_table(cells, trials),
        audit=audit_table(cells, trials),
        gaps=gaps(cells),
        warnings=(
            *learning_warnings(cautions),
            *_run_warnings(cells),
            *(caution for facts in of_provenance(records.provenance) for caution in facts.cautions()),
            *mixture_warnings(cells, trials),
            *machine_warnings(records.provenance),
            *length_warnings(cells),
            *tuning_warnings(cells, trials),
        ),
        answer=f"{answer(evidence)}{doubtful(cautions)}",
        frontier=frontier_table(evidence),
        shifts=shifts_table(cells, records.shifts),
        main_factor_sizes=cells.study.train_sizes,
    )


def _run_warnings(cells: Cells) -> tuple[str, ...]:
    """What limits the confirm runs' numbers, a sentence each."""
    seeds = len(cells.study.seeds)
    told = []
    if seeds < FEWEST_SEEDS:
        told.append(f"Only {counted(seeds, 'seed')} per arm: intervals and verdicts need at least {FEWEST_SEEDS}.")
    completed = [(cell, seed) for cell in cells.rows for seed in cells.completed(cell)]
    answers = (row for cell, seed in completed for row in cells.predictions(cell, (seed,)))
    tested = [len(row) for row in answers if row is not None]
    if len(tested) < len(completed):
        told.append(
            f"Predictions are missing for {len(completed) - len(tested):,} of "
            f"{counted(len(completed), 'completed run')}: intervals with those runs rest on the seeds only "
            "and leave out the choice of test images."
        )
    lengths = sorted(set(tested))
    if len(lengths) > 1:
        told.append(f"The runs were tested on different numbers of images: {listed(f'{n:,}' for n in lengths)}.")
    if cells.repeated:
        told.append(
            f"{counted(cells.repeated, 'row')} {'repeats' if cells.repeated == 1 else 'repeat'} an arm, training size "
            "and seed; one result of each was used."
        )
    return tuple(told)
