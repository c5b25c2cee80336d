"""Finding the files of a named source: in the user's folder, the cache, the system, a package, the web."""

import gzip
import hashlib
import logging
import os
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
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
                reasons.append(f"{place}: no {file.name} in {', '.join(map(str, folders)) or 'it'}")
                continue
            try:
                return _checked(path, file)
            except OSError as error:
                if place == OWN:  # named by the user: never passed over in silence
                    raise InvalidInput(f"{error}. Replace it, or unset {OWN}.") from error
                if place == "cache":
                    set_aside(path, error)
                reasons.append(f"{place}: {error}")
        package = f"Debian package {self.package}"
        for place, bring in {package: self._unpack, "download": self._download}.items():
            try:
                if place != package or self.package:
                    self._keep(bring)
                    return _checked(self.kept / file.name, file)
            except (OSError, subprocess.SubprocessError) as error:
                told = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
                reasons.append(f"{place}: {told}")
        names = ", ".join(file.name for file in self.files) + (f" or {self.unpacked}/" if self.unpacked else "")
        told = "\n  ".join(["Tried:", *reasons])
        instead = f"; or install {self.package}" if self.package else ""
        raise InvalidInput(
            f"Cannot find {self.name}'s {file.name}. {told}\nPut {names} into a folder and name it by {OWN}{instead}."
        )

    def _keep(self, bring: Callable[[Path], Path]) -> None:
        """Keep all files, which `bring` puts into a folder."""
        with tempfile.TemporaryDirectory(prefix="patchbench-") as at:
            folder = bring(Path(at))
            for file in self.files:
                raw = _checked(_in([folder], file) or folder / file.name, file)
                write_whole(self.kept, file.name, partial(Path.write_bytes, data=raw))

    def _download(self, at: Path) -> Path:
        for file in self.files:
            url = f"{self.url}{file.name}{self.packed}"
            log.info("Downloading %s", url)
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - fixed http(s) addresses
                raw = answer.read(file.size + 1024)  # small files grow when they are packed
            (at / f"{file.name}{self.packed}").write_bytes(raw)
        return at

    def _unpack(self, at: Path) -> Path:
        """Of the Debian package, without root."""
        _run(["apt-get", "download", self.package], at)
        _run(["dpkg-deb", "-x", *map(str, at.glob("*.deb")), "unpacked"], at)
        return at / "unpacked" / self.system.relative_to("/")


def _in(folders: Iterable[Path], file: RawFile) -> Path | None:
    """The file in the first of `folders` that has it, raw or as .gz."""
    names = (file.name, f"{file.name}.gz")
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _checked(path: Path, expected: RawFile) -> bytes:
    """The unpacked content of a file, if it is the expected. Raises `OSError`, naming it with both hashes.

    Reads one byte more than expected at most, so that no file, however packed, fills the memory.
    """
    try:
        with gzip.open(path) if path.name == f"{expected.name}.gz" else path.open("rb") as file:
            raw = file.read(expected.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    found = hashlib.sha256(raw).hexdigest()
    if found != expected.sha256:
        size = f"{len(raw)} bytes" if len(raw) <= expected.size else f"more than {expected.size} bytes"
        raise OSError(
            f"{path} is damaged: its content has SHA-256 {found} ({size}), expected {expected.sha256} "
            f"({expected.size} bytes)"
        )
    return raw


def _run(command: list[str], folder: Path) -> None:
    log.info("Running %s", " ".join(command))
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603
