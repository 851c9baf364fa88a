"""Verdicts: the rule by hand, the numbers against a second way to compute them, and what moves a verdict."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ent2lib.measure import everything, verdicts
from e2ent2lib.measure.results import read_seeds, seed_folders
from e2ent2lib.measure.verdicts import (
    CLAIMS,
    LENDER,
    NOT_REPRODUCED,
    NOT_SEPARABLE,
    NOT_TESTABLE,
    REPRODUCED,
)
from e2ent2lib.report import claims_report, studies
from e2ent2lib.report.printed import oddities
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS

PART = verdicts.Comparison("ours", "theirs", data=("toys",))
CLAIM = verdicts.Claim("toy", "nowhere", "ours is better", (PART,))
FOLDER = ROOT / "data" / "results"


def frame(scores, metric="psnr", reference="level 1", data="toys"):
    """Rows of {(model, seed): scores by image}."""
    return pd.DataFrame(
        {"model": m, "training": s, "dataset": data, "image": i, "reference": reference, metric: float(x)}
        for (m, s), values in scores.items()
        for i, x in enumerate(values)
    )


def finding(scores, part=PART, **options):
    return verdicts.judge(replace(CLAIM, parts=(part,)), frame(scores, **options), "compact", ROOT / "nowhere")[0]


# ---- the rule ----


@pytest.mark.parametrize(
    "effect, low, high, spread, expected",
    [
        (1.0, 0.5, 1.5, 0.2, REPRODUCED),
        (-1.0, -1.5, -0.5, 0.2, NOT_REPRODUCED),
        (1.0, -0.1, 2.1, 0.2, NOT_SEPARABLE),  # the interval holds 0
        (-1.0, -2.1, 0.0, 0.2, NOT_SEPARABLE),
        (1.0, 0.5, 1.5, 1.0, NOT_SEPARABLE),  # the spread covers the effect
        (-1.0, -1.5, -0.5, 1.1, NOT_SEPARABLE),
        (1.0, 0.5, 1.5, None, REPRODUCED),
        (0.3, None, None, 0.2, REPRODUCED),  # no images: the seeds alone
        (-0.3, None, None, 0.4, NOT_SEPARABLE),
    ],
)
def test_the_rule(effect, low, high, spread, expected):
    outcome, why = verdicts.verdict(effect, low, high, spread)
    assert outcome == expected and bool(why) == (expected == NOT_SEPARABLE)


number = st.floats(-10, 10)


@given(number, st.floats(0.01, 5), st.floats(0, 5))
def test_the_rule_treats_both_signs_alike(effect, half, spread):
    flipped = {REPRODUCED: NOT_REPRODUCED, NOT_REPRODUCED: REPRODUCED, NOT_SEPARABLE: NOT_SEPARABLE}
    outcome = verdicts.verdict(effect, effect - half, effect + half, spread)[0]
    assert verdicts.verdict(-effect, -effect - half, -effect + half, spread)[0] == flipped[outcome]


def test_a_claim_is_as_good_as_its_worst_part():
    parts = [verdicts.Finding(claim="c", part="p", verdict=v) for v in (REPRODUCED, NOT_SEPARABLE)]
    assert verdicts.overall(parts) == NOT_SEPARABLE and verdicts.overall(parts[:1]) == REPRODUCED
    for worse in (NOT_TESTABLE, NOT_REPRODUCED):
        parts.append(verdicts.Finding(claim="c", part="p", verdict=worse))
        assert verdicts.overall(parts) == worse


# ---- one comparison ----


def test_the_effect_is_the_mean_over_images_of_the_mean_over_seeds_and_the_spread_is_the_seeds_range():
    ours = {("ours", 0): [3, 4, 5, 6, 7], ("ours", 1): [5, 6, 7, 8, 9], ("ours", 2): [3, 4, 5, 6, 7]}
    theirs = {("theirs", s): [1, 2, 3, 4, 5] for s in range(3)}
    f = finding(ours | theirs)
    assert (f.effect, f.spread, f.images, f.trainings, f.borrowed) == (pytest.approx(8 / 3), 2.0, 5, 3, False)
    assert (f.low, f.high) == (pytest.approx(8 / 3), pytest.approx(8 / 3)) and f.verdict == REPRODUCED
    wider = finding(ours | {("ours", 1): [7, 8, 9, 10, 11]} | theirs)
    assert wider.spread == 4.0 and wider.verdict == NOT_SEPARABLE and "spread" in wider.why


def test_seeds_are_paired_as_far_as_both_have_them_on_the_images_of_the_first():
    scores = {("ours", 0): [2, 3, 4, 5, 6], ("ours", 1): [9, 9, 9, 9, 9], ("theirs", 0): [1, 2, 3, 4, 5, 9]}
    effects = verdicts.paired(PART, frame(scores))
    assert list(effects.columns) == [0] and effects[0].tolist() == [1.0] * 5
    more = {("theirs", 1): [1, 1, 1, 1, 1], ("ours", 3): [9], ("theirs", 3): [1]}  # seed 3 on one image: left out
    effects = verdicts.paired(PART, frame(scores | more))
    assert list(effects.columns) == [0, 1] and effects[1].tolist() == [8.0] * 5


def test_where_a_network_was_trained_once_the_spread_is_borrowed():
    lent = {(LENDER, s): [s, s, s, s, s] for s in (0, 1, 2)}
    one = {("ours", 0): [5, 6, 7, 8, 9], ("theirs", 0): [4, 5, 6, 7, 8]}
    f = finding(one | lent)
    assert (f.effect, f.spread, f.borrowed, f.verdict) == (1.0, 2.0, True, NOT_SEPARABLE)
    f = finding(one)
    assert f.spread is None and f.verdict == REPRODUCED


@pytest.mark.parametrize("margin, expected", [(0.0, NOT_REPRODUCED), (0.5, REPRODUCED)])
def test_no_worse_is_a_margin(margin, expected):
    scores = {("ours", 0): [1.0, 2.1, 2.9, 4.0, 5.0], ("theirs", 0): [1.3, 2.3, 3.3, 4.3, 5.3]}
    f = finding(scores, replace(PART, margin=margin))
    assert f.effect == pytest.approx(-0.3, abs=0.02) and f.verdict == expected


@pytest.mark.parametrize("metric", ["feature_distance_relative", "vgg_distance", "lpips"])
def test_of_a_distance_less_is_better(metric):
    scores = {("ours", 0): [1, 1.1, 1, 1.2, 1], ("theirs", 0): [2, 2, 2, 2, 2]}
    f = finding(scores, replace(PART, metric=metric), metric=metric)
    assert f.effect == pytest.approx(0.94) and f.verdict == REPRODUCED


def test_too_few_images_and_scores_that_are_missing_are_not_testable_and_it_is_said_why():
    few = finding({("ours", 0): [2], ("theirs", 0): [1]})
    assert few.verdict == NOT_TESTABLE and "1 image(s) of toys: +1.00 dB; an interval needs 5" in few.why
    none = finding({("ours", 0): [2]})
    assert none.verdict == NOT_TESTABLE and "e2ent2 evaluate --models theirs" in none.why
    assert few.effect is none.effect is None


def test_the_interval_is_the_percentile_bootstraps():
    values = np.random.default_rng(5).normal(0.3, 1.0, 12)
    low, high = verdicts.interval(values)
    assert (low, high) == verdicts.interval(values)  # the same at every run
    means = np.random.default_rng(1).choice(values, (200_000, len(values))).mean(1)
    right = np.quantile(means, (0.025, 0.975))
    np.testing.assert_allclose((low, high), right, atol=0.03)


# ---- trainings and timings ----


def test_the_measures_of_a_training():
    history = [{"step": 0, "val_ref": 99.0}] + [{"step": n, "val_ref": v} for n, v in enumerate((20, 22, 21, 23), 1)]
    assert verdicts.mean_psnr(history) == 21.5  # what it started from does not count
    assert verdicts.setback(history) == 0.25


def test_trainings_are_paired_by_seed(monkeypatch):
    curves = {"ours": {0: [3, 4], 1: [4, 5], 7: [0, 0]}, "theirs": {0: [1, 2], 1: [1, 2]}}

    def cards(model, profile, folder):
        return {
            s: {"history": [{"step": n, "val_ref": v} for n, v in enumerate(c, 1)]} for s, c in curves[model].items()
        }

    monkeypatch.setattr(verdicts, "cards", cards)
    part = verdicts.InTraining("ours", "theirs", "mean PSNR")
    f = verdicts.judge(replace(CLAIM, parts=(part,)), pd.DataFrame(), "compact", ROOT)[0]
    assert (f.effect, f.spread, f.images, f.verdict) == (2.5, 1.0, 2, REPRODUCED)


def test_a_timing_is_a_geometric_mean_with_its_interval(monkeypatch, tmp_path):
    path = tmp_path / "claims.json"
    path.write_text(json.dumps({"ratios": {"fast": [2.0, 8.0], "same": [0.97, 0.98], "slow": [0.4, 0.5]}}))
    monkeypatch.setattr(verdicts, "TIMINGS", path)
    parts = (*(verdicts.Timing(key) for key in ("fast", "same", "slow", "?")), verdicts.Timing("same", margin=0.05))
    findings = verdicts.judge(replace(CLAIM, parts=parts), pd.DataFrame(), "compact", ROOT)
    assert findings[0].effect == pytest.approx(4.0) and 2 <= findings[0].low <= findings[0].high <= 8
    assert [f.verdict for f in findings] == [REPRODUCED, NOT_REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED]


def test_the_timings_that_claims_name_are_those_that_were_measured():
    stored = json.loads(verdicts.TIMINGS.read_text())
    named = {part.key for claim in CLAIMS for part in claim.parts if isinstance(part, verdicts.Timing)}
    assert named == set(stored["ratios"]) and "+changes" not in stored["commit"]
    assert all(len(values) >= 5 and min(values) > 0 for values in stored["ratios"].values())


# ---- the paper's claims on the committed results ----


@pytest.fixture(scope="module")
def stored():
    return read_seeds(FOLDER, "compact")


@pytest.fixture(scope="module")
def findings(stored):
    return verdicts.judge_all(stored, "compact", FOLDER)


def claim_of(name):
    return next(claim for claim in CLAIMS if claim.name == name)


def test_every_claim_compares_models_that_exist_and_has_a_name_of_its_own():
    assert len({c.name for c in CLAIMS}) == len(CLAIMS)
    for part in (p for c in CLAIMS for p in c.parts if isinstance(p, verdicts.Comparison | verdicts.InTraining)):
        assert {part.better, part.worse} <= SYSTEMS.keys()


def test_a_verdict_is_what_a_second_way_to_compute_it_gives(findings):
    """From the result files alone, by another bootstrap."""
    rng = np.random.default_rng(9)
    for part, f in (both for claim, parts in findings.items() for both in zip(claim.parts, parts)):
        if f.unit != "dB" or f.low is None or f.borrowed:
            continue
        gains = []
        for seed, folder in {0: FOLDER, **seed_folders(FOLDER)}.items():
            sides = []
            for model in (part.better, part.worse):
                files = [p for p in (folder / "compact").glob(f"*/{model}.jsonl") if p.parent.name in part.data]
                rows = [json.loads(line) for p in files for line in p.read_text().splitlines()]
                sides.append({(r["dataset"], r["image"]): r["psnr"] for r in rows})
            if all(sides):
                assert sides[0].keys() == sides[1].keys(), (seed, part)
                gains.append([sides[0][k] - sides[1][k] for k in sorted(sides[0])])
        gains = np.array(gains)
        means = gains.mean(0)[rng.integers(0, gains.shape[1], (20_000, gains.shape[1]))].mean(1)
        assert f.effect == pytest.approx(gains.mean()), f.part
        assert f.spread == pytest.approx(np.ptp(gains.mean(1)))
        low, high = np.quantile(means, (0.025, 0.975))
        if not (min(abs(low), abs(high)) < 0.005):  # so near to 0 two bootstraps may differ
            covered = low <= 0 <= high or f.spread >= abs(f.effect)
            assert (f.verdict == NOT_SEPARABLE) == covered, f.part


@pytest.mark.parametrize("name", ["relevant", "reference", "srntt", "stereo", "mse"])
def test_a_sign_flipped_in_a_copy_of_the_results_flips_the_verdict(stored, findings, name):
    claim = claim_of(name)
    before, part, flipped = findings[claim], claim.parts[0], stored.copy()
    assert verdicts.overall(before) == REPRODUCED
    mine = (stored["model"] == part.better) & (stored["reference"] == part.references[0])
    for (data, image), value in verdicts.paired(part, stored).mean(axis=1).items():
        flipped.loc[mine & (stored["dataset"] == data) & (stored["image"] == image), part.metric] -= 2 * value
    after = verdicts.judge(claim, flipped, "compact", FOLDER)
    assert after[0].effect == pytest.approx(-before[0].effect) and after[0].verdict == NOT_REPRODUCED
    assert verdicts.overall(after) == NOT_REPRODUCED


def test_levels_need_the_whole_of_cufed5(findings):
    parts = findings[claim_of("levels")]
    assert verdicts.overall(parts) == NOT_TESTABLE and all("1 image(s) of cufed5" in f.why for f in parts)


def test_what_is_written_holds_every_part_once(stored, findings, tmp_path):
    csv, md, images = claims_report.save(findings, stored, "compact", tmp_path)
    lines = pd.read_csv(images)
    for f in (f for fs in findings.values() for f in fs if f.unit == "dB" and f.low is not None):
        mine = lines[(lines["claim"] == f.claim) & (lines["part"] == f.part)]
        assert mine["effect"].mean() == pytest.approx(f.effect) and mine["training"].nunique() == f.trainings
    table = pd.read_csv(csv)
    assert list(table["part"]) == [str(p) for c in CLAIMS for p in c.parts]
    assert set(table["verdict"]) <= {REPRODUCED, NOT_REPRODUCED, NOT_SEPARABLE, NOT_TESTABLE}
    assert table.loc[table["verdict"] == NOT_TESTABLE, "why"].notna().all()
    text = md.read_text(encoding="utf-8")
    assert all(text.count(f"`{c.name}`") == 1 and c.says in text for c in CLAIMS)
    assert all(c.says in claims_report.overview(findings) for c in CLAIMS)


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.budgets], ids=lambda c: c.name)
def test_minutes_of_training_in_a_caveat_are_those_of_the_cards(claim):
    told = claims_report.caveat(claim, "compact")
    for model in {m for part in claim.parts for m in (part.better, part.worse)}:
        card = json.loads((ROOT / "weights" / "compact" / f"{model}.json").read_text(encoding="utf-8"))
        assert f"{model} {card['seconds'] / 60:.0f}" in told
        assert not card["started_from"] or f"after {card['started_from']['model']}'s" in told


def test_scores_measured_again_take_the_place_of_the_shipped_seeds_alone(stored, monkeypatch):
    claim, asked = claim_of("alpha"), []

    def evaluate(name, data, *, profile, protocol, perceptual):
        asked.append((name, data, perceptual))
        same = (stored["model"] == name) & (stored["dataset"] == data) & (stored["reference"] == "level 1")
        return stored[same & (stored["training"] == 0)].assign(psnr=lambda r: r["psnr"] + 1).to_dict("records")

    monkeypatch.setattr(everything, "evaluate", evaluate)
    again = everything.measured_again([claim], stored, "compact", ["motorcycle"])
    assert {a[0] for a in asked} == {p.better for p in claim.parts} | {p.worse for p in claim.parts}
    assert {a[1:] for a in asked} == {("motorcycle", False)} and len(again) == len(stored)
    pd.testing.assert_frame_equal(
        *(verdicts.paired(claim.parts[0], r) for r in (stored, again))
    )  # both sides moved by 1 dB
    before, after = (verdicts.scores(r, "e2ent2-ablation", "level 1", "psnr", ["motorcycle"]) for r in (stored, again))
    assert (after - before).iloc[0].round(6).to_dict() == {0: 1.0, 1: 0.0, 2: 0.0}


# ---- ablations, oddities ----


def test_over_seeds_is_of_the_images_that_all_have():
    a, b = "e2ent2-alpha-100", "e2ent2-alpha-010"
    results = frame({(a, 0): [1, 3], (a, 1): [2, 4], (b, 0): [5, 7, 9], (b, 1): [5, 7, 9], (b, 2): [1]})
    lines = studies.over_seeds(results, [a, b]).set_index("model")
    assert lines.loc[a, ["images", "seed 0", "seed 1", "mean", "spread"]].tolist() == [2, 2.0, 3.0, 2.5, 1.0]
    assert lines.loc[b, ["images", "mean", "spread"]].tolist() == [2, 6.0, 0.0]


def test_the_printed_numbers_bear_every_oddity_out():
    odd = oddities()
    assert len(odd) == 6 and all(o.holds for o in odd)
    assert "0.37 and 1.34 dB" in odd[1].numbers and "0.60 and 1.71 dB, 0.040 and 0.062" in odd[1].numbers
