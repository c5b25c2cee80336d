"""manifest.json: the SHA-256 of every published file of a study, and what made them.

It finds a changed digit or a half copied file. It is no signature: whoever can write the files can write it too.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.records.files import RecordsError, adapter, read_bytes, read_json, reading, sha256, write_json

NAME = "manifest.json"
SOURCES = (
    *("study.json", "runs.csv", "trials.csv", "curves.csv", "shifts.csv", "predictions.npz", "looks.jsonl"),
    *("patches.csv", "few_shots.csv", "inside.json", "samples.npz"),
)
"""What a report is made from; the other files follow from these."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was published."""

    files: dict[str, str]  # SHA-256 by path relative to the study's results folder
    made_by: dict[str, str]  # see `provenance.report_maker`


def write_manifest(folder: Path, paths: Iterable[Path], made_by: dict[str, str]) -> None:
    """Keep the hashes of `paths`, files in `folder` or below; written last, when all of them are whole."""
    hashes = {path.relative_to(folder).as_posix(): sha256(read_bytes(path)) for path in paths}
    write_json(folder / NAME, {"files": hashes, "made_by": made_by})


def read_manifest(folder: Path) -> Manifest | None:
    """What the manifest says; None without one, `RecordsError` for one that is not whole or names files elsewhere."""
    path = folder / NAME
    if not os.path.lexists(path):  # a link to nothing is damage
        return None
    with reading(path):
        manifest: Manifest = adapter(Manifest).validate_python(read_json(path))
    for name in map(PurePosixPath, manifest.files):
        if name.is_absolute() or ".." in name.parts or "\0" in str(name):
            raise RecordsError(f"{path} names {str(name)!r}, which is not a file of this folder.")
    return manifest


def mismatches(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """Of files with their hashes, those that are missing or changed: the SHA-256 found, or why there is none."""
    found = {}
    for name in sorted(files):
        try:
            found[name] = sha256(read_bytes(folder / name))
        except RecordsError as error:
            found[name] = "no such file" if isinstance(error.__cause__, FileNotFoundError) else str(error)
    return {name: told for name, told in found.items() if told != files[name]}


def require_unchanged(folder: Path, sources: Iterable[str] = SOURCES) -> None:
    """Refuse `sources` that were changed after they were published, so that no report is made from them."""
    manifest = read_manifest(folder)
    known = {} if manifest is None else manifest.files
    for name, found in mismatches(folder, {name: known[name] for name in sources if name in known}).items():
        raise RecordsError(
            f"{folder / name} was changed after it was written: {NAME} expects SHA-256 {known[name]}, found {found}. "
            f"Restore the file; or remove {NAME} to accept it as it is."
        )
