"""Result files and Tables 1 to 4 (report/), from made-up rows."""

import json
import math
import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_rows import LABELS, row, stored

from e2ent2lib.data.pairs import DATASETS
from e2ent2lib.measure import everything
from e2ent2lib.measure.everything import can_measure
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import differences, read_results, read_rows, result_file, write_rows
from e2ent2lib.report.printed import PRINTED, TITLES
from e2ent2lib.report.tables import (
    FILES,
    conditions,
    groups,
    layout,
    markdown,
    notes,
    parts,
    save_tables,
    short_table,
    table,
)

# Typed from the paper's pages, table by table
TYPED = """
1 cufed5: bicubic 22.64 0.646, drcn 23.56 0.692, enhancenet 22.58 0.651, srgan 22.93 0.656, sisr-gan 23.75 0.697, \
  landmark 23.23 0.674, srntt 23.64 0.684, e2ent2-mse 24.24 0.724, e2ent2 24.01 0.705
1 sunhays: bicubic 27.25 0.742, drcn - -, enhancenet 25.46 0.669, srgan 26.42 0.696, sisr-gan 26.72 0.712, landmark - \
  -, srntt 26.79 0.727, e2ent2-mse 28.50 0.789, e2ent2 28.13 0.765
2 flickr1024: stereosr 21.77 0.617, passrnet 21.31 0.600, srgan 21.67 0.567, srntt 22.02 0.637, e2ent2 22.89 0.680
3 cufed5: feature-vgg 22.85 0.647 106.77, feature-presisr 23.46 0.678 58.94, e2ent2-ablation 24.01 0.705 25.77
4 cufed5: e2ent2-alpha-100 23.75 0.697, e2ent2-alpha-010 23.67 0.672, e2ent2-alpha-001 23.83 0.695, e2ent2-ablation \
  24.01 0.705
"""
PAPER = {
    (int(head[0]), head[2:]): {
        method: tuple(None if score == "-" else float(score) for score in scores)
        for method, *scores in (cell.split() for cell in cells.split(","))
    }
    for head, cells in (line.split(":") for line in TYPED.strip().splitlines())
}


@pytest.fixture
def store(tmp_path):
    """Writes rows where ``evaluate`` would, and reads them all as one frame."""
    return lambda *rows: stored(tmp_path / "results", *rows)


def line(long, model, title="CUFED5"):
    """The one line of a long table for a model and a data set."""
    (only,) = long[(long["model"] == model) & (long["data set"] == title)].to_dict("records")
    return only


# ---- the paper's numbers ----


def test_every_number_of_the_papers_four_tables_is_held_as_printed():
    printed = {}
    for p in PRINTED:
        scores = (p.psnr, p.ssim) if p.table != 3 else (p.psnr, p.ssim, p.feature_distance)
        assert p.model not in printed.setdefault((p.table, p.dataset), {})
        printed[p.table, p.dataset][p.model] = scores
    assert printed == PAPER
    assert all(list(printed[key]) == list(PAPER[key]) for key in PAPER)  # in the paper's order of lines
    assert all(p.feature_distance is None for p in PRINTED if p.table != 3)


@pytest.mark.parametrize("number", TITLES)
def test_each_table_shows_the_papers_numbers_beside_nothing_when_nothing_was_measured(store, number):
    long = table(number, store(), "compact")
    for (printed_in, data), systems in PAPER.items():
        for model, scores in systems.items() if printed_in == number else ():
            cell = line(long, model, LABELS[data])
            for metric, expected in zip(("psnr", "ssim", "feature_distance"), scores):
                shown = cell[f"paper {metric}"]
                assert shown == expected or (expected is None and pd.isna(shown))
                assert pd.isna(cell[f"measured {metric}"]) and pd.isna(cell[f"difference {metric}"])
    assert (long["images"] == 0).all()


@pytest.mark.parametrize(("number", "model", "data"), [(1, "sisr", "cufed5"), (2, "bicubic", "flickr1024")])
def test_methods_that_the_paper_does_not_list_say_so_and_carry_no_paper_number(store, number, model, data):
    cell = line(table(number, store(row(model, data)), "compact"), model, LABELS[data])
    assert "not in the paper" in cell["method"]
    assert pd.isna(cell["paper psnr"]) and cell["measured psnr"] == 24.5 and pd.isna(cell["difference psnr"])


