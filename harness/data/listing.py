"""Which files of a folder are images, and of which class; what is passed over is counted by its reason."""

import os
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.data.photographs import openable
from harness.records.data_facts import NO_DECODER, Skipped, shown
from harness.spec import InvalidInput
from harness.spec.plural import counted

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Files that count as images; others (a README, a thumbnail database) are passed over."""

DECODERS = {".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF"}
"""Images, too, where this installation of Pillow has the decoder: AVIF from 11.3 on, HEIF with pillow-heif."""

PARTS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
"""What the folder of a part is called, in capitals or not."""

LAYOUT = "The folder must hold PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, or PATH/CLASS/*.png."

HIDDEN, ENDING = "hidden", "other endings"
NO_CLASS, NO_PART, TWICE = "images in no class folder", "folders of no part", "folders that a link leads to again"


class Walk:
    """Lists the classes of parts of one folder, and collects what it passes over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outside = 0
        """Images that links out of the folder lead to."""
        self._skipped: dict[str, list[str]] = {}
        self._inside = root.resolve()

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(
            Skipped(reason=reason, files=len(names), first=tuple(shown(name) for name in sorted(names)[:5]))
            for reason, names in sorted(self._skipped.items())
        )

    def parts(self) -> dict[str, str]:
        """The folders of the parts, by the keys of `PARTS`; empty for a folder that holds classes."""
        found: dict[str, str] = {}
        folders = [entry.name for entry in _entries(self.root) if not _is_hidden(entry) and _is_folder(entry)]
        for name in folders:
            part = next((part for part, names in PARTS.items() if name.lower() in names), None)
            if part is None:
                continue
            if part in found:
                raise InvalidInput(
                    f"{self.root} has two folders of one part: {found[part]!r} and {name!r}. Rename or merge them."
                )
            found[part] = name
        return found

    def pass_over(self, used: Iterable[str]) -> None:
        """Count what stands beside the folders of the parts that are `used`."""
        used = set(used)
        for entry in _entries(self.root):
            if entry.name not in used and (_is_hidden(entry) or not _is_folder(entry)):
                self._pass_over(entry)
            elif entry.name not in used:
                self._skip(NO_PART, entry)

    def classes(self, part: Path) -> list[str]:
        """The names of the class folders of a part: sorted, numbers as numbers."""
        names = []
        for entry in _entries(part):
            if not _is_hidden(entry) and _is_folder(entry):
                names.append(entry.name)
            else:
                self._pass_over(entry)
        return in_order(names)

    def images(self, folder: Path) -> list[str]:
        """Paths relative to the root of the images in a class folder and in the folders below it, sorted.

        Links are followed. Raises `InvalidInput` for one that leads to nothing or back to a folder above it.
        """
        found: list[str] = []
        seen: set[tuple[int, int]] = set()
        leads_out = not folder.resolve().is_relative_to(self._inside)
        left = [(folder, frozenset[tuple[int, int]](), leads_out)]
        while left:
            place, above, is_outside = left.pop()
            entries, status = _entries(place), place.stat()
            identity = status.st_dev, status.st_ino
            if identity in above:
                raise InvalidInput(f"{place} is a link that leads back to a folder above it. Remove it.")
            if identity in seen:
                self._skipped.setdefault(TWICE, []).append(f"{place.relative_to(self.root).as_posix()}/")
                continue
            seen.add(identity)
            for entry in entries:
                path = Path(entry.path)
                if not _is_hidden(entry) and _is_folder(entry):
                    left.append((path, above | {identity}, is_outside or self._leads_out(path)))
                elif self._is_image(entry):
                    found.append(path.relative_to(self.root).as_posix())
                    self.outside += is_outside or self._leads_out(path)
                else:
                    self._pass_over(entry, in_class=True)
        return sorted(found)

    def undecodable(self, folder: Path) -> int:
        """Images passed over in a class folder for want of a decoder."""
        inside = f"{folder.relative_to(self.root).as_posix()}/"
        return sum(name.startswith(inside) for name in self._skipped.get(NO_DECODER, ()))

    def _leads_out(self, path: Path) -> bool:
        return path.is_symlink() and not path.resolve().is_relative_to(self._inside)

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        suffix = Path(entry.name).suffix.lower()
        if _is_hidden(entry) or not (suffix in SUFFIXES or DECODERS.get(suffix) in openable()):
            return False
        if not stat.S_ISREG(_status(entry).st_mode):  # a pipe, for one: reading it would never end
            raise InvalidInput(f"{entry.path} is not a plain file. Remove it.")
        return True

    def _pass_over(self, entry: os.DirEntry[str], *, in_class: bool = False) -> None:
        suffix = Path(entry.name).suffix.lower()
        if _is_hidden(entry):
            self._skip(HIDDEN, entry)
        elif suffix in DECODERS and DECODERS[suffix] not in openable():
            self._skip(NO_DECODER, entry)
        else:
            self._skip(NO_CLASS if not in_class and self._is_image(entry) else ENDING, entry)

    def _skip(self, reason: str, entry: os.DirEntry[str]) -> None:
        path = Path(entry.path).relative_to(self.root).as_posix()
        self._skipped.setdefault(reason, []).append(f"{path}/" if Path(entry.path).is_dir() else path)


