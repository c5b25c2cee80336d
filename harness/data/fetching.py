"""Sources whose files are known by their hashes: found in the user's folder, the cache, the system or the web."""

import gzip
import hashlib
import io
import json
import logging
import os
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar

from harness.data.array_source import ArraySource
from harness.data.cache import cache_folder, set_aside, write_whole
from harness.spec import InvalidInput

log = logging.getLogger(__name__)

OWN = "PATCHBENCH_DATA"
"""Names the user's own folder of data."""

MOST_BYTES = 2**28
"""More than any file has: however packed, none fills the memory."""


def data_folders(*below: str) -> list[Path]:
    """The user's own folder and those subfolders of it that are looked at; empty where not set."""
    named = os.environ.get(OWN)
    return [Path(named).expanduser() / name for name in ("", *below)] if named else []


@dataclass(kw_only=True)
class PublishedSource(ArraySource):
    """A set that is known by the hashes of its files."""

    is_named: ClassVar[bool] = True
    name: str
    files: Mapping[str, str]
    """SHA-256 of the content of each, not packed; MD5 of those of an archive, for which no other is published."""
    archive: Mapping[str, str] = field(default_factory=dict)
    """The one that has the files, where they are published in one, and its SHA-256."""
    url: str
    """Of a file without its name."""
    packed: str = ""
    """Ending of the files at `url`: `.gz` where they are packed there."""
    below: tuple[str, ...] = ()
    """Subfolders of the user's folder that are looked at, too."""
    package: str = ""
    """A Debian package that has the files in `system`."""
    system: Path = Path()

    def content_hash(self) -> str:
        """From the published hashes: reads no data."""
        return hashlib.sha256(json.dumps([self.name, *(self.archive or self.files).values()]).encode()).hexdigest()

    def _folders(self) -> dict[str, list[Path]]:
        """Places on this machine, in order."""
        places = {OWN: data_folders(*self.below), "cache": [cache_folder() / self.name]}
        return places | ({"system": [self.system]} if self.package else {})

    def where(self) -> Path | None:
        """The first folder on this machine that has its files, or their archive; unchecked."""
        names = (next(iter(self.files)), *self.archive)
        every = chain(*self._folders().values())
        return next((folder for folder in every for name in names if _in([folder], name)), None)

    def content(self, name: str) -> bytes:
        """The unpacked content of a file, checked; `InvalidInput` with every place that was tried, and a remedy."""
        reasons = ["Tried:"]
        for place, read in self._ways(name):
            try:
                return read()
            except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
                if not isinstance(error, FileNotFoundError) and place == OWN:  # named by the user: not passed over
                    raise InvalidInput(f"{error}. Replace it, or unset {OWN}.") from error
                if not isinstance(error, FileNotFoundError) and place == "cache":
                    set_aside(cache_folder() / self.name / name, error)
                told = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
                reasons.append(f"  {place}: {told}")
        names = ", ".join(self.archive or self.files)
        instead = f"; or install {self.package}" if self.package else ""
        remedy = f"Put {names} into a folder and name it by {OWN}{instead}."
        raise InvalidInput("\n".join([f"Cannot find {self.name}'s {name}.", *reasons, remedy]))

    def _ways(self, name: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for place, folders in self._folders().items():
            yield place, partial(self._read, folders, name)
        if self.archive:
            yield OWN, partial(self._kept, name, self._own)
        if self.package:
            yield f"Debian package {self.package}", partial(self._kept, name, self._unpack)
        yield "download", partial(self._kept, name, self._download)

    def _read(self, folders: Iterable[Path], name: str) -> bytes:
        path = _in(folders, name)
        if path is None:
            raise FileNotFoundError(f"no {name} in {', '.join(map(str, folders)) or 'it'}")
        return _checked(path, self.files[name])

    def _kept(self, name: str, bring: Callable[[Path], Path]) -> bytes:
        """The content of a file, once all are kept in the cache that `bring` puts into a folder."""
        kept = cache_folder() / self.name
        with tempfile.TemporaryDirectory(prefix="patchbench-") as at:
            folder = bring(Path(at))
            for archive, expected in self.archive.items():
                with tarfile.open(fileobj=io.BytesIO(_checked(folder / archive, expected))) as tar:
                    tar.extractall(at, filter="data")
                folder = Path(at)
            for each in self.files:
                path, raw = kept / each, self._read([folder], each)
                write_whole(path.parent, path.name, partial(Path.write_bytes, data=raw))
        return self._read([kept], name)

    def _own(self, at: Path) -> Path:
        del at
        for folder in data_folders():
            if _in([folder], *self.archive):
                return folder
        raise FileNotFoundError(f"no {', '.join(self.archive)} in it")

    def _unpack(self, at: Path) -> Path:
        """Of the Debian package, without root."""
        _run(["apt-get", "download", self.package], at)
        _run(["dpkg-deb", "-x", *map(str, at.glob("*.deb")), "unpacked"], at)
        return at / "unpacked" / self.system.relative_to("/")

    def _download(self, at: Path) -> Path:
        for name in self.archive or self.files:
            url = f"{self.url}{name}{self.packed}"
            log.info("Downloading %s", url)
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - fixed http(s) addresses
                (at / f"{name}{self.packed}").write_bytes(answer.read(MOST_BYTES))
        return at


def _in(folders: Iterable[Path], name: str) -> Path | None:
    """The file in the first of `folders` that has it, raw or as .gz."""
    names = (name, f"{name}.gz")
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _checked(path: Path, expected: str) -> bytes:
    """The unpacked content of a file, if it has the hash. Raises `OSError`, naming it with both hashes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" and path.stem[-4:] != ".tar" else path.open("rb") as file:
            raw = file.read(MOST_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    kind = "SHA-256" if len(expected) == 64 else "MD5"
    found = hashlib.new(kind.replace("-", ""), raw, usedforsecurity=False).hexdigest()
    if found != expected:
        raise OSError(f"{path} is damaged: its content has {kind} {found} ({len(raw):,} bytes), expected {expected}")
    return raw


def _run(command: list[str], folder: Path) -> None:
    log.info("Running %s", " ".join(command))
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603
