"""Result files and Tables 1 to 4 (report/), from made-up rows."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import differences, read_results, read_rows, result_file, write_rows
from e2ent2lib.report.ablations import ablations
from e2ent2lib.report.paper import PRINTED, TITLES
from e2ent2lib.report.tables import flat, notes, save_tables, table, wide

# Typed from the paper's pages, table by table; None is its "-".
PAPER = {
    (1, "cufed5"): {
        "bicubic": (22.64, 0.646),
        "drcn": (23.56, 0.692),
        "enhancenet": (22.58, 0.651),
        "srgan": (22.93, 0.656),
        "sisr-gan": (23.75, 0.697),
        "landmark": (23.23, 0.674),
        "srntt": (23.64, 0.684),
        "e2ent2-mse": (24.24, 0.724),
        "e2ent2": (24.01, 0.705),
    },
    (1, "sunhays"): {
        "bicubic": (27.25, 0.742),
        "drcn": (None, None),
        "enhancenet": (25.46, 0.669),
        "srgan": (26.42, 0.696),
        "sisr-gan": (26.72, 0.712),
        "landmark": (None, None),
        "srntt": (26.79, 0.727),
        "e2ent2-mse": (28.50, 0.789),
        "e2ent2": (28.13, 0.765),
    },
    (2, "flickr1024"): {
        "stereosr": (21.77, 0.617),
        "passrnet": (21.31, 0.600),
        "srgan": (21.67, 0.567),
        "srntt": (22.02, 0.637),
        "e2ent2": (22.89, 0.680),
    },
    (3, "cufed5"): {
        "feature-vgg": (22.85, 0.647, 106.77),
        "feature-presisr": (23.46, 0.678, 58.94),
        "e2ent2-ablation": (24.01, 0.705, 25.77),
    },
    (4, "cufed5"): {
        "e2ent2-alpha-100": (23.75, 0.697),
        "e2ent2-alpha-010": (23.67, 0.672),
        "e2ent2-alpha-001": (23.83, 0.695),
        "e2ent2-ablation": (24.01, 0.705),
    },
}
LABELS = {"cufed5": "CUFED5", "flickr1024": "Flickr1024", "motorcycle": "motorcycle", "sunhays": "Sun Hays 80"}


def row(model="e2ent2", data="cufed5", image="000_0", label=None, psnr=24.5, ssim=0.7, **changes):
    """A row as ``evaluate`` makes it, with made-up scores."""
    return {
        "model": model,
        "dataset": data,
        "label": label or LABELS[data],
        "profile": "compact",
        "checkpoint_sha256": None if model == "bicubic" else "c" * 64,
        "provisional": False,
        "data_fingerprint": "f" * 64,
        "protocol": {"channel": "rgb", "border": 0, "ssim_window": "gaussian"},
        "seed": None,
        "commit": "abc123",
        "machine": "a made-up machine",
        "versions": {"torch": "0"},
        "date": "2000-01-01T00:00:00+00:00",
        "code": "d" * 64,
        "image": image,
        "psnr": psnr,
        "ssim": ssim,
        "feature_distance": None if model == "bicubic" else 30.0,
        "feature_distance_relative": None if model == "bicubic" else 0.5,
        "seconds": 0.1,
    } | changes


@pytest.fixture
def store(tmp_path):
    """Writes rows where ``evaluate`` would, and reads them all as one frame."""

    def write(*rows):
        files = {}
        for r in rows:
            files.setdefault((r["dataset"], r["model"]), []).append(r)
        for (data, model), part in files.items():
            write_rows(result_file(tmp_path / "results", "compact", data, model), part)
        return read_results(tmp_path / "results", "compact")

    return write


def line(long, model, title="CUFED5"):
    """The one line of a long table for a model and a data set."""
    (found,) = long[(long["model"] == model) & (long["data set"] == title)].to_dict("records")
    return found


# ---- the paper's numbers ----


def test_every_number_of_the_papers_four_tables_is_held_as_printed():
    found = {}
    for p in PRINTED:
        scores = (p.psnr, p.ssim) if p.table != 3 else (p.psnr, p.ssim, p.feature_distance)
        assert p.model not in found.setdefault((p.table, p.dataset), {})
        found[p.table, p.dataset][p.model] = scores
    assert found == PAPER
    assert all(list(found[key]) == list(PAPER[key]) for key in PAPER)  # in the paper's order of lines
    assert all(p.feature_distance is None for p in PRINTED if p.table != 3)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_each_table_shows_the_papers_numbers_beside_nothing_when_nothing_was_measured(store, number):
    long = table(number, store(), "compact")
    for (printed_in, data), systems in PAPER.items():
        for model, scores in systems.items() if printed_in == number else ():
            found = line(long, model, LABELS[data])
            for metric, expected in zip(("psnr", "ssim", "feature_distance"), scores):
                shown = found[f"paper {metric}"]
                assert shown == expected or (expected is None and pd.isna(shown))
                assert pd.isna(found[f"measured {metric}"]) and pd.isna(found[f"difference {metric}"])
    assert (long["images"] == 0).all()


def test_methods_that_the_paper_does_not_list_say_so_and_carry_no_paper_number(store):
    results = store(row("sisr"), row("bicubic", "flickr1024"))
    for number, model, title in ((1, "sisr", "CUFED5"), (2, "bicubic", "Flickr1024")):
        found = line(table(number, results, "compact"), model, title)
        assert "not in the paper" in found["method"]
        assert pd.isna(found["paper psnr"]) and found["measured psnr"] == 24.5 and pd.isna(found["difference psnr"])


# ---- measured numbers ----


def test_a_measured_number_is_the_mean_over_images_rounded_to_2_and_3_decimals(store):
    results = store(
        row("e2ent2-ablation", image="000_0", psnr=24.111, ssim=0.70111, feature_distance=10.0),
        row("e2ent2-ablation", image="001_0", psnr=24.222, ssim=0.70222, feature_distance=10.01),
        row("e2ent2-ablation", image="002_0", psnr=24.444, ssim=0.70444, feature_distance=10.0),
    )
    found = line(table(3, results, "compact"), "e2ent2-ablation")
    assert (found["measured psnr"], found["measured ssim"], found["images"]) == (24.26, 0.703, 3)  # 24.259, 0.70259
    assert found["measured feature_distance"] == 10.0  # 10.0033
    assert (found["difference psnr"], found["difference ssim"]) == (0.25, -0.002)
    assert found["difference feature_distance"] == pytest.approx(-15.77)


def test_a_difference_stands_only_beside_a_number_of_the_same_whole_data_set(store):
    results = store(
        row("e2ent2"),
        row("e2ent2", "motorcycle"),
        row("e2ent2", "flickr1024", label="Flickr1024 (1 of 112)"),
        row("sisr"),
    )
    long = table(1, results, "compact")
    differing = long[long["difference psnr"].notna()]
    assert list(zip(differing["model"], differing["data set"])) == [("e2ent2", "CUFED5")]
    assert table(2, results, "compact")["difference psnr"].isna().all()


def test_one_group_of_cufed5_stands_in_its_own_column_and_never_in_cufed5s(store):
    ours = {1: "e2ent2", 3: "e2ent2-ablation", 4: "e2ent2-ablation"}
    results = store(*(row(m, label="CUFED5 (1 of 126)", image="001_0") for m in set(ours.values())))
    for number, model in ours.items():
        long = table(number, results, "compact")
        whole, part = line(long, model), line(long, model, "CUFED5 (1 of 126)")
        assert whole["images"] == 0 and pd.isna(whole["measured psnr"]) and whole["paper psnr"] == 24.01
        assert part["images"] == 1 and part["measured psnr"] == 24.5 and pd.isna(part["paper psnr"])
        assert long["difference psnr"].isna().all()
        assert "not here, or not whole" in whole["why empty"] and part["why empty"] == ""
        layout = wide(long)
        assert set(layout["CUFED5", "PSNR", "measured"]) == {"–"}
        assert ("CUFED5 (1 of 126)", "PSNR", "paper") not in layout.columns
        assert "24.50" in set(layout["CUFED5 (1 of 126)", "PSNR", "measured"])


def test_the_papers_number_never_stands_in_a_measured_column(store):
    measured = store(row("bicubic", psnr=11.11, ssim=0.111))
    layout = wide(table(1, measured, "compact"))
    columns = [c for c in layout if c[2] == "measured"]
    assert {v for c in columns for v in layout[c]} == {"–", "11.11", "0.111"}
    assert layout.loc["Bicubic", ("CUFED5", "PSNR", "measured")] == "11.11"
    assert layout.loc["Bicubic", ("CUFED5", "PSNR", "paper")] == "22.64"


def test_on_a_screen_the_metrics_of_a_number_share_a_cell(store):
    layout = flat(table(1, store(row(psnr=25.01), row(data="motorcycle", psnr=26.0, ssim=0.8)), "compact"))
    assert layout.index.name == "PSNR / SSIM"
    assert layout.loc["E2ENT² (ours)", "CUFED5, paper"] == "24.01 / 0.705"
    assert layout.loc["E2ENT² (ours)", "CUFED5, measured"] == "25.01 / 0.700"
    assert layout.loc["E2ENT² (ours)", "CUFED5, difference"] == "1.00 / -0.005"
    assert layout.loc["E2ENT² (ours)", "motorcycle, measured"] == "26.00 / 0.800"
    assert layout.loc["SRNTT", "motorcycle, measured"] == "–" and "motorcycle, paper" not in layout


def test_other_data_sets_that_were_measured_follow_the_papers(store):
    results = store(row(), row(data="motorcycle"), row(label="CUFED5"))
    assert list(dict.fromkeys(table(1, results, "compact")["data set"])) == ["CUFED5", "Sun Hays 80", "motorcycle"]


def test_numbers_of_another_profile_are_not_mixed_in(store, tmp_path):
    store(row())
    write_rows(result_file(tmp_path / "results", "paper", "cufed5", "e2ent2"), [row(psnr=99.0)])
    assert list(read_results(tmp_path / "results", "compact")["psnr"]) == [24.5]
    assert list(read_results(tmp_path / "results", "paper")["psnr"]) == [99.0]


# ---- empty cells, provenance ----


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("measured", ["nothing", "something"])
def test_every_empty_cell_carries_a_reason_and_no_full_one_does(store, number, measured):
    rows = [row(m, d) for m in ("bicubic", "e2ent2", "e2ent2-ablation") for d in ("cufed5", "motorcycle", "flickr1024")]
    long = table(number, store(*rows) if measured == "something" else store(), "compact")
    assert ((long["why empty"] != "") == (long["images"] == 0)).all()
    assert (long["images"] > 0).any() == (measured == "something")
    told = " ".join(notes(long))
    assert all(why in told for why in set(long["why empty"]) if why)


def test_a_checkpoint_that_its_card_bars_stays_out_of_the_tables_and_the_cell_says_why(store):
    barred = row("srntt", in_tables=False, provisional=True)
    long = table(1, store(row("bicubic"), row("e2ent2"), barred), "compact")
    assert pd.isna(line(long, "srntt")["measured psnr"]) and line(long, "e2ent2")["measured psnr"] == 24.5
    assert "minutes of training" in line(long, "srntt")["why empty"]
    assert "srntt" not in str(long.loc[long["images"] > 0, "model"].tolist())


@pytest.mark.parametrize("number", [1, 2])
def test_no_row_of_tables_1_and_2_is_an_ablation_and_all_of_tables_3_and_4_are(store, number):
    assert not set(ablations()) & set(table(number, store(row()), "compact")["model"])
    assert set(table(number + 2, store(row()), "compact")["model"]) <= set(ablations())


def test_a_stereo_method_on_other_pairs_is_told_apart_from_a_missing_checkpoint(store):
    long = table(2, store(row("bicubic", label="CUFED5 (1 of 126)"), row("bicubic", "motorcycle")), "compact")
    assert line(long, "passrnet", "CUFED5 (1 of 126)")["why empty"] == "takes rectified stereo pairs only"
    assert "e2ent2 train passrnet" in line(long, "passrnet", "motorcycle")["why empty"]


def test_a_model_that_was_measured_elsewhere_is_not_called_untrained(store):
    long = table(1, store(row("bicubic"), row("bicubic", "motorcycle"), row("e2ent2")), "compact")
    assert line(long, "e2ent2", "motorcycle")["why empty"] == "not measured on it yet: e2ent2 evaluate --models e2ent2"


def test_the_reason_tells_an_absent_data_set_from_an_untrained_model(store):
    results = store(row("bicubic"))
    long = table(1, results, "compact")
    assert "no checkpoint" in line(long, "e2ent2")["why empty"]
    assert "e2ent2 train e2ent2" in line(long, "e2ent2")["why empty"]
    assert "e2ent2 train srntt" in line(long, "srntt")["why empty"]
    assert "Sun Hays 80 is not here" in line(long, "e2ent2", "Sun Hays 80")["why empty"]
    assert "data/CUFED5" in line(table(1, store_of_nothing(), "compact"), "e2ent2")["why empty"]


def store_of_nothing():
    return pd.DataFrame(
        columns=["model", "dataset", "label", "image", "psnr", "ssim", "in_tables", "reference", "file"]
    )


def test_a_measured_cell_carries_its_provenance(store):
    found = line(table(1, store(row(), row("bicubic")), "compact"), "e2ent2")
    assert found["checkpoint_sha256"] == "c" * 64 and found["data_fingerprint"] == "f" * 64
    assert found["protocol"] == str(Protocol())  # an older row has fewer fields: the rest are the defaults
    assert (found["commit"], found["machine"], found["profile"]) == ("abc123", "a made-up machine", "compact")
    assert found["file"] == "compact/cufed5/e2ent2.jsonl"


def test_provisional_checkpoints_are_named_in_the_notes(store):
    long = table(1, store(row("e2ent2", provisional=True), row("sisr-gan")), "compact")
    (told,) = [n for n in notes(long) if n.startswith("Provisional")]
    assert "E2ENT² (ours)" in told and "Ours-SISR" not in told


# ---- files ----


def test_each_table_is_written_as_csv_markdown_and_tex(store, tmp_path):
    paths = save_tables(store(row(), row("bicubic")), "compact", tmp_path / "new" / "tables")
    assert [p.name for p in paths] == [f"table{n}.csv" for n in (1, 2, 3, 4)]
    names = {p.name for p in (tmp_path / "new" / "tables").iterdir()}
    assert names == {f"table{n}.{suffix}" for n in (1, 2, 3, 4) for suffix in ("csv", "md", "tex")}
    for number, path in enumerate(paths, 1):
        assert TITLES[number] in path.with_suffix(".md").read_text(encoding="utf-8")
        tex = path.with_suffix(".tex").read_text(encoding="utf-8")
        assert r"\begin{tabular}" in tex and r"\caption" in tex


def test_the_csv_reads_back_as_the_long_table(store, tmp_path):
    results = store(row(), row(data="motorcycle"))
    for number, path in enumerate(save_tables(results, "compact", tmp_path / "tables"), 1):
        expected, found = table(number, results, "compact"), pd.read_csv(path)
        assert list(found.columns) == list(expected.columns) and len(found) == len(expected)
        for column in ("paper psnr", "measured psnr", "measured ssim", "difference ssim"):
            np.testing.assert_array_equal(found[column], expected[column].astype(float))


def test_the_remark_of_a_quick_run_stands_in_all_three_files_of_every_table(store, tmp_path):
    from e2ent2lib.report.reproduce import QUICK  # here, for it imports all that draws figures

    for path in save_tables(store(row()), "compact", tmp_path / "tables", QUICK):
        for suffix in (".csv", ".md", ".tex"):
            assert "re-rendered from the stored results" in path.with_suffix(suffix).read_text(encoding="utf-8").lower()
    for path in save_tables(store(row()), "compact", tmp_path / "tables"):
        for suffix in (".csv", ".md", ".tex"):
            assert "re-rendered" not in path.with_suffix(suffix).read_text(encoding="utf-8").lower()


def test_reasons_and_measured_numbers_stand_in_markdown_and_tex(store, tmp_path):
    first, *_ = save_tables(store(row("bicubic", psnr=11.11)), "compact", tmp_path / "tables")
    for suffix in (".md", ".tex"):
        text = first.with_suffix(suffix).read_text(encoding="utf-8")
        assert "11.11" in text and "22.64" in text and "no checkpoint of this profile yet" in text


def test_nothing_in_the_tex_is_left_that_latex_would_stumble_on(store, tmp_path):
    results = store(
        row(), row("bicubic"), row(data="motorcycle"), row(data="flickr1024", label="Flickr1024 (1 of 112)")
    )
    for path in save_tables(results, "compact", tmp_path / "tables", "100 % of a_b"):
        text = path.with_suffix(".tex").read_text(encoding="utf-8")
        assert text.isascii(), sorted({c for c in text if not c.isascii()})
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
        outside = re.sub(r"\\begin\{tabular\}.*\\end\{tabular\}", "", text, flags=re.DOTALL)
        assert not re.search(r"(?<!\\)[_%&#]", outside), outside
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_tables_of_an_empty_results_folder_can_be_written(tmp_path):
    empty = read_results(tmp_path / "nothing", "compact")
    assert len(empty) == 0
    paths = save_tables(empty, "compact", tmp_path / "tables")
    assert len(paths) == 4 and all((pd.read_csv(p)["images"] == 0).all() for p in paths)


def test_the_same_results_give_the_same_bytes(store, tmp_path):
    results = store(row(), row("bicubic"), row(data="motorcycle"))
    contents = []
    for folder in ("one", "two"):
        save_tables(results, "compact", tmp_path / folder)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()})
    assert contents[0] == contents[1]


# ---- result files ----

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(names, st.floats(-10, 60)), max_size=4))
def test_rows_are_read_as_they_were_written(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("rows") / "compact" / "cufed5" / "e2ent2.jsonl"
    rows = [row(image=name, psnr=psnr) for name, psnr in cells]
    write_rows(path, rows)
    assert read_rows(path) == rows
    assert [p.name for p in path.parent.iterdir()] == ["e2ent2.jsonl"]


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_an_image_name_with_an_unusual_line_separator_does_not_split_its_row(tmp_path, separator):
    rows = [row(image=f"a{separator}b"), row(image="c")]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows


def test_a_missing_result_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-20], lambda b: b"{" + b, lambda b: b.replace(b":", b"", 1), lambda b: b[:50] + b"\xff\xfe" + b[50:]],
    ids=["cut", "doubled", "no colon", "no utf-8"],
)
def test_a_damaged_result_file_is_named(store, tmp_path, damage):
    store(row(), row(image="001_0"))
    path = result_file(tmp_path / "results", "compact", "cufed5", "e2ent2")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"e2ent2\.jsonl.*damaged"):
        read_rows(path)
    with pytest.raises(ValueError, match=r"e2ent2\.jsonl.*damaged"):
        read_results(tmp_path / "results", "compact")


def test_a_row_that_cannot_be_written_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [row()])
    with pytest.raises(TypeError):
        write_rows(path, [row(), row(machine=object())])
    assert read_rows(path) == [row()] and [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_each_row_is_one_line_of_json(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [row(), row(image="ü")])
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3 and lines[2] == "" and json.loads(lines[1])["image"] == "ü"


# ---- comparison ----


def test_scores_within_the_tolerance_do_not_differ():
    stored = [row(psnr=24.0, ssim=0.7), row(image="001_0", psnr=30.0, ssim=0.9)]
    measured = [row(psnr=24.0199, ssim=0.7009), row(image="001_0", psnr=29.9801, ssim=0.8991)]
    assert differences(measured, stored, "file") == []
    assert differences(stored, stored, "file") == []
    assert differences([], [], "file") == []


@pytest.mark.parametrize(
    ("change", "metric"),
    [({"psnr": 24.021}, "psnr"), ({"psnr": 23.97}, "psnr"), ({"ssim": 0.7011}, "ssim"), ({"ssim": 0.6}, "ssim")],
)
def test_a_cell_beyond_the_tolerance_is_named_by_file_metric_model_and_image(change, metric):
    stored = [row(psnr=24.0, ssim=0.7), row(image="001_0", psnr=24.0, ssim=0.7)]
    measured = [stored[0], stored[1] | change]
    (found,) = differences(measured, stored, "compact/cufed5/e2ent2.jsonl")
    for part in ("compact/cufed5/e2ent2.jsonl", metric, "e2ent2", "001_0", f"{change[metric]:.3f}", "stored"):
        assert part in found


def test_both_metrics_of_an_image_are_reported_if_both_differ():
    assert len(differences([row(psnr=10, ssim=0.1)], [row()], "file")) == 2


def test_a_score_that_became_nan_differs():
    (found,) = differences([row(psnr=math.nan)], [row()], "file")
    assert "psnr" in found


def test_two_infinite_psnr_are_the_same_and_one_is_not():
    perfect = [row("bicubic", psnr=math.inf, ssim=1.0)]
    assert differences(perfect, perfect, "file") == []
    assert len(differences(perfect, [row("bicubic", psnr=60.0, ssim=1.0)], "file")) == 1


def test_rows_that_are_missing_or_more_than_stored_are_named():
    found = differences([row(image="new")], [row(image="old")], "a file")
    assert len(found) == 2
    assert any("new" in f and "not in the stored" in f and "a file" in f for f in found)
    assert any("old" in f and "not measured" in f and "a file" in f for f in found)