# ---- measured numbers ----


def test_a_measured_number_is_the_mean_over_images_rounded_to_2_and_3_decimals(store):
    results = store(
        row("e2ent2-ablation", image="000_0", psnr=24.111, ssim=0.70111, feature_distance=10.0),
        row("e2ent2-ablation", image="001_0", psnr=24.222, ssim=0.70222, feature_distance=10.01),
        row("e2ent2-ablation", image="002_0", psnr=24.444, ssim=0.70444, feature_distance=10.0),
    )
    cell = line(table(3, results, "compact"), "e2ent2-ablation")
    assert (cell["measured psnr"], cell["measured ssim"], cell["images"]) == (24.26, 0.703, 3)  # 24.259, 0.70259
    assert cell["measured feature_distance"] == 10.0  # 10.0033
    assert (cell["difference psnr"], cell["difference ssim"]) == (0.25, -0.002)
    assert cell["difference feature_distance"] == pytest.approx(-15.77)


def test_a_difference_stands_only_beside_a_number_of_the_same_whole_data_set(store):
    part = row("e2ent2", "flickr1024", label="Flickr1024 (1 of 112)")
    results = store(row("e2ent2"), row("e2ent2", "motorcycle"), part, row("sisr"))
    long = table(1, results, "compact")
    differing = long[long["difference psnr"].notna()]
    assert list(zip(differing["model"], differing["data set"])) == [("e2ent2", "CUFED5")]
    assert table(2, results, "compact")["difference psnr"].isna().all()


@pytest.mark.parametrize(("number", "ours"), [(1, "e2ent2"), (3, "e2ent2-ablation"), (4, "e2ent2-ablation")])
def test_one_group_of_cufed5_stands_in_its_own_column_and_never_in_cufed5s(store, number, ours):
    long = table(number, store(row(ours, label="CUFED5 (1 of 126)", image="001_0")), "compact")
    whole, part = line(long, ours), line(long, ours, "CUFED5 (1 of 126)")
    assert whole["images"] == 0 and pd.isna(whole["measured psnr"]) and whole["paper psnr"] == 24.01
    assert part["images"] == 1 and part["measured psnr"] == 24.5 and pd.isna(part["paper psnr"])
    assert long["difference psnr"].isna().all()
    assert "missing or incomplete" in whole["why empty"] and part["why empty"] == ""
    shown = layout(long)
    assert set(shown["CUFED5, measured"]) == {"–"} and "CUFED5 (1 of 126), paper" not in shown
    assert "24.50 / 0.700" in set(shown["CUFED5 (1 of 126), measured"])


def test_the_layout_keeps_the_papers_numbers_and_the_measured_ones_apart(store):
    results = store(row(psnr=25.01), row("bicubic", psnr=11.11, ssim=0.111), row(data="motorcycle", psnr=26, ssim=0.8))
    shown = layout(table(1, results, "compact"))
    assert shown.index.name == "PSNR / SSIM"
    assert shown.loc["E2ENT² (ours)", "CUFED5, paper"] == "24.01 / 0.705"
    assert shown.loc["E2ENT² (ours)", "CUFED5, measured"] == "25.01 / 0.700"
    assert shown.loc["E2ENT² (ours)", "CUFED5, difference"] == "1.00 / -0.005"
    assert shown.loc["Bicubic", "CUFED5, paper"] == "22.64 / 0.646"
    assert set(shown["CUFED5, measured"]) == {"–", "not measured yet", "25.01 / 0.700", "11.11 / 0.111"}
    assert shown.loc["E2ENT² (ours)", "motorcycle, measured"] == "26.00 / 0.800"
    assert shown.loc["SRNTT", "motorcycle, measured"] == "–" and "motorcycle, paper" not in shown


@pytest.mark.parametrize("number", TITLES)
def test_the_parts_of_a_table_hold_every_number_once(store, number):
    ours = "e2ent2-ablation" if number > 2 else "e2ent2"
    results = store(row(ours, psnr=31.0), row(ours, "motorcycle", psnr=32.0))
    long = table(number, results, "compact")
    cells = [cell for _, part in parts(number, long) for cell in part.to_numpy().ravel() if cell != "–"]
    whole = [cell for group in groups(number) for cell in layout(long, group).stack()]
    assert sorted(cells) == sorted(cell for cell in whole if cell != "–")


