"""manifest.json: the SHA-256 of every published file of a study, and what made them.

It finds a digit that was changed or a file that was half copied. It is no signature: whoever can write the files can
write the manifest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.records.files import RecordsError, read_bytes, read_json, sha256, write_json

NAME = "manifest.json"
SOURCES = ("study.json", "runs.csv", "trials.csv", "curves.csv", "shifts.csv", "predictions.npz")
"""What a report is made from; the other files follow from these."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was published."""

    files: dict[str, str]
    """SHA-256 by path relative to the study's results folder."""
    made_by: dict[str, str]
    """See `provenance.report_maker`."""


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A file that does not have the hash of the manifest."""

    name: str
    expected: str
    found: str
    """The SHA-256 found, or why there is none."""


def write_manifest(folder: Path, paths: Iterable[Path], made_by: dict[str, str]) -> None:
    """Keep the hashes of `paths`, files in `folder` or below; written last, when all of them are whole."""
    hashes = {path.relative_to(folder).as_posix(): sha256(read_bytes(path)) for path in paths}
    write_json(folder / NAME, {"files": hashes, "made_by": made_by})


def read_manifest(folder: Path) -> Manifest | None:
    """What the manifest says; None without one, `RecordsError` for one that is not whole or names files elsewhere."""
    path = folder / NAME
    if not path.exists():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not all(_is_texts(content.get(key)) for key in ("files", "made_by")):
        raise RecordsError(f"{path} is not a manifest. Remove it, and make it again with `patchbench report`.")
    for name in content["files"]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            raise RecordsError(f"{path} names {name!r}, which is not a file of this folder.")
    return Manifest(files=content["files"], made_by=content["made_by"])


def mismatches(folder: Path, manifest: Manifest) -> list[Mismatch]:
    """The files that are missing or changed, by name."""
    wrong = []
    for name, expected in sorted(manifest.files.items()):
        try:
            found = sha256(read_bytes(folder / name))
        except RecordsError as error:
            found = "no such file" if isinstance(error.__cause__, FileNotFoundError) else str(error)
        if found != expected:
            wrong.append(Mismatch(name=name, expected=expected, found=found))
    return wrong


def require_unchanged(folder: Path) -> None:
    """Refuse tables that were changed after they were published, so that no report is made from them."""
    manifest = read_manifest(folder)
    if manifest is None:
        return
    sources = Manifest(files={name: manifest.files[name] for name in SOURCES if name in manifest.files}, made_by={})
    for wrong in mismatches(folder, sources):
        raise RecordsError(
            f"{folder / wrong.name} was changed after it was written: {NAME} expects SHA-256 {wrong.expected}, found "
            f"{wrong.found}. Restore the file; or remove {NAME} to accept it as it is."
        )


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
