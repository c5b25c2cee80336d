"""A report's bytes follow from the results: from nothing that a home folder, a notebook or the environment can set."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MATPLOTLIBRC = """
savefig.bbox: tight
savefig.pad_inches: 1
savefig.transparent: True
savefig.dpi: 50
figure.autolayout: True
figure.constrained_layout.use: True
figure.facecolor: black
axes.facecolor: yellow
axes.formatter.use_locale: True
axes.unicode_minus: False
axes.titlelocation: right
axes.xmargin: 0.4
errorbar.capsize: 9
font.size: 30
font.family: serif
lines.solid_capstyle: round
lines.antialiased: False
lines.scale_dashes: False
markers.fillstyle: none
mathtext.default: bf
path.simplify: False
path.sketch: 5, 20, 4
agg.path.chunksize: 20
image.cmap: gray
patch.linewidth: 7
svg.fonttype: none
svg.hashsalt: mine
text.antialiased: False
text.hinting: none
text.hinting_factor: 1
text.kerning_factor: 6
xtick.major.size: 20
xtick.direction: in
timezone: Asia/Tokyo
"""

IN_EVERY_PROCESS = {
    "pandas": "import pandas\nfor name, value in {'display.precision': 2, 'display.max_rows': 1, 'display.width': 20,"
    " 'display.float_format': '{:.1f}'.format, 'mode.string_storage': 'python', 'mode.use_inf_as_na': True}.items():\n"
    "    try:\n        pandas.set_option(name, value)\n    except Exception:\n        pass\n",
    "numpy": "import numpy\nnumpy.set_printoptions(precision=1, legacy='1.13', suppress=True)\nnumpy.random.seed(5)\n",
    "locale": "import locale\nfor name in ('de_DE.UTF-8', 'fr_FR.UTF-8', ''):\n    try:\n"
    "        locale.setlocale(locale.LC_ALL, name)\n        break\n    except locale.Error:\n        pass\n",
    "decimal": "import decimal\ndecimal.getcontext().prec = 3\n",
    "seaborn": "import os\nos.environ.pop('MPLBACKEND', None)\nimport seaborn\n"
    "seaborn.set_theme('poster', 'darkgrid', 'dark')\n",
}
"""Python that a site's or a user's start-up file may hold."""

VARIABLES = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "C",
    "LANG": "de_DE.UTF-8",
    "LANGUAGE": "de",
    "PYTHONHASHSEED": "7",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONOPTIMIZE": "1",
    "PANDAS_FUTURE_INFER_STRING": "0",
    "PANDAS_COPY_ON_WRITE": "0",
    "MPLBACKEND": "nonsense",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
    "COLUMNS": "40",
    "NO_COLOR": "1",
    "SOURCE_DATE_EPOCH": "1",
}

STUDY = "pretraining"  # with a look inside models, and few figures

SETTINGS = [*VARIABLES, *IN_EVERY_PROCESS, "matplotlibrc", "MPLCONFIGDIR", "umask"]


def report(repository: Path, place: Path, settings: list[str]) -> dict[str, str]:
    """The files that a report leaves, by name, under some of the SETTINGS: their hashes and modes."""
    home, start = place / "home", place / "start"
    shutil.copytree(repository / "results" / STUDY, place / "results" / STUDY)
    (home / ".config" / "matplotlib").mkdir(parents=True)
    start.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "MPLCONFIGDIR")}
    environment |= {"HOME": str(home), "PYTHONPATH": f"{start}{os.pathsep}{repository}", "OMP_NUM_THREADS": "1"}
    environment |= {name: value for name, value in VARIABLES.items() if name in settings}
    environment.pop("XDG_CONFIG_HOME", None)
    if "matplotlibrc" in settings:
        (home / ".config" / "matplotlib" / "matplotlibrc").write_text(MATPLOTLIBRC)
    if "MPLCONFIGDIR" in settings:
        (home / "own").mkdir()
        (home / "own" / "matplotlibrc").write_text(MATPLOTLIBRC)
        environment["MPLCONFIGDIR"] = str(home / "own")
    (start / "sitecustomize.py").write_text(
        "".join(IN_EVERY_PROCESS[name] for name in settings if name in IN_EVERY_PROCESS)
    )
    report = ("report", STUDY, "--scale", "laptop")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "--results", str(place / "results"), *report],
        cwd=repository,
        env=environment,
        capture_output=True,
        check=False,
        umask=0o077 if "umask" in settings else 0o022,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return {
        str(path.relative_to(place)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mode:o}"
        for path in sorted((place / "results").rglob("*"))
        if path.is_file() and "work" not in path.parts
    }


@pytest.mark.slow
def test_nothing_that_a_home_folder_or_the_environment_sets_reaches_a_file(repository: Path, tmp_path: Path) -> None:
    """All settings at once; where one leaks, halves of them are tried, to name it.

    With them seaborn is there before we are, so what has no backend of that name to offer is the plain report.
    """
    expected = report(repository, tmp_path / "plain", ["MPLBACKEND"])
    assert sum(name.endswith(".png") for name in expected) > 3
    changed = report(repository, tmp_path / "all", SETTINGS)
    if changed == expected:
        return
    differing = [file for file in expected | changed if changed.get(file) != expected.get(file)]
    suspects = SETTINGS
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        leaks = report(repository, tmp_path / f"{half[0]}-{half[-1]}", half) != expected
        suspects = half if leaks else suspects[len(half) :]
    pytest.fail(f"{suspects[0]} leaks, and perhaps others after it, into {differing}")
