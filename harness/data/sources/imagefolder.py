"""Users' own images: `PATH/train/<class>/**` with `PATH/test/<class>/**`, or `PATH/<class>/**`, split here."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from harness.data.listing import LAYOUT, SUFFIXES, Walk, match_classes
from harness.data.photograph_source import Files, PhotographSource, check_counts
from harness.records.data_facts import NO_DECODER
from harness.spec import InvalidInput
from harness.spec.errors import require
from harness.spec.plural import counted

S = TypeVar("S", bound=PhotographSource)


def open_source(kind: str, path: str) -> PhotographSource:
    """List a folder of images and check its layout; opens no image. Raises `InvalidInput` with the remedy."""
    root = Path(path).expanduser()
    require(root.is_dir(), f"There is no folder {root} (data.source={kind}:{path}). {LAYOUT}")
    walk = Walk(root)
    folders = walk.parts()
    if not folders:
        classes, files = _all_classes(walk, root)
        check_counts(str(root), classes, files, parts=1)
        return PhotographSource(
            name=f"{kind}:{root}",
            root=root,
            classes=classes,
            train=files,
            skipped=walk.skipped,
            outside=walk.outside,
        )
    if "train" not in folders or "test" not in folders:
        raise InvalidInput(_lacks_part(root, path, folders))
    return parted_folder(PhotographSource, kind, walk, folders)


def _lacks_part(root: Path, path: str, folders: Mapping[str, str]) -> str:
    """Says which part is missing, and what to do."""
    lacking = "test" if "train" in folders else "train"
    has = " and a folder ".join(folders.values())
    remedy = f"{LAYOUT} A class of the name of a part must be called otherwise."
    if set(folders) == {"train", "validation"}:
        remedy = (
            f"To test on {folders['validation']}, rename it to test (validation is then held out of "
            f"{folders['train']}), or set data.source=imagenet:{path}, which tests on it and reads images while it "
            "trains; or put images that are to be tested on into a folder test."
        )
    return f"{root} has a folder {has} but no folder {lacking}. {remedy}"


def parted_folder(cls: type[S], kind: str, walk: Walk, folders: Mapping[str, str]) -> S:
    """A folder with parts of its own; classes are those of the training part."""
    root = walk.root
    classes, train = _all_classes(walk, root / folders["train"])
    check_counts(str(root), classes, train, parts=len(folders))
    parts: dict[str, Files] = {}
    for part in ("validation", "test"):
        if part in folders:
            names = walk.classes(root / folders[part])
            match_classes(root, folders["train"], classes, folders[part], names)
            parts[part] = tuple(
                (path, classes.index(name)) for name in names for path in walk.images(root / folders[part] / name)
            )
            require(bool(parts[part]), f"{root / folders[part]} holds no image ({_suffixes()}). {LAYOUT}")
    walk.pass_over(folders.values())
    return cls(
        name=f"{kind}:{root}",
        root=root,
        classes=classes,
        train=train,
        validation=parts.get("validation"),
        test=parts["test"],
        folders={part: f"{name}/" for part, name in folders.items()},
        skipped=walk.skipped,
        outside=walk.outside,
    )


def _all_classes(walk: Walk, part: Path) -> tuple[tuple[str, ...], Files]:
    """The class names and the images below `part`; every class has some."""
    classes = walk.classes(part)
    require(len(classes) >= 2, f"{part} has {counted(len(classes), 'class folder')}; it needs at least two. {LAYOUT}")
    files: list[tuple[str, int]] = []
    for label, name in enumerate(classes):
        images = walk.images(part / name)
        if not images:
            here = walk.undecodable(part / name)
            why = f" Passed over: {counted(here, 'file')}, {NO_DECODER}." if here else ""
            raise InvalidInput(
                f"Class folder {part / name} holds no image ({_suffixes()}).{why} Add images to it, or remove it."
            )
        files += [(path, label) for path in images]
    return tuple(classes), tuple(files)


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
