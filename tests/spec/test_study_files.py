"""A study of one's own: whatever its file is called, however it is encoded, whatever it prints."""

from pathlib import Path

import pytest

from harness.spec import InvalidInput, find_study, study_name, study_names

LINES = """from harness.spec import *
AT = Scale(
    data=DataSpec(source="digits"),
    recipe=Recipe(updates=3),
    baseline=Arm("ResNet-8 (é)", ResNetSpec()),
    arms=(Arm("ViT", ViTSpec(patch_size=SIZE)),),
)
STUDY = Study(question="Does it?", source="-", factor="depth", scales={"smoke": AT})
"""
GOOD, BAD = LINES.replace("SIZE", "4"), LINES.replace("SIZE", "3")


@pytest.mark.parametrize("name", ["my study.py", "my-study.py", "2 % of it; #1?.py", "été.py"])
def test_a_name_may_hold_blanks_hyphens_and_signs(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(GOOD, encoding="utf-8")
    found, study = find_study(str(path))
    assert found == study_name(str(path)) == name.removesuffix(".py")
    assert study.resolve(found, "smoke").name == found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("depth.py", "with a shipped study or other files. Rename the file, for example {}/my_depth.py"),
        ("Depth.py", "would share its results' folder with a shipped study"),  # one folder on some file systems
        ("work.py", "would share its results' folder with a shipped study or other files. Rename the file"),
        ("a\nb.py", "holds unprintable characters. Rename the file."),
    ],
)  # fmt: skip
def test_a_name_that_is_taken_is_refused(tmp_path: Path, name: str, told: str) -> None:
    path = tmp_path / name
    path.write_text(GOOD, encoding="utf-8")
    for ask in (find_study, study_name):
        with pytest.raises(InvalidInput) as caught:
            ask(str(path))
        assert told.format(tmp_path) in str(caught.value)


def test_a_shipped_study_may_be_named_by_its_file(repository: Path) -> None:
    name, study = find_study(str(repository / "studies" / "depth.py"))
    assert (name, study) == find_study("depth")
    assert "work" not in study_names()


ENCODINGS = {
    "byte-order mark": b"\xef\xbb\xbf" + BAD.encode(),
    "declared latin-1": b"# -*- coding: latin-1 -*-\n" + BAD.encode("latin-1"),
    "declared cp1252": b"#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\n" + BAD.encode("cp1252"),
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS)
def test_an_invalid_study_is_named_whatever_its_encoding(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my_study.py"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        find_study(str(path))
    assert str(caught.value).startswith(f"{path}: scale 'smoke': Arm 'ViT': patch_size 3 does not divide")


@pytest.mark.parametrize(
    "content",
    [GOOD.encode("latin-1"), b"# coding: nonsense\n" + GOOD.encode(), GOOD.encode("utf-16"), GOOD.encode() + b"\0"],
    ids=["undeclared", "unknown", "utf-16", "null byte"],
)
def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my_study.py"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"^{path}(:\d+)?: \w+: "):
        find_study(str(path))


def test_what_a_study_file_prints_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my_study.py"
    path.write_text("print('hello')\n" + GOOD, encoding="utf-8")
    find_study(str(path))
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("name", ["", "..", "../../x", "a/b", "a\\b", "a\nb"])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    """From Python a study may be called anything."""
    _, study = find_study("patch_size")
    with pytest.raises(InvalidInput, match=r"The study's name is .* it names a folder"):
        study.resolve(name, "smoke")