@pytest.mark.parametrize("number", TITLES)
def test_each_part_of_a_table_answers_one_question_and_fits_a_page(store, number):
    ours = "e2ent2-ablation" if number > 2 else "e2ent2"
    sets = {"motorcycle": "motorcycle", "cufed": "CUFED (10 of 11871)", "middlebury": "Middlebury (6 of 13)"}
    sets |= {f"viewpairs-{level}": f"ViewPairs {level}" for level in (3, 1, 2)}
    rows = [row(ours, name, label=label) for name, label in sets.items()]
    rows += [row(ours), stereo_row(ours, left=24, both=25)]
    other = [row(ours, f"viewpairs-{n}", label=f"ViewPairs {n}, unrelated", reference="unrelated") for n in (1, 2, 3)]
    long = table(number, store(*rows, *other), "compact")
    found = [(question.split(":")[0], list(part.columns)) for question, part in parts(number, long)]
    levels, paper = ["ViewPairs 1", "ViewPairs 2", "ViewPairs 3"], ["paper", "measured", "difference"]
    expected = {"Stereo pairs": ["motorcycle", "Middlebury (6 of 13)"], "ViewPairs": levels}
    expected |= {"Photographs": ["CUFED (10 of 11871)"]}
    if number == 1:
        expected |= {"Sun Hays 80": paper[:2], "The same inputs with an unrelated reference": levels}
    if number == 2:
        expected |= {"Flickr1024": paper[:2], LEFT: ["measured", "published"], BOTH: ["measured", "published"]}
        expected["Photographs"] = ["CUFED5", *expected["Photographs"]]
    else:
        expected["CUFED5"] = paper
    assert {question: columns for question, columns in found} == expected
    assert len(found) == len(expected) * len(groups(number))
    assert max(map(len, markdown(number, long).split("\n"))) <= 120


def test_other_data_sets_that_were_measured_follow_the_papers(store):
    results = store(row(), row(data="motorcycle"), row(label="CUFED5"))
    assert list(dict.fromkeys(table(1, results, "compact")["data set"])) == ["CUFED5", "Sun Hays 80", "motorcycle"]


KITTI = {name: asdict(Protocol(**changes)) for name, changes in DATASETS["kitti2012"].columns.items()}
LEFT, BOTH = (
    f"KITTI 2012, {p['stereo']}, RGB, SSIM uniform 7×7, biased covariance" for p in (KITTI["left"], KITTI["both"])
)


def stereo_row(model, label="KITTI 2012", **scores):
    """A row of KITTI 2012 with its own two columns."""
    columns = {name: {"protocol": KITTI[name], "psnr": psnr, "ssim": psnr / 100} for name, psnr in scores.items()}
    return row(model, "kitti2012", label=label, columns=columns)


def test_kitti_stands_in_table_2_under_its_own_protocols_beside_published_numbers_and_subtracted_from_none(store):
    results = store(stereo_row("passrnet", left=25.5, both=25.2), row("passrnet", "motorcycle"))
    long = table(2, results, "compact")
    for title, measured, published in ((LEFT, 25.5, 26.26), (BOTH, 25.2, 26.34)):
        cell = line(long, "passrnet", title)
        assert (cell["measured psnr"], cell["measured ssim"]) == (measured, round(measured / 100, 3))
        assert cell["published psnr"] == published and pd.isna(cell["difference psnr"]) and pd.isna(cell["paper psnr"])
        assert "less 64" in cell["protocol"] or "both views" in cell["protocol"]
        others = long[(long["data set"] == title) & (long["model"] == "")]
        expected = ["VDSR", "EDSR", "RCAN", "SRRes+SAM", "iPASSR"]
        assert list(others["method"]) == [f"{m} (published)" for m in expected] and others["measured psnr"].isna().all()
    assert "KITTI 2012" not in set(long["data set"])  # the usual protocol's are for the verdicts
    assert long.loc[~long["data set"].isin([LEFT, BOTH]), "published psnr"].isna().all()
    shown = layout(long)
    assert shown.loc["PASSRnet", f"{LEFT}, measured"] == "25.50 / 0.255"
    assert shown.loc["PASSRnet", f"{LEFT}, published"] == "26.26 / 0.792"
    assert shown.loc["iPASSR (published)", f"{BOTH}, published"] == "26.56 / 0.805"
    assert shown.loc["iPASSR (published)", f"{LEFT}, measured"] == "–"
    for number in (1, 3, 4):
        assert not [title for title in table(number, results, "compact")["data set"] if "KITTI" in title]


