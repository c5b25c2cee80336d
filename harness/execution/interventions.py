"""What a study does to its images, on one of them: kept with its results when it has run, and shown by its report."""

from dataclasses import replace
from pathlib import Path

from harness.analysis.leads import AS_THEY_ARE, condition_of
from harness.records.samples import NAME, Sample, write_samples
from harness.spec import DataSpec, ResolvedStudy

AS_IT_IS = "as it is"


def interventions(study: ResolvedStudy) -> dict[str, DataSpec]:
    """The data of arms whose patches or pixels are permuted, by what is done, in words; empty where none are."""
    sizes, found = study.train_sizes or (None,), dict[str, DataSpec]()
    for arm in study.all_arms:
        data = study.data_of(arm, sizes[0])
        if (done := condition_of(data)) != AS_THEY_ARE:
            same = found.get(done, data)
            is_alike = (same.moved_patch, same.moved_seed) == (data.moved_patch, data.moved_seed)
            found.setdefault(done if is_alike else f"{done}, {data.moved_patch} px, seed {data.moved_seed}", data)
    return found


def cues(study: ResolvedStudy) -> dict[str, DataSpec]:
    """The data of arms by how far the cue lies from the digit that is meant, ascending; empty where all have one."""
    data = (study.data_of(arm, (study.train_sizes or (None,))[0]) for arm in study.all_arms)
    found = {spec.cued.distance: spec for spec in data if spec.source == "cued" and not spec.moved_share}
    return {f"cue {far} px away": found[far] for far in sorted(found)} if len(found) > 1 else {}


def keep_samples(study: ResolvedStudy, folder: Path) -> None:
    """Keep an image as it is and as each intervention of the study changes it; nothing for a study without any.

    Interventions are permuted patches and pixels, cues at several distances and shifted test images. Raises
    `InvalidInput` for data that is not here: what is kept stays.
    """
    permuted, shifts, cued = interventions(study), study.test_shifts, cues(study)
    if not (permuted or shifts or cued):
        (folder / NAME).unlink(missing_ok=True)
        return
    from harness.data.samples import as_moved, as_shifted, sample  # loads torch, which other reports do without

    if cued:
        write_samples(folder / NAME, {name: sample(spec) for name, spec in cued.items()})
        return
    data = next(iter(permuted.values()), study.data_of(study.baseline, (study.train_sizes or (None,))[0]))
    image = sample(replace(data, moved_share=0.0))
    samples: dict[str, Sample] = {AS_IT_IS: image}
    samples |= {done: as_moved(image, spec) for done, spec in permuted.items()}
    samples |= {f"shifted by {pixels} px": as_shifted(image, pixels) for pixels in shifts}
    write_samples(folder / NAME, samples)
