"""Every file of a study's results and every way in which it is damaged here; the same list each time."""

import csv
import io
import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Way = Callable[[Path], object]

TEXTS = {
    "no JSON object": b"[]",
    "no JSON array": b"{}",
    "null": b"null",
    "a number": b"12",
    "a text": b'"text"',
    "deep": b"[" * 100_000,
    "beyond floats": b'{"a": 1e999}',
    "half a surrogate": b'{"result": {"digest": "\\ud800"}}',
    "no UTF-8": b"\xff\xfe\x00",
    "a table": b"a,b\n1,2,3\n",
    "zeros": b"\0" * 300,
    "commas": b"," * 1_000_000 + b"\n",
    "passwords": b'{"study": {"question": "' + b"://a:" * 40_000 + b'"}}',
    "a long field": b'a,"' + b"x" * 200_000 + b'"\n',
}
VALUES = (None, True, -1, 10**400, 1e308, "", "text", "../../x", "x" * 200_000, "://a:" * 40_000, [], {}, [[1]])
CELLS = (
    "",
    "nan",
    "inf",
    "1e400",
    "-1",
    "text",
    "9" * 400,
    "x" * 200_000,
    "," * 1_000_000,
    "\0",
    '"',
    "://a:" * 40_000,
)


STATUS = b'{"process": 1, "host": "here", "done": {"completed": 1}, "running": [{"run": "a", "update": 1}]}'


@dataclass(frozen=True)
class Damage:
    """One damage to one file or folder."""

    path: str
    """Relative to the results folder."""
    name: str
    way: Way

    @property
    def needs_mirrors(self) -> bool:
        """Whether only MLflow looks there."""
        return "mlflow" in self.path


def every_damage(results: Path, study: str) -> Iterator[Damage]:
    """All of them, in a fixed order. `results`: of a finished study, which is only read."""
    for path in (results / name for name in _files(results, study)):
        name = path.relative_to(results).as_posix()
        for kind, way in (*_in_place(path, random.Random(name)), *_NO_FILE.items()):
            yield Damage(name, kind, way)
    for name in (
        "",
        "work",
        "work/runs",
        "work/models",
        "figures",
        *_run_folders(results, study),
    ):
        for kind, way in _NO_FOLDER.items():
            yield Damage(f"{study}/smoke/{name}".rstrip("/"), kind, way)


def _files(results: Path, study: str) -> list[str]:
    """One confirm run and one trial stand for all runs, one arm for all models."""
    place = results / study / "smoke"
    runs = [place / name for name in _run_folders(results, study)]
    models = sorted((place / "work" / "models").iterdir())[:1]
    found = [path for folder in (place, place / "work", *runs, *models) for path in sorted(folder.iterdir())]
    found += [*sorted((place / "figures").iterdir()), *sorted(results.iterdir()), results / "work" / "turn"]
    names = [path.relative_to(results).as_posix() for path in found if path.is_file()]
    return [*names, f"{study}/smoke/work/status.json"]


def _run_folders(results: Path, study: str) -> list[str]:
    runs = sorted((results / study / "smoke" / "work" / "runs").iterdir())
    confirm = next(path for path in runs if (path / "predictions.npz").exists())
    trial = next(path for path in runs if not (path / "predictions.npz").exists())
    return [f"work/runs/{path.name}" for path in (confirm, trial)]


# --- in place of what is in a file ------------------------------------------------------------------------------------


def _in_place(path: Path, rng: random.Random) -> Iterator[tuple[str, Way]]:
    content = path.read_bytes() if path.exists() else STATUS
    for name, text in TEXTS.items():
        yield name, partial(_write, content=text)
    if not content:
        return
    yield "empty", partial(_write, content=b"")
    for share in (0.1, 0.5, 0.999):
        yield f"cut at {share}", partial(_write, content=content[: int(share * len(content))])
    for number in range(3):
        at = rng.randrange(len(content))
        flipped = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        yield f"bit {number}", partial(_write, content=flipped)
    yield "twice", partial(_write, content=2 * content)
    if path.suffix in (".json", ".jsonl"):
        for value in VALUES:
            yield f"value {str(value)[:12]}", partial(_write, content=_retyped(content, value, rng))
    if path.suffix == ".csv":
        for cell in CELLS:
            yield f"cell {cell[:12]!r}", partial(_write, content=_refilled(content, cell, rng))


def _write(path: Path, *, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _retyped(content: bytes, value: Any, rng: random.Random) -> bytes:
    """JSON, or one line of a journal, with another value at a place that is drawn."""
    lines = content.splitlines(keepends=True)
    is_journal = len(lines) > 1 and lines[1].startswith(b"{")
    number = rng.randrange(len(lines)) if is_journal else 0
    whole = json.loads(lines[number] if is_journal else content)
    holder, key = rng.choice(list(_places(whole)))
    holder[key] = value
    changed = json.dumps(whole).encode()
    return b"".join([*lines[:number], changed + b"\n", *lines[number + 1 :]]) if is_journal else changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in JSON that holds a value: what it is in, and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _refilled(content: bytes, cell: str, rng: random.Random) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode())))
    row = rows[rng.randrange(len(rows))]
    row[rng.randrange(len(row))] = cell
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


# --- in place of the file ---------------------------------------------------------------------------------------------


def _gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def _replaced(make: Way, path: Path) -> None:
    _gone(path)
    make(path)


def _folder_with_a_file(path: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_text("mine")


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # its address may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(before)


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


_NO_FILE: dict[str, Way] = {
    "gone": _gone,
    "a folder": partial(_replaced, Path.mkdir),
    "a full folder": partial(_replaced, _folder_with_a_file),
    "a fifo": partial(_replaced, os.mkfifo),
    "a socket": partial(_replaced, _socket),
    "a loop": lambda path: _replaced(partial(_link, path.name), path),
    "a link to nothing": partial(_replaced, partial(_link, "nowhere")),
    "/dev/null": partial(_replaced, partial(_link, "/dev/null")),
    "/dev/zero": partial(_replaced, partial(_link, "/dev/zero")),
    "a link to a fifo": lambda path: (os.mkfifo(path.with_name("pipe")), _replaced(partial(_link, "pipe"), path)),
}
_NO_FOLDER: dict[str, Way] = {
    "gone": _gone,
    "empty": partial(_replaced, Path.mkdir),
    "a file": partial(_replaced, lambda path: path.write_text("mine")),
    **{name: _NO_FILE[name] for name in ("a fifo", "a loop", "a link to nothing", "/dev/null")},
}