def test_no_published_number_stands_beside_a_part_of_a_set(store):
    part = stereo_row("passrnet", label="KITTI 2012 (1 of 20)", left=25.5, both=25.25)
    long = table(2, store(part), "compact")
    assert "published psnr" not in long and (long["model"] != "").all()


@pytest.mark.parametrize("part", ["", " (41 of 42)"])
def test_viewpairs_have_a_column_a_level_and_in_table_1_one_with_unrelated_references(store, part):
    usual, other = f"ViewPairs 1{part}", f"ViewPairs 1, unrelated{part}"
    rows = [row(m, "viewpairs-1", label=usual) for m in ("bicubic", "e2ent2-mse", "e2ent2-ablation")]
    unrelated = row("e2ent2-mse", "viewpairs-1", label=other, reference="unrelated", psnr=24.0)
    results = store(*rows, unrelated)
    one = table(1, results, "compact")
    assert [line(one, "e2ent2-mse", title)["measured psnr"] for title in (usual, other)] == [24.5, 24.0]
    assert [line(one, "bicubic", title)["measured psnr"] for title in (usual, other)] == [24.5, 24.5]
    for number in (3, 4):
        assert line(table(number, results, "compact"), "e2ent2-ablation", usual)["measured psnr"] == 24.5
        assert other not in set(table(number, results, "compact")["data set"])
    assert line(table(2, results, "compact"), "stereosr", usual)["why empty"] == "stereo pairs only"
    assert other not in set(table(2, results, "compact")["data set"])


def test_what_waits_is_not_measured_and_says_so(store, monkeypatch):
    monkeypatch.setitem(everything._WAITING, "measured", ["sisr"])
    results = store(row("sisr", "viewpairs-1", label="ViewPairs 1"), row("drcn", "motorcycle"))
    long = table(1, results, "compact")
    assert line(long, "drcn", "ViewPairs 1")["why empty"].startswith("not measured yet: e2ent2 evaluate --models drcn")
    assert not can_measure("drcn", DATASETS["viewpairs-1"]) and can_measure("sisr", DATASETS["viewpairs-1"])


def test_readmes_table_parts_pictures_by_what_the_reference_shows_and_says_what_waits(store):
    systems = {"bicubic": 20.0, "sisr": 21.0, "e2ent2-mse": 22.0, "landmark": 23.0, "e2ent2-photo": 24.0}
    places = ("motorcycle", "kitti2012", "cufed", "viewpairs-1", "viewpairs-3")
    rows = [row(m, data, psnr=x + n) for m, x in systems.items() for n, data in enumerate(places)]
    rows = [r for r in rows if (r["model"], r["dataset"]) != ("e2ent2-photo", "kitti2012")]
    waiting = [r for r in rows if r["dataset"].startswith("viewpairs") and r["model"] == "e2ent2-photo"]
    text = short_table(store(*(r for r in rows if r not in waiting)))
    lines = [[cell.strip() for cell in text_line.split("|")[2:-1]] for text_line in text.split("\n")]
    heads = ["the other view, stereo (1)", "the same thing (2)", "another moment (1)", "something else (5)"]
    assert lines[0] == heads and lines[2] == ["20.00", "23.50", "22.00", "22.00"]
    assert lines[6] == ["24.00", "not measured yet", "26.00", "not measured yet"]


def test_a_tables_conditions_name_the_pictures_that_were_left_out(store):
    why = "a_0.webp: damaged, it cannot be decoded"
    results = store(row("sisr", "viewpairs-1", label="ViewPairs 1 (41 of 42)", left_out=[why]), row("sisr"))
    assert any("ViewPairs 1 (41 of 42)" in text and why in text for text in conditions(table(1, results, "compact")))


def test_numbers_of_another_profile_are_not_mixed_in(store, tmp_path):
    store(row())
    write_rows(result_file(tmp_path / "results", "paper", "cufed5", "e2ent2"), [row(psnr=99.0)])
    assert list(read_results(tmp_path / "results", "compact")["psnr"]) == [24.5]
    assert list(read_results(tmp_path / "results", "paper")["psnr"]) == [99.0]


# ---- empty cells, provenance ----


