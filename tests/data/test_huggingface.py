"""Sets of the Hugging Face hub, through a stand-in for the package `datasets` with what is used of it."""

import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from harness.data import content_hash, load, photograph_source, resolve
from harness.data.sources import find
from harness.data.survey import check
from harness.spec import DataSpec, InvalidInput


class ImageFeature:
    def __init__(self, decode=True):
        self.decode = decode


class ClassLabel:
    def __init__(self, *names):
        self.names = list(names)


class Table:
    """Rows as dicts of columns, and the features of the columns."""

    cache_files = ()

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    def cast_column(self, name, feature):
        assert not feature.decode
        return Table(self.columns, self.features | {name: feature})

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}


def png(level, side=6):
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), level, dtype=np.uint8)).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def split(levels, labels, **more):
    columns = {"img": [png(level) for level in levels], "label": labels} | {
        name: values for name, (values, _) in more.items()
    }
    features = {"img": ImageFeature(), "label": ClassLabel("cat", "dog")}
    return Table(columns, features | {name: feature for name, (_, feature) in more.items()})


TRAIN, TEST = split(range(10), [0, 1] * 5), split([100, 110, 120], [1, 0, 1])


@pytest.fixture
def hub(monkeypatch):
    """Sets by name and configuration."""
    sets = {("pets", None): {"train": TRAIN, "test": TEST}}

    def load_dataset(name, config):
        if (name, config) not in sets:
            raise FileNotFoundError(f"Couldn't find any data file at {name}")
        return sets[name, config]

    module = types.SimpleNamespace(load_dataset=load_dataset, Image=ImageFeature, ClassLabel=ClassLabel)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return sets


def test_images_and_labels_are_found_by_their_types(hub):
    spec = DataSpec(source="huggingface:pets")
    known, facts = resolve(spec)
    assert (known.image_size, known.channels, facts.classes) == (6, 1, 2)
    data = load(spec, phase="confirm")
    assert data.test.images[:, 0, 0, 0].tolist() == [100, 110, 120]
    assert data.test.labels.tolist() == [1, 0, 1]
    assert sorted(data.train.images[:, 0, 5, 5].tolist() + data.validation.images[:, 0, 5, 5].tolist()) == [*range(10)]
    assert find("huggingface:pets").classes == ("cat", "dog")


def test_splits_and_configurations(hub):
    hub["pets", "small"] = {"train": TRAIN, "validation": split([50, 60], [0, 1]), "test": TEST}
    data = load(DataSpec(source="huggingface:pets:small"), phase="confirm")
    assert data.validation.images[:, 0, 0, 0].tolist() == [50, 60]
    hub["pets", "open"] = {"train": TRAIN, "validation": TEST}
    assert len(load(DataSpec(source="huggingface:pets:open"), phase="confirm").test) == 3


def test_of_two_columns_of_labels_one_is_named(hub):
    fine = {"fine": ([0, 0, 1, 1, 0, 0, 1, 1, 0, 1], ClassLabel("tom", "rex"))}
    hub["pets", "two"] = {"train": split(range(10), [0, 1] * 5, **fine), "test": split([9], [0], fine=([1], None))}
    with pytest.raises(InvalidInput, match="has 2 columns of type ClassLabel: label, fine; it needs one"):
        load(DataSpec(source="huggingface:pets:two"))
    assert find("huggingface:pets:two:fine").classes == ("tom", "rex")
    assert load(DataSpec(source="huggingface:pets:two:fine"), phase="confirm").test.labels.tolist() == [1]


def test_the_identity_is_of_images_labels_and_splits(hub):
    def identity(**splits):
        hub["pets", None] = {"train": TRAIN, "test": TEST} | splits
        return content_hash(DataSpec(source="huggingface:pets"))

    found = [
        identity(),
        identity(test=split([100, 110, 121], [1, 0, 1])),
        identity(test=split([100, 110, 120], [1, 1, 1])),
    ]
    assert len({*found, identity(train=split(range(10), [1, 0] * 5))}) == 4
    assert identity() == found[0]


