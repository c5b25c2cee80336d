"""Finding the files of a named source: in the user's folder, the cache, the system, a package, the web."""

import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.cache import cache_folder, set_aside, write_whole
from harness.spec import InvalidInput

log = logging.getLogger(__name__)

OWN = "PATCHBENCH_DATA"
"""Names the user's own folder of data."""

TIMEOUT = 60
"""Seconds without an answer after which a download is given up."""


@dataclass(frozen=True)
class RawFile:
    """A file of a named source, known by the content that it has once unpacked; an archive, by that which it has."""

    name: str
    size: int
    """Bytes, unpacked."""
    sha256: str
    """Of the unpacked bytes."""


class Unusable(Exception):  # a reason to try the next place, never an error by itself
    """A place does not have the file, or has a damaged one; says which."""


class Damaged(Unusable):
    """A place has something else than the file."""


def data_folders(*below: str) -> list[Path]:
    """The user's own folder and those subfolders of it that are looked at; empty where not set."""
    named = os.environ.get(OWN)
    if not named:
        return []
    root = Path(named).expanduser()
    return [root, *(root / name for name in below)]


def read_checked(path: Path, expected: RawFile) -> bytes:
    """The unpacked content of `path` (raw, or gzip where it ends in .gz), checked.

    Reads one byte more than expected at most, so that no file, however packed, fills the memory.
    Raises `Damaged`, naming the file with its expected and found hash.
    """
    is_packed = path.suffix == ".gz" and not expected.name.endswith(".gz")
    try:
        with gzip.open(path) if is_packed else path.open("rb") as file:
            raw = file.read(expected.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(f"{path} cannot be read: {error}") from error
    return checked(raw, expected, str(path))


def checked(raw: bytes, expected: RawFile, where: str) -> bytes:
    """The content that was found at `where`, if it is the expected. Raises `Damaged`."""
    found = hashlib.sha256(raw).hexdigest()
    if found == expected.sha256:
        return raw
    size = f"{len(raw)} bytes" if len(raw) <= expected.size else f"more than {expected.size} bytes"
    raise Damaged(
        f"{where} is damaged: its content has SHA-256 {found} ({size}), expected {expected.sha256} "
        f"({expected.size} bytes)"
    )


def find_in(folders: Sequence[Path], expected: RawFile) -> bytes:
    """The content from the first of `folders` that holds the file, raw or as .gz. Raises `Unusable`."""
    names = dict.fromkeys((expected.name, f"{expected.name.removesuffix('.gz')}.gz"))
    for path in (folder / name for folder in folders for name in names):
        if path.is_file():
            return read_checked(path, expected)
    where = " or ".join(map(str, folders))
    raise Unusable(f"no {' or '.join(names)} in {where}" if folders else "not set")


def from_cache(source: str, expected: RawFile) -> bytes:
    """The content kept in the cache; a damaged file is set aside. Raises `Unusable`."""
    path = cache_folder() / source / expected.name
    if not path.is_file():
        raise Unusable(f"no {path}")
    try:
        return read_checked(path, expected)
    except Unusable as error:
        set_aside(path, str(error))
        raise


def keep(source: str, file: RawFile, raw: bytes) -> None:
    """Keep checked content in the cache."""
    write_whole(cache_folder() / source, file.name, lambda path: path.write_bytes(raw))


def download(url: str, limit: int) -> bytes:
    """The bytes at `url`, at most `limit`. Raises `Unusable` with the reason."""
    log.info("Downloading %s", url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - fixed http(s) addresses
            content: bytes = answer.read(limit + 1)
    except (OSError, ValueError) as error:
        raise Unusable(f"{url}: {error}") from error
    if len(content) > limit:
        raise Unusable(f"{url}: more than the {limit} bytes that were expected")
    return content


def from_package(package: str, folder: str, files: Iterable[RawFile], source: str) -> None:
    """Bring `files` into the cache from a Debian package, downloaded and unpacked without root.

    `folder` is where the package has them, e.g. `usr/share/datasets/x`. Raises `Unusable` with the reason.
    """
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise Unusable(f"{' and '.join(missing)} not here")
    with tempfile.TemporaryDirectory(prefix="patchbench-") as at:
        _run(["apt-get", "download", package], at)
        archives = sorted(Path(at).glob("*.deb"))
        if not archives:
            raise Unusable("apt-get brought no package")
        _run(["dpkg-deb", "-x", str(archives[0]), "unpacked"], at)
        for file in files:
            keep(source, file, find_in([Path(at) / "unpacked" / folder], file))


def _run(command: list[str], folder: str) -> None:
    log.info("Running %s", " ".join(command))
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise Unusable(f"{' '.join(command[:2])}: {reason}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"{' '.join(command[:2])}: {error}") from error


def first_usable(what: str, places: Iterable[tuple[str, Callable[[], bytes]]], remedy: str) -> bytes:
    """The content from the first place that has it; else `InvalidInput` with every place, its reason and a remedy."""
    reasons = []
    for name, read in places:
        try:
            return read()
        except Unusable as error:
            if name == OWN and isinstance(error, Damaged):  # named by the user: never passed over in silence
                raise InvalidInput(f"{error}. Replace it, or unset {OWN}.") from error
            reasons.append(f"  {name}: {error}")
    raise InvalidInput(f"Cannot find {what}. Tried:\n" + "\n".join(reasons) + f"\n{remedy}")