@pytest.mark.parametrize("number", TITLES)
@pytest.mark.parametrize("measured", [False, True])
def test_every_empty_cell_carries_a_reason_and_no_full_one_does(store, number, measured):
    rows = [row(m, d) for m in ("bicubic", "e2ent2", "e2ent2-ablation") for d in ("cufed5", "motorcycle", "flickr1024")]
    long = table(number, store(*rows if measured else ()), "compact")
    assert ((long["why empty"] != "") == (long["images"] == 0)).all()
    assert (long["images"] > 0).any() == measured
    told = " ".join(notes(long))
    assert all(why in told for why in set(long["why empty"]) if why)


@pytest.mark.parametrize(
    ("number", "model", "title", "reason"),
    [
        (2, "passrnet", "CUFED5 (1 of 126)", "stereo pairs only"),
        (2, "passrnet", "motorcycle", "e2ent2 train passrnet"),
        (1, "srntt", "motorcycle", "no checkpoint of this profile yet: e2ent2 train srntt"),
        (1, "e2ent2", "motorcycle", "not measured yet: e2ent2 evaluate --models e2ent2"),  # but elsewhere
        (1, "e2ent2", "Sun Hays 80", "Sun Hays 80 is missing"),
        (1, "e2ent2", "CUFED5", "data/CUFED5"),
    ],
)
def test_the_reason_tells_what_is_missing(store, number, model, title, reason):
    part = "CUFED5 (1 of 126)"
    results = store(row("bicubic", label=part), row("bicubic", "motorcycle"), row("e2ent2", label=part))
    assert reason in line(table(number, results, "compact"), model, title)["why empty"]


def test_a_measured_cell_carries_its_provenance(store):
    long = table(1, store(row(), row("bicubic")), "compact")
    cell = line(long, "e2ent2")
    assert cell["checkpoint_sha256"] == "c" * 64 and cell["data_fingerprint"] == "f" * 64
    assert cell["protocol"] == str(Protocol())  # an older row has fewer fields: the rest are the defaults
    assert (cell["commit"], cell["machine"], cell["profile"]) == ("abc123", "a made-up machine", "compact")
    assert cell["file"] == "compact/cufed5/e2ent2.jsonl"
    told = " ".join(conditions(long))
    assert str(Protocol()) in told and "CUFED5" in told and "f" * 12 in told


# ---- files ----


def test_each_table_is_written_as_csv_markdown_and_tex_and_always_alike(store, tmp_path):
    results = store(row("bicubic", psnr=11.11), row(data="motorcycle"))
    paths = save_tables(results, "compact", tmp_path / "new" / "tables")
    assert [p.name for p in paths] == [f"table{n}.csv" for n in TITLES]
    written = {p.name: p.read_bytes() for p in (tmp_path / "new" / "tables").iterdir()}
    assert written.keys() == set(FILES)
    save_tables(results, "compact", tmp_path / "again")
    assert written == {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()}
    for number, path in enumerate(paths, 1):
        assert TITLES[number] in path.with_suffix(".md").read_text(encoding="utf-8")
        tex = path.with_suffix(".tex").read_text(encoding="utf-8")
        assert r"\begin{tabular}" in tex and r"\caption" in tex
        expected, read = table(number, results, "compact"), pd.read_csv(path)
        assert list(read.columns) == list(expected.columns) and len(read) == len(expected)
        for column in ("paper psnr", "measured psnr", "measured ssim", "difference ssim"):
            np.testing.assert_array_equal(read[column], expected[column].astype(float))
    for suffix in (".md", ".tex"):
        text = paths[0].with_suffix(suffix).read_text(encoding="utf-8")
        assert "11.11" in text and "22.64" in text and "no checkpoint of this profile yet" in text


def test_nothing_in_the_tex_is_left_that_latex_would_stumble_on(store, tmp_path):
    part = row(data="flickr1024", label="Flickr1024 (1 of 112)")
    for path in save_tables(store(row(), row("bicubic"), row(data="motorcycle"), part), "compact", tmp_path, "9 % a_b"):
        text = path.with_suffix(".tex").read_text(encoding="utf-8")
        assert text.isascii(), sorted({c for c in text if not c.isascii()})
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
        outside = re.sub(r"\\begin\{tabular\}.*?\\end\{tabular\}", "", text, flags=re.DOTALL)
        assert not re.search(r"(?<!\\)[_%&#]", outside), outside
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert text.count(r"\begin{table}") == text.count(r"\end{table}")


