"""Folders that are sent from one machine to another, and a user's files that go along."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execution.engines.parcels import pack, signs, unpack
from harness.records.files import RecordsError
from harness.spec.functions import COPIES, Function, at_hand, files_of, source_of

NAMES = st.sampled_from(["journal.jsonl", "log.txt", "model/model.json", "result.json", "teacher.pt"])


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@given(files=st.dictionaries(NAMES, st.binary(max_size=50)))
def test_what_is_unpacked_is_what_was_packed(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    here, elsewhere = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    write(here, *files)
    for name, content in files.items():
        (here / name).write_bytes(content)
    unpack(pack({"run": here}), {"run": elsewhere})
    assert {name: (elsewhere / name).read_bytes() for name in there(elsewhere)} == files


def test_the_newest_whole_state_is_sent_and_takes_the_place_of_older_ones(tmp_path: Path) -> None:
    here, elsewhere = {"run": tmp_path / "here"}, {"run": tmp_path / "there"}
    pairs = [f"checkpoint-{number:09d}.{kind}" for number in (4, 8) for kind in ("pt", "json")]
    write(
        here["run"], *pairs, "checkpoint-000000012.pt", "journal.jsonl", ".log.x.tmp", "damaged/checkpoint-000000002.pt"
    )
    write(elsewhere["run"], "checkpoint-000000002.pt", "checkpoint-000000002.json", "log.txt")
    assert signs(here) == {"run/checkpoint-000000008.pt"}
    unpack(pack(here), elsewhere)
    assert there(elsewhere["run"]) == {*pairs[2:], "journal.jsonl", "log.txt"}


@pytest.mark.parametrize("name", ["run/journal.jsonl", "run/../elsewhere", "other/journal.jsonl"])
def test_nothing_is_written_of_a_parcel_that_is_not_what_was_sent(tmp_path: Path, name: str) -> None:
    write(tmp_path / "here", "log.txt")
    parcel = pack({"run": tmp_path / "here"})
    parcel[name] = ("0" * 64 if name == "run/journal.jsonl" else parcel["run/log.txt"][0], parcel["run/log.txt"][1])
    with pytest.raises(RecordsError, match=name.replace(".", r"\.")):
        unpack(parcel, {"run": tmp_path / "there"})
    assert not (tmp_path / "there").exists()


def test_a_file_that_a_machine_lacks_is_taken_from_the_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, module = tmp_path / "own" / "study.py", tmp_path / "own" / "layers_sent.py"
    study.parent.mkdir()
    monkeypatch.syspath_prepend(study.parent)
    module.write_text("WIDTH = 3\n")
    study.write_text("import json\nfrom layers_sent import WIDTH\n\ndef width():\n    return WIDTH\n")
    assert files_of([study, tmp_path / "gone.py"]) == {study, module}
    function = Function(name="width", source=source_of(study, "width"), place=str(study))
    copies = tmp_path / "copies"
    for path in (study, module):
        copy = copies / path.relative_to(path.anchor)
        copy.parent.mkdir(parents=True, exist_ok=True)
        path.rename(copy)
    monkeypatch.syspath_prepend(copy.parent)
    monkeypatch.setenv(COPIES, str(copies))
    assert at_hand(study) == copy.parent / "study.py"
    assert function.find()() == 3
