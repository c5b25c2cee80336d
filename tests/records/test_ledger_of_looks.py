"""looks.jsonl: what it holds is read back, added to in whole lines, and refused where it is damaged."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.execution.overrides import resolve_study
from harness.records import looks, manifest
from harness.records.files import RecordsError
from harness.records.looks import Ledger, Look, announced, digest_of, read_ledger, registration
from harness.records.study_file import read_study, write_study
from harness.spec import ResolvedStudy, study_names

GIT = {"git_revision": "0123abcd", "git_dirty": False}


@pytest.fixture(scope="module")
def study() -> ResolvedStudy:
    return resolve_study("patch_size", "smoke", ())


def look(study: ResolvedStudy, ledger: Ledger, **changes: object) -> Look:
    plain = announced(study)
    made = Look(
        time="2026-01-02 03:04:05 +0000",
        digest=digest_of(plain),
        runs_of="ab" * 32,
        seeds=study.seeds,
        runs={"ViT/7, 60": ("00112233", "44556677")},
        level=0.96,
        spends=True,
        study=plain,
        **looks.changes(ledger, plain),
    )
    return replace(made, **changes)


@pytest.fixture
def kept(tmp_path: Path, study: ResolvedStudy) -> Path:
    """A folder with a ledger of three lines."""
    looks.append(tmp_path, registration(study, GIT))
    for each in (study, replace(study, seeds=(*study.seeds, 90))):
        looks.append(tmp_path, look(each, read_ledger(tmp_path)))
    return tmp_path


def test_what_is_kept_is_read_back(kept: Path, study: ResolvedStudy) -> None:
    ledger = read_ledger(kept)
    assert ledger.registered is not None
    assert ledger.registered.preregistered == digest_of(announced(study))
    first, second = ledger.looks
    assert (first.changed, first.changed_since_look, first.seeds_added) == ((), (), ())
    assert (second.changed, second.changed_since_look, second.seeds_added) == (("seeds",), ("seeds",), (90,))
    assert second.study["seeds"] == [*study.seeds, 90]
    lines = (kept / looks.NAME).read_text().splitlines()
    assert ['"study":' in line for line in lines] == [True, False, True], "a study stands there once"
    assert read_ledger(kept / "elsewhere") == Ledger()
    assert not read_ledger(kept / "elsewhere")


def test_a_look_before_the_registration_is_told_apart(tmp_path: Path, study: ResolvedStudy) -> None:
    looks.append(tmp_path, look(study, Ledger()))
    looks.append(tmp_path, registration(study, GIT))
    looks.append(tmp_path, look(study, read_ledger(tmp_path), level=0.98))
    ledger = read_ledger(tmp_path)
    assert (ledger.seen, [each.level for each in ledger.looks]) == (1, [0.96, 0.98])


@pytest.mark.parametrize("name", study_names())
def test_a_study_announces_the_same_once_it_is_kept(name: str, tmp_path: Path) -> None:
    asked = resolve_study(name, "laptop", ())
    write_study(tmp_path, asked, {})
    assert announced(read_study(tmp_path)[0]) == announced(asked)


def test_texts_are_not_announced_and_settings_are(study: ResolvedStudy) -> None:
    texts = {"question": "Why?", "source": "nobody", "minutes": 3.0, "changes_after_first_look": ("Something.",)}
    claim = replace(study.claims[0], statement="In other words.", source="elsewhere", conditions="any")
    reworded = replace(study, **texts, claims=(claim, *study.claims[1:]))
    assert digest_of(announced(reworded)) == digest_of(announced(study))
    for other in (
        replace(study, seeds=(5, 6, 7)),
        replace(study, claims=study.claims[1:]),
        replace(study, recipe=replace(study.recipe, updates=3)),
        replace(study, arms=study.arms[:-1], claims=()),
    ):
        assert digest_of(announced(other)) != digest_of(announced(study))
    secret = replace(study, data=replace(study.data, source="npz:https://me:secret@host/a.npz"))
    assert "secret" not in str(announced(secret))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (b'"event": "look"', b'"event": "glance"'),
        (b'"level": 0.96', b'"level": 96'),
        (b'"level": 0.96', b'"level": "high"'),
        (b'"spends": true', b'"spends": 1.5'),
        (b'"runs_of"', b'"runs of"'),
        (b'"event": "look"', b'"event": "look'),
        (b"\n", b"\n\n"),
        (b"\n{", b"\n[{"),
    ],
)
def test_a_damaged_line_is_told_in_a_sentence_and_never_dropped(kept: Path, before: bytes, now: bytes) -> None:
    path = kept / looks.NAME
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, now, 1))
    with pytest.raises(RecordsError, match=rf"{looks.NAME} is damaged: line 2 is no entry .*; restore the file, as"):
        read_ledger(kept)
    with pytest.raises(RecordsError):
        looks.append(kept, look(resolve_study("depth", "smoke", ()), Ledger()))
    assert path.read_bytes() != content


def test_an_empty_file_and_a_second_registration_are_damage(kept: Path) -> None:
    path = kept / looks.NAME
    first = path.read_bytes().splitlines(keepends=True)[0]
    for content in (b"", first + first, first[: len(first) // 2]):
        path.write_bytes(content)
        with pytest.raises(RecordsError, match="is damaged"):
            read_ledger(kept)


def test_a_ledger_that_was_published_is_neither_changed_nor_taken_away(kept: Path) -> None:
    path = kept / looks.NAME
    manifest.write_manifest(kept, [path], {})
    looks.require_ledger(kept)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"level": 0.96', b'"level": 0.91'))
    with pytest.raises(RecordsError, match=r"looks.jsonl was changed after it was written: .* Restore the file"):
        looks.require_ledger(kept)
    path.unlink()
    with pytest.raises(RecordsError, match="found no such file"):
        looks.require_ledger(kept)