def in_order(names: Iterable[str]) -> list[str]:
    """Class names as they are numbered: sorted; by their value where all are numbers (0, 1, 2, 10)."""
    found = sorted(names)
    if all(name.isascii() and name.isdecimal() for name in found):
        found.sort(key=int)
    return found


def match_classes(root: Path, train: str, known: Sequence[str], part: str, names: Sequence[str]) -> None:
    """Refuse a part with classes that cannot be learned, saying what they may have been meant to be.

    `train` and `part` are the folders' names, `known` and `names` their classes.
    """
    extra = [name for name in names if name not in known]
    if not extra:
        return
    more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
    hints = [_likeness(name, other) for name in extra[:5] for other in known]
    raise InvalidInput(
        f"{root}: {part}/ has {counted(len(extra), 'class')} that {train}/ does not have: "
        f"{', '.join(map(_quoted, extra[:5]))}{more}. {''.join(hints)}"
        f"Rename the {'folder' if len(extra) == 1 else 'folders'}, or add training images."
    )


def _likeness(name: str, other: str) -> str:
    """Says so where two class names differ in nothing that the eye sees."""
    plain = _plain(name)
    if plain != _plain(other):
        return ""
    ways = []
    if name.strip().casefold() != other.strip().casefold():
        ways.append(f"their Unicode form ({_form(name)} and {_form(other)})")
    if _plain(name, strip=False) != _plain(other, strip=False):
        ways.append("blanks at an end")
    if _plain(name, fold=False) != _plain(other, fold=False):
        ways.append("capitals")
    return f"{_quoted(name)} and {_quoted(other)} differ in {' and '.join(ways)} only. "


def _plain(name: str, *, strip: bool = True, fold: bool = True) -> str:
    text = unicodedata.normalize("NFC", name)
    text = text.strip() if strip else text
    return text.casefold() if fold else text


def _form(name: str) -> str:
    return "NFC" if unicodedata.is_normalized("NFC", name) else "NFD"


def _quoted(name: str) -> str:
    return f"'{shown(name)}'"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}. Mend its rights, or remove it.") from error


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link to nothing that could be one is refused."""
    if not entry.is_symlink():
        return entry.is_dir()
    suffix = Path(entry.name).suffix.lower()
    if suffix and suffix not in SUFFIXES and suffix not in DECODERS and not Path(entry.path).exists():
        return False
    return stat.S_ISDIR(_status(entry).st_mode)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError as error:
        raise InvalidInput(
            f"{entry.path} is a link that leads to nothing ({error.strerror}). Mend or remove it."
        ) from error
