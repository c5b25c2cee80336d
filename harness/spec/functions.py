"""A user's function (or class) as a value: its name, a hash of its source, and where another process finds it again."""

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.spec.checks import UNKEPT, Checked
from harness.spec.errors import InvalidInput, require

_STDLIB, _PACKAGE = Path(sysconfig.get_path("stdlib")).as_posix(), Path(__file__).parents[1].as_posix()
_OF_OTHERS = (f"{_STDLIB}/", f"{_PACKAGE}/", "/site-packages/", "/dist-packages/")
"""Code with one of these in its path is no user's."""
COPIES = "PATCHBENCH_COPIES"  # names a folder that has the user's files of another machine, by their whole paths
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, kw_only=True)
class Function(Checked):
    """A function or class at the top level of a study file or of a module; equal to another of the same source."""

    name: str
    source: str  # as `source_of` has it
    place: str = field(default="", compare=False, metadata={UNKEPT: None})  # the file that it is defined in

    @classmethod
    def of(cls, function: object) -> "Function":
        """That of a function or class at hand; `InvalidInput` for one that its name does not lead to."""
        name = str(getattr(function, "__qualname__", function))
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        path = Path(getattr(module, "__file__", None) or "").absolute()
        require(
            callable(function) and path.suffix == ".py" and getattr(module, name, None) is function,
            f"{name} is not a function that another process can find by its name. Define it with `def` or `class`, "
            "outside any function, in the study file or in a module; what varies goes into `arguments`.",
        )
        found = cls(name=name, source=source_of(path, name), place=str(path))
        _FOUND[found] = function
        return found

    def find(self) -> Callable[..., Any]:
        """The function itself; runs its file where this process has not. `InvalidInput` where it is gone or changed."""
        if self not in _FOUND:
            path = at_hand(Path(self.place))
            require(
                path.is_absolute() and path.is_file() and source_of(path, self.name) == self.source,
                f"{self.name} in {self.place or 'its file'}, or code that it uses, is gone or not what it was. Put it "
                "back, load the study from where it is now (harness.load_study(PATH)), or run it again.",
            )
            _FOUND[self] = getattr(_module_of(path), self.name)
        return _FOUND[self]  # type: ignore[no-any-return]


_FOUND: dict[Function, Any] = {}  # what this process has seen, by any study that it has loaded


def at_hand(path: Path) -> Path:
    """A user's file; where this machine lacks it, the copy that was sent along, if one was."""
    copies = os.environ.get(COPIES)
    copy = Path(copies or "", *path.parts[1:])
    return copy if copies and path.is_absolute() and not path.is_file() and copy.is_file() else path


def files_of(paths: Iterable[Path]) -> set[Path]:
    """Files of a user's code, and of all of the user's own modules that they import."""
    found, waiting = set[Path](), [path.expanduser().absolute() for path in paths]
    while waiting:
        if (path := waiting.pop()).is_file() and path not in found:
            found.add(path)
            waiting += _imported(path, ast.parse(path.read_bytes()).body)
    return found


def load_file(path: Path) -> ModuleType:
    """The module that a user's file makes, run anew; it may import from its folder; `InvalidInput` where it fails."""
    spec = importlib.util.spec_from_file_location(f"user_study_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _look_first_in(path.absolute().parent)
    with contextlib.suppress(OSError, SyntaxError, ValueError):  # which is told of when the file is run
        _forget_stale(files_of([path]) - {path.absolute()})
    sys.modules[spec.name] = module
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a study prints must not stand among what a command prints
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"{line_of(error, path) or path}: {type(error).__name__}: {error}") from error
    return module


_FOLDERS: list[str] = []  # of users' files, in `sys.path` after all others

_BEGAN = time.time()
_RUN: dict[Path, str] = {}  # SHA-256 of users' modules when a file that imports them was last run


def _look_first_in(folder: Path) -> None:
    """Of the folders of users' files, the one that modules are now imported from."""
    if str(folder) not in sys.path or str(folder) in _FOLDERS:
        others = [name for name in _FOLDERS if name != str(folder)]
        sys.path[:] = [name for name in sys.path if name not in _FOLDERS]
        _FOLDERS[:] = [str(folder), *others]
        sys.path += _FOLDERS