def test_what_does_not_fit_into_memory_is_streamed(hub, monkeypatch):
    spec = DataSpec(source="huggingface:pets")
    inside = load(spec, phase="confirm")
    monkeypatch.setattr("harness.data.photograph_source.memory_limit", lambda: 0)
    streamed = load(spec, phase="confirm")
    (images, labels), *_ = streamed.test.chunks(3)
    assert (images == inside.test.images).all()
    assert (labels == inside.test.labels).all()


def test_images_are_hashed_once_for_as_long_as_the_tables_files_stay(hub, tmp_path, monkeypatch):
    looked = []
    look = photograph_source.look
    monkeypatch.setattr(photograph_source, "look", lambda picture: looked.append(picture) or look(picture))
    (tmp_path / "table.arrow").write_bytes(b"rows")
    monkeypatch.setattr(Table, "cache_files", [{"filename": str(tmp_path / "table.arrow")}])
    spec = DataSpec(source="huggingface:pets")
    assert [load(spec).hash for _ in range(3)] == [content_hash(spec)] * 3
    assert len(looked) == 13
    (tmp_path / "table.arrow").write_bytes(b"more rows")
    load(spec)
    assert len(looked) == 26


def test_a_check_finds_duplicates(hub):
    hub["pets", None] = {"train": TRAIN, "test": split([3, 110, 120], [1, 0, 1])}
    assert check(DataSpec(source="huggingface:pets"))[0].duplicates.first == ("test[0] = train[3]",)


BAD = {
    "nowhere": (None, "cannot be loaded: FileNotFoundError: Couldn't find any data file"),
    "no test": ({"train": TRAIN}, "has the splits train; it must have train and test"),
    "unlabelled": ({"train": TRAIN, "test": split([1], [-1])}, "split test has images without a label"),
    "null labels": ({"train": TRAIN, "test": split([1], [None])}, "split test has images without a label"),
    "one class": ({"train": split(range(4), [0] * 4), "test": TEST}, "has 1 class; it needs at least two"),
    "no images": (
        {"train": Table({}, {"label": ClassLabel("a")}), "test": TEST},
        "has 0 columns of type ImageFeature: none; it needs one, or",
    ),
    "two images": ({"train": split([1], [0], mask=([1], ImageFeature())), "test": TEST}, "img, mask; it needs one"),
}


@pytest.mark.parametrize(("splits", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused(hub, splits, message):
    hub.pop(("pets", None))
    if splits:
        hub["pets", None] = splits
    with pytest.raises(InvalidInput, match=message):
        load(DataSpec(source="huggingface:pets"))


def test_a_damaged_image_is_named_by_its_row(hub):
    hub["pets", None]["test"].columns["img"][1] = {"bytes": b"no image", "path": None}
    with pytest.raises(InvalidInput, match=r"test\[1\] is not an image that can be read"):
        load(DataSpec(source="huggingface:pets", image_size=6))


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InvalidInput, match=r"needs the package datasets\. Install it: pip install 'patchbench\[hugg"):
        load(DataSpec(source="huggingface:pets"))


def test_the_package_itself_gives_the_same_as_a_folder(tmp_path, monkeypatch):
    """Of a folder of images, as it loads one, and of tables written from it."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    rng = np.random.default_rng(0)
    for part, images in (("train", 10), ("test", 4)):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pets" / part / name / f"{number}.png")
    (tmp_path / "tables").mkdir()
    for name, table in datasets.load_dataset(str(tmp_path / "pets")).items():
        table.to_parquet(tmp_path / "tables" / f"{name}-00000-of-00001.parquet")
    expected = load(DataSpec(source=f"imagefolder:{tmp_path / 'pets'}"), phase="confirm").test
    for place in ("pets", "tables"):
        found = load(DataSpec(source=f"huggingface:{tmp_path / place}"), phase="confirm").test
        assert (found.images == expected.images).all()
        assert (found.labels == expected.labels).all()
