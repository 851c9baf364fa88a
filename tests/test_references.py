"""What the reference is worth: the lines of the comparison, and the file each number comes from."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from score_rows import row, stored

from e2ent2lib.data.scenes import graded_pairs
from e2ent2lib.report import studies
from e2ent2lib.report.studies import effect, effect_figure, effect_tables, gains
from e2ent2lib.report.tables import table


@pytest.fixture
def results(tmp_path):
    scores = [
        ("bicubic", "toys", "level 1", {"bear": 20.0, "doll": 22.0}),
        ("sisr", "toys", "level 1", {"bear": 21.0, "doll": 23.0}),
        ("e2ent2-mse", "toys", "level 1", {"bear": 22.5, "doll": 23.5}),
        ("e2ent2-mse", "toys", "unrelated", {"bear": 20.9}),
        ("e2ent2", "cufed5", "level 1", {"001": 24.0, "002": 26.0}),
        ("e2ent2", "cufed5", "level 2", {"001": 23.0, "002": 25.0}),
        ("sisr", "cufed5", "level 1", {"001": 22.0, "002": 24.0}),
    ]
    return stored(
        tmp_path,
        *(
            row(model, data, image, psnr=psnr, reference=reference, label=data)
            for model, data, reference, images in scores
            for image, psnr in images.items()
        ),
    )


def test_each_image_stands_in_one_line_with_its_four_scores(results):
    found = effect(results)
    assert list(found.index) == [("toys", "bear")]  # the doll was not measured with an unrelated reference
    assert found.loc[("toys", "bear")].to_dict() == {"bicubic": 20.0, "sisr": 21.0, "unrelated": 20.9, "related": 22.5}


def test_a_table_shows_the_usual_reference_alone(results):
    long = table(1, results, "compact")
    assert set(long["data set"]) == {"CUFED5", "Sun Hays 80", "toys", "cufed5"}
    (line,) = long[(long["data set"] == "cufed5") & (long["model"] == "e2ent2")].to_dict("records")
    assert line["measured psnr"] == 25.0 and line["images"] == 2


def test_the_figure_shows_gains_over_sisr(results):
    figure = effect_figure({"E2ENT²": effect(results)}, "toys")
    shown = {c.get_label().split(":")[0]: c.get_offsets()[0][0] for c in figure.axes[0].collections}
    assert shown["bicubic"] == -1.0 and shown["SISR"] == 0.0 and shown["related reference"] == 1.5
    assert shown["unrelated reference"] == pytest.approx(-0.1)
    plt.close(figure)


def test_the_tables_hold_the_mean_of_each_data_set_and_of_all_images(results):
    text = effect_tables(results)
    assert all(number in text for number in ("+1.50", "-0.10", "20.90", "22.50", "toys (1)", "all (1)"))
    assert effect_tables(results[results["model"] == "sisr"]) == ""


def test_the_figures_are_of_the_networks_that_were_measured(results):
    (axis,) = effect_figure(studies.effects(results), "toys").axes
    assert axis.get_title() == "E2ENT²-MSE, 1 pictures"
    assert effect_figure(studies.effects(results[results["model"] == "sisr"]), "none") is None
    assert studies.overlap_figure(results) is None


def test_without_results_nothing_is_compared():
    empty = pd.DataFrame(columns=["model", "dataset", "image", "psnr", "reference"])
    assert effect(empty).empty and all(gain.empty for gain in gains(empty).values())


def test_gains_against_the_overlap_of_the_pairs(tmp_path):
    shares = graded_pairs()["coverage"].sort_values()
    few = shares.index[::4]
    psnr = {("sisr", "level 1"): dict.fromkeys(few, 25.0), ("bicubic", "level 1"): dict.fromkeys(few, 24.0)}
    psnr |= {("e2ent2", "level 1"): {pair: 25.0 + shares[pair] for pair in few[1:]}}
    psnr |= {("e2ent2", "unrelated"): dict.fromkeys(few[1:], 24.5)}
    results = stored(tmp_path, *(
        row(model, *pair, psnr=p, reference=reference)
        for (model, reference), images in psnr.items() for pair, p in images.items()
    ))  # fmt: skip
    found = studies.by_overlap(results, "e2ent2")
    assert list(found.index) == list(few[1:]) and found["coverage"].is_monotonic_increasing
    assert found["related"].to_numpy() == pytest.approx(found["coverage"].to_numpy())
    figure = studies.overlap_figure(results)
    (axis,) = figure.axes  # only one of the four systems was measured
    points = [offset for scatter in axis.collections for offset in scatter.get_offsets().tolist()]
    assert np.array(sorted(points)) == pytest.approx(found[["coverage", "related"]].to_numpy())
    mean, unrelated, zero = axis.lines
    middle = len(found) // 2
    assert mean.get_ydata()[middle] == pytest.approx(found["related"].iloc[middle - 12 : middle + 13].mean())
    assert set(unrelated.get_ydata()) == {-0.5} and set(zero.get_ydata()) == {0}
    plt.close(figure)
