"""What is read is data: nothing in the package unpickles or evaluates it. Study files are code, and run when named."""

import ast
from pathlib import Path

import pytest

HARNESS = sorted((Path(__file__).parents[2] / "harness").rglob("*.py"))

REFUSED = {
    "eval": "evaluates text",
    "exec": "runs text",
    "compile": "compiles text",
    "pickle.load": "unpickles",
    "pickle.loads": "unpickles",
    "pickle.Unpickler": "unpickles",
    "marshal.loads": "loads code",
    "shelve.open": "unpickles",
    "joblib.load": "unpickles",
    "pd.read_pickle": "unpickles",
    "yaml.load": "constructs objects",
    "yaml.unsafe_load": "constructs objects",
    "os.system": "starts a shell",
}


def calls(path):
    """(dotted name, keyword arguments, line) of each call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}, node.lineno


def faults(path):
    for name, words, line in calls(path):
        if name in REFUSED:
            yield f"{path.name}:{line}: {name} {REFUSED[name]}"
        if name == "torch.load" and words.get("weights_only") != "True":
            yield f"{path.name}:{line}: torch.load without weights_only=True unpickles"
        if name == "np.load" and words.get("allow_pickle") != "False":
            yield f"{path.name}:{line}: np.load without allow_pickle=False"
        if name.startswith("subprocess.") and words.get("shell", "False") != "False":
            yield f"{path.name}:{line}: a shell takes names for commands"
        if name.endswith((".extractall", ".extract")) and words.get("filter") != "'data'":
            yield f"{path.name}:{line}: an archive may write outside its folder"
        if name == "Image.open" and "formats" not in words:
            yield f"{path.name}:{line}: PIL may start a program for a rare format"


def test_nothing_that_is_read_is_run():
    assert [fault for path in HARNESS for fault in faults(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "pickle.load(file)",
        "tar.extractall(folder)",
        "subprocess.run(line, shell=True)",
        "Image.open(path)",
    ],
)
def test_the_check_can_fail(tmp_path, line):
    (tmp_path / "a.py").write_text(line)
    assert len(list(faults(tmp_path / "a.py"))) == 1


def test_records_are_read_through_the_bounded_readers():
    """`json.loads`, `np.load` and whole reads of files elsewhere have neither a limit nor an error of ours."""
    own = {"files.py", "correctness.py"}
    unbounded = [
        f"{path.name}:{line}: {name}"
        for path in HARNESS
        if path.parent.name == "records" and path.name not in own
        for name, _, line in calls(path)
        if name in {"json.loads", "json.load", "np.load"} or name.endswith(".read_text")
    ]
    allowed = {"provenance.py", "study_file.py"}  # /proc/cpuinfo, of the system; text that was just written
    assert [fault for fault in unbounded if fault.partition(":")[0] not in allowed] == []
