"""What a bench keeps: rows, the merging of parts, tables, targets and the machine's name."""

import json
from dataclasses import replace

import pytest
from bench_rows import FACTS, MACHINE, against, made_row

from harness.bench.figure import figure, ratios_frame
from harness.bench.kept import Bench, read_bench, write_bench
from harness.bench.machine import has_fast_bf16, slug
from harness.bench.parts import PARTS
from harness.bench.tables import markdown, sheets
from harness.bench.targets import targets, verdicts
from harness.records.files import RecordsError
from harness.report.style import svg


def test_a_bench_is_read_as_it_was_kept(tmp_path):
    rows = [made_row(ratios=(against("timm", 2.5),)), made_row(contender="timm", best=None, details={})]
    bench = Bench(MACHINE).with_part("step", rows, FACTS)
    write_bench(bench, tmp_path / "machine.json")
    assert read_bench(tmp_path / "machine.json") == bench
    assert json.loads((tmp_path / "machine.json").read_text())["schema"] == 1


def test_a_part_measured_again_takes_its_own_place_only():
    first = [made_row(measured="then"), made_row(contender="timm", measured="then")]
    bench = Bench(MACHINE).with_part("step", first, {**FACTS, "measured": "then"})
    bench = bench.with_part("study", [made_row("study", unit="s")], FACTS)
    bench = bench.with_part("data", [made_row("data")], FACTS)
    again = bench.with_part("step", [made_row(value=1.0, measured="now")], {**FACTS, "measured": "now"})
    assert [(row.part, row.measured) for row in again.rows] == [("step", "now"), ("data", ""), ("study", "")]
    assert again.parts["step"]["measured"] == "now"
    assert again.parts["data"] == FACTS
    assert [row.part for row in bench.rows] == ["step", "step", "data", "study"]


@pytest.mark.parametrize(
    "content", ["{}", '{"schema": 2, "rows": []}', '{"schema": 1, "machine": {}, "parts": {}, "rows": [{"x": 1}]}', "["]
)
def test_a_file_that_is_no_bench_is_refused(tmp_path, content):
    path = tmp_path / "machine.json"
    path.write_text(content)
    with pytest.raises(RecordsError, match=r"machine\.json"):
        read_bench(path)


def step_rows(ratio):
    """Rows of a machine on which each of ours is `ratio` times as fast as each peer."""
    vit = [against(to, ratio, precision) for to in ("timm", "torchvision") for precision in ("fp32", "bf16")]
    return [
        made_row(ratios=tuple(vit)),
        made_row(what="ViT p4", ratios=tuple(replace(item, median=item.median + 1) for item in vit)),
        made_row(what="ResNet-8", ratios=(against("torchvision", ratio), against("torchvision, channels_last", 0.1))),
    ]


def test_targets_are_judged_by_the_worst_case():
    found = {verdict.target.what: verdict for verdict in verdicts(step_rows(2.5), threads=2, bf16=True)}
    hard, easy = found["ViT step in bf16, against timm's in fp32"], found["ViT step in bf16, against timm's in bf16"]
    assert (hard.found, hard.is_met, hard.where) == (2.5, False, "ViT p7 w64 d4, 28 px; timm in fp32")
    assert (easy.found, easy.is_met) == (2.5, True)
    assert found["ResNet step in bf16, against torchvision's in fp32"].found == 2.5
    unknown = found["a study of 12 trainings, against a shell loop"]
    assert (unknown.found, unknown.is_met) == (None, None)


def test_other_threads_and_other_parts_do_not_count():
    rows = [made_row(threads=1, ratios=(against("timm", 9.0),)), made_row("data", ratios=(against("timm", 9.0),))]
    assert all(verdict.found is None for verdict in verdicts(rows, threads=2, bf16=True))


def test_limits_are_met_from_below():
    rows = [made_row("overhead", what="patchbench list", unit="s", value=0.5, threads=None)]
    (found,) = (item for item in verdicts(rows, threads=2, bf16=True) if item.found is not None)
    assert (found.target.bound, found.is_met) == (0.4, False)
    (found,) = (item for item in verdicts([replace(rows[0], value=0.3)], threads=2, bf16=True) if item.found)
    assert found.is_met


def test_without_bf16_the_steps_are_compared_in_fp32():
    assert {target.precision for target in targets(bf16=False) if target.part == "step"} == {"fp32"}
    assert {target.bound for target in targets(bf16=False) if target.part == "step"} == {1.3}


def test_the_page_shows_targets_ratios_and_where_they_come_from():
    rows = [made_row(ratios=(against("timm", 2.5),)), made_row(contender="timm", precision="fp32", value=1600.0)]
    bench = Bench(MACHINE).with_part("step", rows, FACTS)
    page = markdown(bench, verdicts(bench.rows, threads=2, bf16=True), figure="machine.png")
    assert "| patchbench, bf16 | timm, fp32 | 2.50 [2.25, 2.75] |" in page
    assert "| ViT step in bf16, against timm's in fp32 | not met |" in page
    assert "2026-01-02T03:04:05Z" in page
    assert "![Ratios of speed, Patchbench to others](machine.png)" in page
    widths = {line.replace("\\|", "").count("|") for line in page.split("### Where")[1].splitlines() if "|" in line}
    assert widths == {7}
    assert [sheet.title.partition(":")[0] for sheet in sheets(bench, [])] == ["Targets", "Ratios", "Measured"]


def test_the_figure_has_a_panel_per_part_that_compares():
    rows = [made_row(ratios=(against("timm", 2.5), against("timm", 2.0, "bf16"))), made_row("growth", unit="s")]
    rows += [made_row("study", ratios=(against("shell loop", 4.0),)), made_row(threads=1, ratios=(against("x", 2.0),))]
    drawn = figure(rows, threads=2)
    titles = [axes.get_title(loc="right") for axes in drawn.axes]
    assert [title.lower() for title in titles] == [PARTS["step"].lower(), PARTS["study"].lower()]
    assert list(ratios_frame(rows, threads=2)["ratio"]) == [2.5, 2.0, 4.0]
    assert svg(drawn) == svg(figure(rows, threads=2))
    assert "No part" in figure([], threads=2).axes[0].texts[0].get_text()


@pytest.mark.parametrize(
    ("cpu", "cores", "gpu", "name"),
    [
        ("AMD EPYC", 2, "", "amd-epyc-2-cores"),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", 8, "", "intel-xeon-platinum-8481c-8-cores"),
        ("AMD Ryzen 9 7950X 16-Core Processor", 1, "", "amd-ryzen-9-7950x-16-core-1-core"),
        ("Apple M3", 8, "", "apple-m3-8-cores"),
        ("AMD EPYC", 16, "NVIDIA H100 80GB HBM3", "amd-epyc-16-cores-nvidia-h100-80gb-hbm3"),
        ("../../x", 1, "", "x-1-core"),
    ],
)
def test_a_machine_is_named_by_its_processor(cpu, cores, gpu, name):
    assert slug(cpu, cores, gpu) == name


def test_bf16_needs_an_instruction_for_it():
    assert has_fast_bf16(["avx512f", "avx512_bf16"])
    assert not has_fast_bf16(["avx2", "avx512f"])
