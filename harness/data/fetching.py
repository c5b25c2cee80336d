"""Finding the files of a named source: in the user's folder, the cache, the system, a package, the web."""

import gzip
import hashlib
import io
import logging
import os
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

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

    def __str__(self) -> str:
        return f"{self.name.removesuffix('.gz')}{'.gz' if self.name.endswith('.gz') else '[.gz]'}"


class Unusable(Exception):  # a reason to try the next place, never an error by itself
    """A place does not have the file, or has something else than it; says which."""


def data_folders(*below: str) -> list[Path]:
    """The user's own folder and those subfolders of it that are looked at; empty where not set."""
    named = os.environ.get(OWN)
    return [Path(named or "").expanduser() / name for name in ("", *below)] if named else []


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """The files of a named source, and where they may be found."""

    name: str
    files: tuple[RawFile, ...]
    url: str
    """Of a file without its name."""
    packed: str = ""
    """Ending of the files at `url`: `.gz` where they are packed there."""
    unpacked: str = ""
    """The folder that an archive unpacks to, which does as well."""
    below: tuple[str, ...] = ()
    """Subfolders of the user's folder that are looked at, too."""
    package: str = ""
    """A Debian package that has the files in `system`."""
    system: Path = Path()

    @property
    def kept(self) -> Path:
        """Where the cache keeps them."""
        return cache_folder() / self.name

    def folders(self) -> dict[str, list[Path]]:
        """Places on this machine, in order."""
        places = {OWN: data_folders(*self.below), "cache": [self.kept]}
        return places | ({"system": [self.system]} if self.package else {})

    def where(self) -> Path | None:
        """The first place on this machine that has all files, unchecked."""
        for folder in chain(*self.folders().values()):
            if self.unpacked and (folder / self.unpacked).is_dir():
                return folder / self.unpacked
            if all(_in([folder], file) for file in self.files):
                return folder
        return None

    def content(self, file: RawFile) -> bytes:
        """The unpacked content of a file, checked; `InvalidInput` with every place that was tried, and a remedy."""
        reasons = []
        for place, folders in self.folders().items():
            path = _in(folders, file)
            if path is None:
                told = f"no {file} in {' or '.join(map(str, folders))}" if folders else "not set"
                reasons.append(f"{place}: {told}")
                continue
            try:
                return _checked(path.open("rb"), file, path)
            except Unusable as error:
                if place == OWN:  # named by the user: never passed over in silence
                    raise InvalidInput(f"{error}. Replace it, or unset {OWN}.") from error
                if place == "cache":
                    set_aside(path, error)
                reasons.append(f"{place}: {error}")
        for bring in (self._unpack, self._download) if self.package else (self._download,):
            try:
                return bring(file)
            except Unusable as error:
                reasons.append(str(error))
        names = ", ".join(map(str, self.files))
        instead = f" or the folder {self.unpacked}" if self.unpacked else ""
        raise InvalidInput(
            f"Cannot find {self.name}'s {file.name}. Tried:\n  "
            + "\n  ".join(reasons)
            + f"\nPut {names}{instead} into "
            f"a folder and name it by {OWN}{f'; or install {self.package}' * bool(self.package)}."
        )

    def _keep(self, file: RawFile, raw: bytes) -> bytes:
        write_whole(self.kept, file.name, lambda path: path.write_bytes(raw))
        return raw

    def _download(self, file: RawFile) -> bytes:
        url = f"{self.url}{file.name}{self.packed}"
        log.info("Downloading %s", url)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - fixed http(s) addresses
                found = io.BytesIO(answer.read(file.size + 1024))  # a tiny file grows when packed
        except (OSError, ValueError) as error:
            raise Unusable(f"download: {url}: {error}") from error
        return self._keep(file, _checked(found, file, url))

    def _unpack(self, file: RawFile) -> bytes:
        """From the Debian package, downloaded and unpacked without root; all its files are kept."""
        with tempfile.TemporaryDirectory(prefix="patchbench-") as at:
            folder = Path(at) / "unpacked" / self.system.relative_to("/")
            try:
                _run(["apt-get", "download", self.package], at)
                _run(["dpkg-deb", "-x", *map(str, Path(at).glob("*.deb")), "unpacked"], at)
                for each in self.files:
                    path = _in([folder], each) or folder / each.name
                    self._keep(each, _checked(path.open("rb"), each, path))
            except (OSError, subprocess.SubprocessError) as error:
                told = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
                raise Unusable(f"Debian package {self.package}: {told}") from error
        return (self.kept / file.name).read_bytes()


def _in(folders: Iterable[Path], file: RawFile) -> Path | None:
    """The file in the first of `folders` that has it, raw or as .gz."""
    names = (file.name, f"{file.name}.gz")
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _checked(file: IO[bytes], expected: RawFile, where: Path | str) -> bytes:
    """The unpacked content of an open file, if it is the expected. Raises `Unusable`, naming it with both hashes.

    Reads one byte more than expected at most, so that no file, however packed, fills the memory.
    """
    is_packed = str(where).endswith(".gz") and not expected.name.endswith(".gz")
    try:
        with file, gzip.GzipFile(fileobj=file) if is_packed else file as opened:
            raw = opened.read(expected.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"{where} cannot be read: {error}") from error
    found = hashlib.sha256(raw).hexdigest()
    if found != expected.sha256:
        size = f"{len(raw)} bytes" if len(raw) <= expected.size else f"more than {expected.size} bytes"
        raise Unusable(
            f"{where} is damaged: its content has SHA-256 {found} ({size}), expected {expected.sha256} "
            f"({expected.size} bytes)"
        )
    return raw


def _run(command: Sequence[str], folder: str) -> None:
    log.info("Running %s", " ".join(command))
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603
