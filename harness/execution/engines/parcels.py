"""What lies in folders as bytes with their hashes, to be sent between machines that share no file system."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.records.files import RecordsError, open_to_read, sha256, write_bytes

RESULT = "result.json"  # the file that makes a run finished, and is therefore written last

Places = Mapping[str, Path]  # folders by what they are called on either side
Parcel = dict[str, tuple[str, bytes]]  # by `<place>/<path within it>`: SHA-256 and content


class DamagedParcelError(RecordsError):
    """A file is not what was sent."""


def pack(places: Places) -> Parcel:
    """All files of some folders; of checkpoints the newest, and nothing that is unfinished or set aside as damaged."""
    return {name: _read(path) for name, path in _files(places).items()}


def signs(places: Places) -> frozenset[str]:
    """The states and results that would be packed: while they are the same, another parcel would tell nothing new."""
    return frozenset(name for name in _files(places) if name.endswith((".pt", RESULT)))


def unpack(parcel: Parcel, places: Places) -> None:
    """Write what was packed, each file whole, a state after what describes it and a result last; older states go.

    Raises `DamagedParcelError`, before anything is written, where a file is not what was sent.
    """
    for name, (expected, content) in parcel.items():
        place, _, within = name.partition("/")
        if sha256(content) != expected or place not in places or ".." in PurePosixPath(within).parts:
            raise DamagedParcelError(f"{name} has not arrived as it was sent.")
    for name in sorted(parcel, key=lambda name: (name.endswith(RESULT), name.endswith(".pt"), name)):
        place, _, within = name.partition("/")
        write_bytes(places[place] / within, parcel[name][1])
    for place in {name.partition("/")[0] for name in parcel}:
        for path in places[place].glob("checkpoint-*"):
            if f"{place}/{path.name}" not in parcel:
                path.unlink(missing_ok=True)


def _files(places: Places) -> dict[str, Path]:
    found = {}
    for place, folder in places.items():
        states = sorted(path for path in folder.glob("checkpoint-*.pt") if path.with_suffix(".json").exists())
        newest = {states[-1], states[-1].with_suffix(".json")} if states else set()
        for path in sorted(folder.rglob("*")):
            within = path.relative_to(folder)
            is_kept = path in newest or not within.name.startswith(("checkpoint-", "."))
            if is_kept and within.parts[0] != "damaged" and path.is_file():
                found[f"{place}/{within.as_posix()}"] = path
    return found


def _read(path: Path) -> tuple[str, bytes]:
    with open_to_read(path) as file:
        content = file.read()
    return sha256(content), content
