"""Every test has a cache of its own and no data folder, and none reaches the network."""

import gzip
import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx

from harness.data.sources import named_files
from harness.spec import NAMED_SOURCES, SourceFacts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PATCHBENCH_DATA", raising=False)

    def refuse(url, timeout):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "cache"


@dataclass
class Tiny:
    """A Fashion-MNIST of 60 training and 20 test images, whose hashes the package takes for the true ones."""

    contents: dict[str, bytes]

    def put(self, folder: Path, *, packed: bool = False) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, raw in self.contents.items():
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
            else:
                (folder / name).write_bytes(raw)
        return folder


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    contents = {}
    for stem, n in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        contents |= {f"{stem}-images-idx3-ubyte": idx(images), f"{stem}-labels-idx1-ubyte": idx(labels)}
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in contents.items()}
    published = replace(named_files.PUBLISHED["fashion_mnist"], files=hashes, system=tmp_path / "system")
    monkeypatch.setitem(named_files.PUBLISHED, "fashion_mnist", published)
    monkeypatch.setenv("PATH", str(tmp_path))  # without apt-get
    facts = SourceFacts(image_size=28, channels=1, classes=10, train_images=60, test_images=20, validation_images=10)
    monkeypatch.setitem(NAMED_SOURCES, "fashion_mnist", facts)
    return Tiny(contents)
