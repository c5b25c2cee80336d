"""CONTRIBUTING.md's table of faults names tests that exist."""

import ast
import re
from pathlib import Path


def test_every_test_in_the_table_of_faults_exists(repository: Path) -> None:
    table = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Faults")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`(tests/[^`]+)::(\w+)`", row)
        assert named, row
        for path, name in named:
            tree = ast.parse((repository / path).read_text(encoding="utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"
