"""What a bench keeps and shows: rows, the merging of parts, the page, the figure, targets and the machine's name."""

import json
from pathlib import Path

import pytest
from bench_rows import FACTS, MACHINE, made_row

from harness.bench.benchmark import PARTS, TARGETS, Bench, file_stem, page, read_bench, show, tables
from harness.records.files import RecordsError

RESULTS = Path(__file__).parents[2] / "results" / "bench"


def test_a_bench_is_read_as_it_was_kept(tmp_path):
    bench = Bench(MACHINE).with_part("step", [made_row(), made_row("torchvision", note="a note")], FACTS)
    show(bench, tmp_path / "machine")
    assert read_bench(tmp_path / "machine.json") == bench
    assert json.loads((tmp_path / "machine.json").read_text())["schema"] == 2


def test_a_part_measured_again_takes_its_own_place_only():
    bench = Bench(MACHINE).with_part("step", [made_row(), made_row("torchvision")], {**FACTS, "measured": "then"})
    bench = bench.with_part("study", [made_row(part="study", unit="s")], FACTS)
    bench = bench.with_part("data", [made_row(part="data")], FACTS)
    again = bench.with_part("step", [made_row(ratio=1.0)], {**FACTS, "measured": "now"})
    assert [(row.part, row.ratio) for row in again.rows] == [("step", 1.0), ("data", 2.5), ("study", 2.5)]
    assert (again.parts["step"]["measured"], again.parts["data"]) == ("now", FACTS)
    assert [row.part for row in bench.rows] == ["step", "step", "data", "study"]


@pytest.mark.parametrize(
    "content", ["{}", '{"schema": 1, "rows": []}', '{"schema": 2, "machine": {}, "parts": {}, "rows": [{"x": 1}]}', "["]
)
def test_a_file_that_is_no_bench_is_refused(tmp_path, content):
    path = tmp_path / "machine.json"
    path.write_text(content)
    with pytest.raises(RecordsError, match=r"machine\.json"):
        read_bench(path)


def test_the_published_bench_is_what_its_rows_say(tmp_path):
    (kept,) = RESULTS.glob("*.json")
    bench = read_bench(kept)
    assert set(bench.parts) == {row.part for row in bench.rows} == set(PARTS)
    for path in show(bench, tmp_path / kept.stem)[1]:
        assert path.read_bytes() == kept.with_name(path.name).read_bytes()


def test_targets_are_judged_by_the_worst_case():
    rows = [
        made_row("timm", 2.5),
        made_row("timm", 2.5, "bf16"),
        made_row("timm", 3.5, what="ViT p4"),
        made_row("timm, memory kept", 0.1),
        made_row("vit-pytorch SimpleViT", 1.19, "bf16"),
        made_row("torchvision", 2.5, what="ResNet-8"),
        made_row("torchvision, channels_last", 0.1, what="ResNet-8"),
        made_row("timm", 0.1, threads=1),
        made_row("timm", 0.1, part="data"),
    ]
    found = judged(rows)
    for name, ratio, verdict in (
        ("ViT step in bf16, against timm's in fp32", "2.50", "not met"),
        ("ViT step in bf16, against timm's in bf16", "2.50", "met"),
        ("ViT step in bf16, against vit-pytorch SimpleViT's in bf16", "1.19", "not met"),
        ("ResNet step in bf16, against torchvision's in fp32", "2.50", "met"),
    ):
        assert (found[name][-1], found[name][0]) == (ratio, verdict), name
    assert found["a study of 12 trainings, against a shell loop"][0] == "not measured"
    assert {verdict for verdict, *_ in judged([]).values()} == {"not measured"}
    assert judged(rows).keys() == {name for name, *_ in TARGETS}


def judged(rows):
    """By target: verdict, worst case, bound and what was found."""
    targets, *_ = tables(Bench(MACHINE, tuple(rows)), threads=2)
    return {name.text: [cell.text for cell in cells] for name, *cells in targets.rows}


def test_the_page_shows_targets_ratios_and_where_they_come_from():
    bench = Bench(MACHINE).with_part("step", [made_row()], FACTS)
    shown = tables(bench, threads=2)
    told = page(bench, shown).replace("\\", "")
    assert "| patchbench, bf16 | timm, fp32 | 2.50 [2.25, 2.75] | 4,000 images/s | 1,600 images/s |" in told
    assert (
        "| ViT step in bf16, against timm's in fp32 | not met | ViT p7 w64 d4, 28 px; timm, fp32 | 3 | 2.50 |" in told
    )
    assert "2026-01-02T03:04:05Z" in told
    assert [table.caption for table in shown] == ["Targets", PARTS["step"]]


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
    assert file_stem(cpu, cores, gpu) == name
