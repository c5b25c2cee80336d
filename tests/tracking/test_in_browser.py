"""MLflow's interface as a person sees it, in a real browser: what `patchbench ui` links to shows what it should."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import Browser, chromium
from free_ports import free_port
from tracking_records import RESNET, Records, make_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium: apt install chromium"),
    pytest.mark.timeout(600),
]

NAMES = ("ViT/4 · seed 0 · 55,000 images", "ViT/4 · seed 1 · 55,000 images", "ResNet-8 · seed 0 · 55,000 images")

SECTIONS = ("validation", "train", "test", "model", "cost")  # of charts, in their order


@dataclass(frozen=True)
class Site:
    """A server over a study of two arms, and the browser that looks at it."""

    browser: Browser
    records: Records
    home: str
    link: str
    """To the study's confirm runs; both as `patchbench ui` printed them."""

    def page(self, path: str) -> str:
        """Address of a page of the study's experiment."""
        return f"{self.link.partition('/runs?')[0]}/{path}?workflowType=machine_learning"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Site]:
    records = Records(tmp_path_factory.mktemp("results"), make_study())
    shutil.copy(empty_database, records.results / "mlflow.db")
    for seed in range(2):
        records.complete(seed)
    records.keep_model(records.complete(0, arm=RESNET))
    records.complete(0, arm=RESNET, trial=1)
    report = records.folder / "report.html"
    report.write_text("<!doctype html><title>A report</title><h1>Do smaller patches help?</h1>")
    (records.folder / "figures").mkdir()
    (records.folder / "figures" / "accuracy.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (records.folder / "runs.csv").write_text("arm,seed\nViT/4,0\n")
    records.sync(artifacts=[report, records.folder / "figures", records.folder / "runs.csv"])
    command = [sys.executable, "-m", "harness", "--results", str(records.results), "ui", "--port", str(free_port())]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        home = process.stdout.readline().removeprefix("MLflow is at ").removesuffix(" (Ctrl-C ends it)\n")
        link = process.stdout.readline().removeprefix("patch_size/smoke: ").strip()
        with Browser(tmp_path_factory.mktemp("profile")) as browser:
            yield Site(browser, records, home, link)
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=60)


def test_the_address_that_is_told_lists_the_studies(site: Site) -> None:
    site.browser.open(site.home)
    site.browser.wait_for_texts("Experiments", "patch_size/smoke")


def test_the_studys_link_lists_its_confirm_runs_by_arm_seed_and_size(site: Site) -> None:
    site.browser.open(site.link)
    site.browser.wait_for_texts(*NAMES, "3 matching runs")
    assert "trial 1" not in site.browser.text()


def test_the_experiment_lists_launches_which_open_to_their_trainings(site: Site) -> None:
    # The interface remembers a browser's last order, so that it is given here.
    site.browser.open(site.page("runs") + "&searchFilter=&orderByKey=attributes.start_time&orderByAsc=false")
    site.browser.wait_for_texts("launch 20", "5 matching runs")
    assert NAMES[0] not in site.browser.text()
    opener = "document.querySelector('[role=gridcell] button')"
    site.browser.wait_for(f"!!{opener}")
    site.browser.evaluate(f"{opener}.click()")
    site.browser.wait_for_texts(*NAMES, "ResNet-8 · trial 1 · 55,000 images")


def test_the_charts_of_two_arms_show_loss_and_accuracy_by_step(site: Site) -> None:
    site.browser.open(site.link)
    site.browser.wait_for_texts("validation", "cost", *NAMES)
    sections = [line for line in site.browser.text().splitlines() if line in SECTIONS]
    assert sections == list(SECTIONS)  # not by the alphabet
    for metric in ("train/loss", "validation/loss", "validation/accuracy"):
        search = "document.querySelector('input[placeholder=\"Search metric charts\"]')"
        site.browser.wait_for(f"!!{search}")
        site.browser.type_into(search, metric)
        site.browser.wait_for(
            "document.body.innerText.includes('(1)') && document.body.innerText.includes('Step') && "
            f"document.body.innerText.includes('{metric}') && "
            "document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length >= 3"
        )


@pytest.mark.parametrize(
    ("condition", "shown", "hidden"),
    [
        ("params.`model.kind` = 'vit'", NAMES[:2], NAMES[2:]),
        ("params.`model.kind` = 'resnet' and tags.phase = 'confirm'", NAMES[2:], NAMES[:2]),
    ],
)
def test_runs_are_filtered_by_parameters(
    site: Site, condition: str, shown: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    place = f"&searchFilter={quote(condition)}&orderByKey={quote('metrics.`validation/accuracy`')}&orderByAsc=false"
    site.browser.open(site.page("runs") + place)
    site.browser.wait_for_texts(*shown, f"{len(shown)} matching run")
    assert not [name for name in hidden if name in site.browser.text()]


def test_a_run_shows_its_data_with_our_hash_its_parameters_and_its_launch(site: Site) -> None:
    (run,) = [run for run in site.records.runs() if run.info.run_name == NAMES[0]]
    site.browser.open(site.page(f"runs/{run.info.run_id}"))
    site.browser.wait_for_texts(NAMES[0], f"fashion_mnist ({'d' * 36})", "model.patch_size", "data_hash", "launch 20")


def test_the_report_figures_and_tables_open(site: Site) -> None:
    (launch,) = site.records.parents()
    site.browser.open(site.page(f"runs/{launch.info.run_id}/artifacts/report.html"))
    site.browser.wait_for_texts("figures", "report.html", "runs.csv")
    shown = "document.querySelector('iframe')?.src.startsWith('blob:')"
    site.browser.wait_for(shown)
    text = site.browser.evaluate("fetch(document.querySelector('iframe').src).then(answer => answer.text())")
    assert "Do smaller patches help?" in text
    site.browser.open(site.page(f"runs/{launch.info.run_id}/artifacts/runs.csv"))
    site.browser.wait_for_texts("arm", "seed", "ViT/4")


def test_the_best_model_of_an_arm_is_an_artifact_of_its_run(site: Site) -> None:
    (run,) = [run for run in site.records.runs() if run.info.run_name == NAMES[2]]
    site.browser.open(site.page(f"runs/{run.info.run_id}/artifacts/model/model.json"))
    site.browser.wait_for_texts("model.safetensors", '"normalisation"', run.data.tags["digest"])
