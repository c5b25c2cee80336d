"""The pinned versions, the declared dependencies and the changelog."""

import ast
import re
import stat
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PLATFORMS = {
    "Linux, x86-64": {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "x86_64"},
    "Linux, arm64": {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "aarch64"},
    "macOS": {"platform_system": "Darwin", "sys_platform": "darwin", "platform_machine": "arm64"},
}


OF_DATASETS = {"dill", "multiprocess", "xxhash"}
"""What only datasets needs, of the extra 'huggingface', which need not be installed."""

OTHERWISE_NAMED = {"PIL": "pillow", "sklearn": "scikit-learn"}
"""Packages that are not called as the module that they provide."""


def environment(platform: str, python: str) -> dict[str, str]:
    """What markers are evaluated against; without an extra."""
    return {**PLATFORMS[platform], "os_name": "posix", "python_version": python, "python_full_version": f"{python}.0"}


@pytest.fixture(scope="session")
def project(repository: Path) -> dict[str, Any]:
    with (repository / "pyproject.toml").open("rb") as file:
        content: dict[str, Any] = tomllib.load(file)["project"]
    return content


@pytest.fixture(scope="session")
def pins(repository: Path) -> dict[str, Requirement]:
    lines = (line.strip() for line in (repository / "constraints.txt").read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    names = [canonicalize_name(pin.name) for pin in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def pinned_version(pin: Requirement) -> Version:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


@cache
def requirements_of_installed() -> dict[str, list[Requirement]]:
    """What each installed package says that it needs: read once, which takes longer than all that is done with it."""
    return {
        canonicalize_name(found.name): [Requirement(text) for text in found.requires or ()]
        for found in metadata.distributions()
    }


def needed(project: dict[str, Any], platform: str, python: str) -> dict[str, set[Requirement]]:
    """Every requirement of Patchbench and its extras, direct or not, by name, as far as it is installed here."""
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    todo = [Requirement(text) for text in [*project["dependencies"], *extras]]
    found: dict[str, set[Requirement]] = {}
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement in found.setdefault(name, set()):
            continue
        found[name].add(requirement)
        at = environment(platform, python)
        extras_of = [at | {"extra": extra} for extra in requirement.extras | {""}]
        todo += [
            inner
            for inner in requirements_of_installed().get(name, ())
            if inner.marker is None or any(map(inner.marker.evaluate, extras_of))
        ]
    return found


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_everything_needed_is_pinned_at_a_version_that_fits(
    project: dict[str, Any], pins: dict[str, Requirement], platform: str, python: str
) -> None:
    found = needed(project, platform, python)
    for name, requirements in found.items():
        assert name in pins, f"{name} has no pin"
        marker = pins[name].marker
        assert marker is None or marker.evaluate(environment(platform, python)), f"{name} is not pinned on {platform}"
        for requirement in requirements:
            assert requirement.specifier.contains(pinned_version(pins[name]), prereleases=True), f"{requirement}"


def test_nothing_else_is_pinned(project: dict[str, Any], pins: dict[str, Requirement]) -> None:
    for text in project["optional-dependencies"]["bench"]:
        name = Requirement(text).name
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"what {name} needs can be read only where the extra 'bench' is installed")
    everywhere = {name for platform in PLATFORMS for name in needed(project, platform, "3.11")}
    if sys.platform == "linux":  # elsewhere the CUDA packages' own requirements cannot be read
        assert set(pins) - OF_DATASETS <= everywhere


def test_installed_versions_are_the_pinned_ones(pins: dict[str, Requirement]) -> None:
    different = {}
    for name, pin in pins.items():
        try:
            installed = Version(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
        if installed.public != pinned_version(pin).public:  # a CPU build of torch is 2.x+cpu
            different[name] = f"{installed}, pinned {pinned_version(pin)}"
    assert different == {}


def test_every_imported_package_is_declared(project: dict[str, Any], repository: Path) -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    extras = (project["optional-dependencies"][name] for name in ("bench", "huggingface", "ray"))
    extra = {canonicalize_name(Requirement(text).name) for texts in extras for text in texts}
    for path in [*repository.glob("harness/**/*.py"), *repository.glob("studies/*.py")]:
        for module in imported(ast.parse(path.read_text())):
            if module in sys.stdlib_module_names or module in ("harness", "studies"):
                continue
            name = OTHERWISE_NAMED.get(module, canonicalize_name(module))
            assert name in declared | extra, f"{path.relative_to(repository)} imports {module}"


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_the_version_has_a_section_in_the_changelog(project: dict[str, Any], repository: Path) -> None:
    sections = re.findall(r"^## \[(.+?)\]", (repository / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert sections[0] == "Unreleased"
    assert project["version"] in sections


def test_the_checks_of_a_clean_clone_can_be_started(repository: Path) -> None:
    script = repository / ".ci/run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script.read_text()