def _forget_stale(files: set[Path]) -> None:
    """Have the user's own modules, by their files, run anew where this process has others, or older ones.

    Else another text would be hashed than is run. Of a module that was first imported elsewhere, nobody knows which
    text was run: it is taken for an older one where its file was changed since this package was loaded.
    """
    names = {_name_of(file)[0]: file for file in files}
    now = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    loaded = {name: module for name in names if (module := sys.modules.get(name)) is not None}
    if any(
        Path(module.__file__ or "").absolute() != names[name]
        or (_RUN[names[name]] != now[names[name]] if names[name] in _RUN else names[name].stat().st_mtime > _BEGAN)
        for name, module in loaded.items()
    ):
        roots = {name.partition(".")[0] for name in names}
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ""
            if name.partition(".")[0] in roots and not any(part in file for part in _OF_OTHERS):
                del sys.modules[name]
        importlib.invalidate_caches()
    _RUN.update(now)


def _name_of(path: Path) -> tuple[str, Path]:
    """What a file is imported as, and the folder from which it is: `layers.blocks` of `layers/blocks.py`."""
    name, root = path.stem, path.parent
    while (root / "__init__.py").exists():
        name, root = f"{root.name}.{name}", root.parent
    return name.removesuffix(".__init__"), root


def line_of(error: BaseException, path: Path) -> str:
    """`file:line` of a file's own line that led to an error; empty where none did."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename in (str(path), str(path.absolute()))]
    return f"{path}:{lines[-1]}" if lines else ""


def _module_of(path: Path) -> ModuleType:
    """The module that a file is; one of a package is imported as part of it."""
    name, root = _name_of(path)
    if root == path.parent:
        return load_file(path)
    _look_first_in(root)
    _forget_stale(files_of([path]))
    return importlib.import_module(name)


def source_of(path: Path, name: str) -> str:
    """SHA-256 of the syntax, without docstrings, of what a file defines as `name`, and of the user's code that it uses.

    That is what it uses in the file, in turn, and all of the user's own modules that this imports.
    """
    statements = _used(without_texts(ast.parse(path.read_bytes())), name)
    contents, seen, waiting = [_content(statements)], {path}, [(path, statements)]
    while waiting:
        for file in _imported(*waiting.pop()):
            if file not in seen:
                seen.add(file)
                body = without_texts(ast.parse(file.read_bytes())).body
                contents.append(_content(body))
                waiting.append((file, body))
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def without_texts(tree: ast.Module) -> ast.Module:
    """A syntax tree whose docstrings, and other texts that stand by themselves, are taken out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_text(item)]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _content(node: Any) -> Any:
    """Syntax as lists for JSON, without places. What is empty is left out: later versions of Python have more of it."""
    if isinstance(node, ast.AST):
        fields = ((key, value) for key, value in ast.iter_fields(node) if value is not None and value != [])
        return [type(node).__name__, *([key, _content(value)] for key, value in fields)]
    return [_content(item) for item in node] if isinstance(node, list) else repr(node)


def _used(tree: ast.Module, name: str) -> list[ast.stmt]:
    """The statements of a file that define a name and, in turn, the names that they use; in their order."""
    known, used = {name, "*"}, list[ast.stmt]()
    while len(found := [item for item in tree.body if _defined(item) & known]) > len(used):
        used = found
        known.update(*map(_names, used))
    return used


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a statement at the top level of a file defines, or changes as `SIZES["a"] = 1`, `LAYERS.append(1)`."""
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    nodes = list(ast.walk(statement))
    changed = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store)]
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        changed.append(statement.value.func)
    imported = {node.asname or node.name.partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    return imported.union((node.name for node in nodes if isinstance(node, _DEFINITIONS)), *map(_names, changed))


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _imported(path: Path, statements: list[ast.stmt]) -> Iterator[Path]:
    """Files of the user's own modules that statements of the file `path` import, packages by their `__init__.py`."""
    own = str(_name_of(path)[1])
    every = [*(name for name in sys.path if name not in _FOLDERS), own, *_FOLDERS]
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            names, roots = [alias.name for alias in node.names], every
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module or ''}.{alias.name}" for alias in node.names)]
            roots = [str(path.parents[node.level - 1])] if node.level else every
        else:
            continue
        for name in names:
            places = [Path(root, *name.strip(".").split(".")).absolute() for root in roots]
            files = (file for place in places for file in (place / "__init__.py", place.with_suffix(".py")))
            found = next(filter(Path.is_file, files), None)
            if found is not None and not any(part in found.as_posix() for part in _OF_OTHERS):
                yield found