def test_tables_of_an_empty_results_folder_can_be_written(tmp_path):
    empty = read_results(tmp_path / "nothing", "compact")
    assert len(empty) == 0
    paths = save_tables(empty, "compact", tmp_path / "tables")
    assert len(paths) == 4 and all((pd.read_csv(p)["images"] == 0).all() for p in paths)


# ---- result files ----

odd = st.sampled_from(["a\x85b", "a\u2028b", "\u2029"])
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | odd


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(names, st.floats(-10, 60) | st.just(math.inf)), max_size=4))
def test_rows_are_read_as_they_were_written_a_line_each(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("rows") / "compact" / "cufed5" / "e2ent2.jsonl"
    columns = [{"left": {"psnr": psnr, "ssim": 0.5}} for _, psnr in cells]
    rows = [row(image=name, psnr=psnr, columns=column) for (name, psnr), column in zip(cells, columns)]
    write_rows(path, rows)
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        json.loads(line, parse_constant=pytest.fail)  # Infinity and NaN are no JSON
    assert read_rows(path) == rows
    assert path.read_text(encoding="utf-8").count("\n") == len(rows)
    assert [p.name for p in path.parent.iterdir()] == ["e2ent2.jsonl"]


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-20], lambda b: b"{" + b, lambda b: b.replace(b":", b"", 1), lambda b: b[:50] + b"\xff\xfe" + b[50:]],
    ids=["cut", "doubled", "no colon", "no utf-8"],
)
def test_a_damaged_result_file_is_named(store, tmp_path, damage):
    store(row(), row(image="001_0"))
    path = result_file(tmp_path / "results", "compact", "cufed5", "e2ent2")
    path.write_bytes(damage(path.read_bytes()))
    for read in (lambda: read_rows(path), lambda: read_results(tmp_path / "results", "compact")):
        with pytest.raises(ValueError, match=r"e2ent2\.jsonl"):
            read()


def test_a_row_that_cannot_be_written_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [row()])
    with pytest.raises(TypeError):
        write_rows(path, [row(), row(machine=object())])
    assert read_rows(path) == [row()] and [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


# ---- comparison ----


def test_scores_within_the_tolerance_do_not_differ():
    before = [row(psnr=24.0, ssim=0.7), row(image="001_0", psnr=30.0, ssim=0.9)]
    measured = [row(psnr=24.0199, ssim=0.7009), row(image="001_0", psnr=29.9801, ssim=0.8991)]
    perfect = [row("bicubic", psnr=math.inf, ssim=1.0)]
    for pair in ((measured, before), (before, before), ([], []), (perfect, perfect)):
        assert differences(*pair, "file") == []


@pytest.mark.parametrize(
    ("change", "metrics"),
    [
        ({"psnr": 24.021}, ["psnr"]),
        ({"psnr": 23.97}, ["psnr"]),
        ({"ssim": 0.7011}, ["ssim"]),
        ({"psnr": math.nan}, ["psnr"]),
        ({"psnr": math.inf}, ["psnr"]),
        ({"psnr": 10, "ssim": 0.1}, ["psnr", "ssim"]),
    ],
)
def test_a_cell_beyond_the_tolerance_is_named_by_file_metric_model_and_image(change, metrics):
    before = [row(psnr=24.0, ssim=0.7), row(image="001_0", psnr=24.0, ssim=0.7)]
    lines = differences([before[0], before[1] | change], before, "compact/cufed5/e2ent2.jsonl")
    assert len(lines) == len(metrics)
    for text, metric in zip(lines, metrics):
        for part in ("compact/cufed5/e2ent2.jsonl", metric, "e2ent2", "001_0", f"{change[metric]:.3f}"):
            assert part in text


def test_a_cell_of_a_data_sets_own_column_is_compared_too():
    before, now = (stereo_row("passrnet", left=25.5, both=psnr) for psnr in (25.2, 25.25))
    lines = differences([now], [before], "a file")
    assert len(lines) == 1 and "psnr" in lines[0] and "column both is 25.250, stored 25.200" in lines[0]


def test_rows_that_are_missing_or_more_than_stored_are_named():
    more, missing = differences([row(image="new")], [row(image="old")], "a file")
    assert "a file" in more and "new" in more and "a file" in missing and "old" in missing
