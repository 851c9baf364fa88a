"""Verdicts: the rule by hand, the numbers against a second way to compute them, and what moves a verdict."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from e2ent2lib.data.scenes import graded_pairs, scene
from e2ent2lib.measure import verdicts
from e2ent2lib.measure.results import read_seeds, seed_folders
from e2ent2lib.measure.verdicts import CLAIMS, LENDER, NOT_REPRODUCED, NOT_SEPARABLE, NOT_TESTABLE, REPRODUCED
from e2ent2lib.report import claims_report, studies
from e2ent2lib.report.printed import oddities
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS

PART = verdicts.Comparison("ours", "theirs", data=("toys",))
CLAIM = verdicts.Claim("toy", "nowhere", "ours is better", (PART,))
FOLDER = ROOT / "data" / "results"


def frame(scores, metric="psnr", reference="level 1", data="toys", images=None, **protocol):
    """Rows of {(model, seed): scores by image}, measured under that protocol."""
    shared = {"dataset": data, "reference": reference, "protocol": protocol}
    return pd.DataFrame(
        shared | {"model": m, "training": s, "image": images[i] if images else str(i), metric: float(x)}
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
    assert "an effect above 4 dB would have been separable" in wider.why


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
    assert few.verdict == NOT_TESTABLE and "1 scene: +1.00 dB; an interval needs 5" in few.why
    assert few.sets == "1 of toys"
    none = finding({("ours", 0): [2]})
    assert none.verdict == NOT_TESTABLE and "e2ent2 evaluate --models theirs" in none.why
    assert few.effect is none.effect is None


def test_the_interval_is_the_bootstraps_of_whole_scenes_widened_for_few():
    rng = np.random.default_rng(5)
    scenes = ["a"] * 6 + list("bcdefghijkl")
    values = pd.Series(rng.normal(0.3, 1.0, len(scenes)), scenes)
    low, high = verdicts.interval(values)
    assert (low, high) == verdicts.interval(values)  # the same at every run
    drawn = rng.choice(np.unique(scenes), (20_000, 12))
    parts = {name: values.loc[[name]].to_numpy() for name in scenes}
    means = [np.concatenate([parts[name] for name in names]).mean() for names in drawn]
    tail = 0.0107  # by hand: the normal tail of sqrt(12 / 11) · 2.201, Student's t of 11 degrees of freedom
    np.testing.assert_allclose((low, high), np.quantile(means, (tail, 1 - tail)), atol=0.05)
    assert high - low > 1.02 * np.ptp(np.quantile(means, (0.025, 0.975)))
    one_each = values.reset_index(drop=True)
    assert verdicts.interval(one_each) == verdicts.interval(one_each.to_numpy())


def test_of_two_samples_the_interval_is_of_the_difference_of_their_means():
    rng = np.random.default_rng(7)
    one, other = rng.normal(1.0, 0.5, 40), rng.normal(0.2, 1.0, 60)
    low, high = verdicts.interval(one, other)
    half = 2.06 * np.hypot(one.std() / 40**0.5, other.std() / 60**0.5)
    np.testing.assert_allclose((low, high), one.mean() - other.mean() + np.array([-half, half]), atol=0.05)


@pytest.mark.parametrize("scenes, sizes", [(6, [1]), (30, [1, 1, 5])])
def test_the_interval_holds_the_true_effect_as_often_as_it_says_and_a_clear_effect_is_seen(scenes, sizes):
    """Pictures of one scene share its noise: drawn picture by picture the interval would be too narrow."""
    rng, trials, true = np.random.default_rng(11), 200, 0.5
    names = np.repeat(np.arange(scenes), np.resize(sizes, scenes))
    covered, naive, seen = 0, 0, 0
    for trial in range(trials):
        noise = rng.normal(0, 0.8, scenes)[names] + rng.normal(0, 0.2, len(names))
        low, high = verdicts.interval(pd.Series(true + noise, names))
        covered += low <= true <= high
        seen += verdicts.verdict((true + noise).mean(), low, high, None)[0] == REPRODUCED
        if max(sizes) > 1 and trial < 50:
            low, high = verdicts.interval(true + noise)
            naive += low <= true <= high
    assert 0.9 <= covered / trials <= 0.99  # and without an effect 1 to 10 % would get a verdict all the same
    assert seen / trials > (0.7 if scenes == 30 else 0.2)
    assert naive / 50 < 0.85


# ---- scenes, data sets, protocols ----


def test_pairs_that_share_a_scene():
    pairs = graded_pairs()
    assert len(pairs) == 122 and pairs["scene"].nunique() == 107

    def shared(level, one, other):
        return len({scene(f"viewpairs-{level}", f"{name}_0") for name in (one, other)}) == 1

    assert shared(2, "british-museum-2", "british-museum-8")  # one name, one folder
    assert shared(3, "wxbs-wgalbs-kyiv-dolltheater", "wxbs-wgalbs-kyiv-dolltheater2")  # a photograph in common
    assert shared(1, "spw-34", "spw-20")  # photographs that look alike, though nothing in their names says so
    assert not shared(1, "spw-5", "spw-6") and not shared(1, "rew-wall", "rew-building")
    assert scene("cufed", "H_0_1@N07_31_0_105matches93_raw_01") == scene("cufed", "H_0_1@N07_31_0_105matches93_raw_02")
    assert scene("middlebury", "PianoL_L") == scene("middlebury", "Piano_L") != scene("middlebury", "Playroom_L")
    assert scene("kitti2012", "000000_10L") != scene("kitti2012", "000001_10L")
    assert scene("toys", "0") != scene("puzzles", "0")


def test_a_claim_that_holds_on_one_data_set_and_fails_on_another_says_so():
    part = replace(PART, data=("toys", "puzzles", "cards"))
    scores = {"toys": ([2, 3.1, 4, 5, 6], [1, 2, 3, 4, 5]), "puzzles": ([1] * 6, [2, 2.1, 2.2, 2, 2, 2])}
    scores["cards"] = ([3], [1])
    rows = [frame({("ours", 0): a, ("theirs", 0): b}, data=data) for data, (a, b) in scores.items()]
    f = verdicts.judge(replace(CLAIM, parts=(part,)), pd.concat(rows), "compact", ROOT)[0]
    assert f.verdict == verdicts.DEPENDS and f.images == 12 and f.sets == "1 of cards, 6 of puzzles, 5 of toys"
    assert f"{verdicts.DEPENDS}: reproduced on toys, not on puzzles |" in claims_report.overview({CLAIM: [f]})
    assert {one.on: one.verdict for one in f.by_set} == {
        "toys": REPRODUCED, "puzzles": NOT_REPRODUCED, "cards": NOT_TESTABLE,
    }  # fmt: skip
    told = claims_report.set_by_set(f)
    order = ["12 pictures of 12 scenes", "reproduced: 5 of toys (+1.02 dB)", "alone: 1 of cards", "6 of puzzles (-1.05"]
    assert sorted(order, key=told.index) == order
    same = verdicts.judge(replace(CLAIM, parts=(part,)), rows[0], "compact", ROOT)[0]
    assert same.verdict == REPRODUCED and not same.by_set and claims_report.set_by_set(same) == "5 of toys, 5 scenes"


def test_scores_of_two_protocols_are_never_subtracted():
    ours, theirs = {("ours", 0): [2, 3, 4, 5, 6]}, {("theirs", 0): [1, 2, 3, 4, 5]}
    apart = pd.concat([frame(ours), frame(theirs, border=4)])
    f = verdicts.judge(CLAIM, apart, "compact", ROOT)[0]
    assert f.verdict == NOT_TESTABLE and "no picture in common" in f.why
    both = pd.concat([frame(ours), frame(theirs), frame(ours, border=4), frame({("theirs", 0): [4] * 5}, border=4)])
    effects = verdicts.paired(PART, both)[0]
    assert effects.tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]  # a picture once: the mean of its two differences
    filled_in = pd.concat([frame(ours), frame(theirs, channel="rgb", border=0)])  # an older row names fewer fields
    assert verdicts.paired(PART, filled_in)[0].tolist() == [1.0] * 5


def test_the_gains_of_two_levels_are_compared_unpaired():
    part = replace(PART, data=("toys",), than=("puzzles",))
    near = frame({("ours", 0): [3, 3.2, 3, 3, 2.8, 3], ("theirs", 0): [1] * 6})
    far = frame({("ours", 0): [7, 7.1, 7.2, 6.9, 6.8], ("theirs", 0): [6.5] * 5}, data="puzzles")
    f = verdicts.judge(replace(CLAIM, parts=(part,)), pd.concat([near, far]), "compact", ROOT)[0]
    assert f.effect == pytest.approx(1.5) and f.verdict == REPRODUCED and f.sets == "5 of puzzles, 6 of toys"
    assert f.spread is None and 1.2 < f.low < 1.4 < 1.6 < f.high < 1.8
    assert "on toys against puzzles" in f.part
    one_level = verdicts.judge(replace(CLAIM, parts=(part,)), far, "compact", ROOT)[0]
    assert one_level.verdict == NOT_TESTABLE and one_level.effect is None


# ---- trained as long ----


def write_cards(folder, monkeypatch, **cards):
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(folder))
    (folder / "compact").mkdir()
    for name, card in cards.items():
        card = {"threads": 1, "steps": 1, "started_from": None} | card
        (folder / "compact" / f"{name}.json").write_text(json.dumps(card))


def test_hours_of_training_are_those_of_the_cards_and_of_what_a_network_started_from(tmp_path, monkeypatch):
    before = {
        "model": "e2ent2-photo",
        "steps": 3,
        "seconds": 1800,
        "threads": 1,
        "started_from": {"model": "photo-base"},
    }
    photo = {"steps": 4, "seconds": 1800, "threads": 2, "started_from": before}  # it went on from its own weights
    write_cards(
        tmp_path, monkeypatch, srntt={"seconds": 1800, "started_from": {"model": "srgan"}},
        srgan={"seconds": 900, "threads": 2, "started_from": {"model": "srresnet"}}, srresnet={"seconds": 360},
        sisr={"seconds": 9, "budget": {"core_hours": 0.5, "with_what_it_starts_from": 0.75}},
        passrnet={"seconds": 9, "started_from": {"model": "drcn"}}, **{"e2ent2-photo": photo},
    )  # fmt: skip
    names = ("srntt", "sisr", "passrnet", "e2ent2-photo", "e2ent2", "landmark")
    expected = (1.1, 0.75, None, None, None, float("inf"))
    assert tuple(verdicts.core_hours(name, "compact") for name in names) == expected
    assert verdicts.own_hours(photo) == 1.5 and verdicts.own_steps(photo) == (7, "photo-base")
    twice = {"model": "e2ent2-photo", "steps": 5, "seconds": 3600, "threads": 1, "started_from": photo}
    assert verdicts.own_hours(twice) == 2.5 and verdicts.own_steps(twice) == (12, "photo-base")
    assert verdicts.own_steps({"steps": 4, "started_from": {"model": "sisr"}}) == (4, "sisr")


@pytest.mark.parametrize("seconds, gain, expected", [
    (790, 1, "not comparable"), (810, 1, REPRODUCED), (790, -1, NOT_REPRODUCED), (None, 1, "not comparable"),
])  # fmt: skip
def test_nothing_is_reproduced_against_a_network_of_less_training(tmp_path, monkeypatch, seconds, gain, expected):
    write_cards(tmp_path, monkeypatch, e2ent2={"seconds": 1000}, **({"srntt": {"seconds": seconds}} if seconds else {}))
    part = replace(PART, better="e2ent2", worse="srntt")
    claim = replace(CLAIM, parts=(part,), budgets=True)
    results = frame({("e2ent2", 0): np.arange(5) + gain, ("srntt", 0): np.arange(5)})
    f = verdicts.judge(claim, results, "compact", ROOT)[0]
    assert f.verdict == expected
    if expected == verdicts.NOT_COMPARABLE:
        told = "srntt was trained for 0.22 core-hours, e2ent2 for 0.28"
        assert f.why == told if seconds else "no card says how long srntt was trained" in f.why
    assert verdicts.judge(replace(claim, budgets=False), results, "compact", ROOT)[0].verdict != verdicts.NOT_COMPARABLE


# ---- trainings and timings ----


def test_the_measures_of_a_training():
    history = [{"step": 0, "val_ref": 99.0}] + [{"step": n, "val_ref": v} for n, v in enumerate((20, 22, 21, 23), 1)]
    assert verdicts.mean_psnr(history) == 21.5  # what it started from does not count
    assert verdicts.setback(history) == 0.25


def test_trainings_are_paired_by_seed(monkeypatch):
    curves = {"ours": {0: [3, 4], 1: [4, 5], 7: [0, 0]}, "theirs": {0: [1, 2], 1: [1, 2]}}

    def cards(model, profile, folder):
        steps = {seed: list(enumerate(curve, 1)) for seed, curve in curves[model].items()}
        return {seed: {"history": [{"step": n, "val_ref": v} for n, v in rows]} for seed, rows in steps.items()}

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


def test_a_verdict_is_what_a_second_way_to_compute_it_gives(stored, findings):
    """From the result files alone, by another bootstrap of scenes."""
    rng = np.random.default_rng(9)
    for part, f in (both for claim, parts in findings.items() for both in zip(claim.parts, parts)):
        if f.unit != "dB" or f.low is None or f.borrowed:
            continue
        gains = []
        if part.than:  # other pictures: the difference of two means
            effects = [verdicts.paired(replace(part, data=sets, than=()), stored) for sets in (part.data, part.than)]
            assert f.effect == pytest.approx(effects[0].to_numpy().mean() - effects[1].to_numpy().mean())
            continue
        for seed, folder in {0: FOLDER, **seed_folders(FOLDER)}.items():
            sides = []
            for model in (part.better, part.worse):
                files = [p for p in (folder / "compact").glob(f"*/{model}.jsonl") if p.parent.name in part.data]
                rows = [json.loads(line) for p in files for line in p.read_text().splitlines()]
                sides.append({(r["dataset"], r["image"]): r["psnr"] for r in rows})
            if all(sides):
                assert sides[0].keys() == sides[1].keys(), (seed, part)
                gains.append([sides[0][k] - sides[1][k] for k in sorted(sides[0])])
        gains, scenes = np.array(gains), [scene(*key) for key in sorted(sides[0])]
        parts = pd.Series(gains.mean(0)).groupby(scenes).agg(["sum", "size"]).to_numpy()
        sums = parts[rng.integers(0, len(parts), (20_000, len(parts)))].sum(1)
        means = sums[:, 0] / sums[:, 1]
        assert f.effect == pytest.approx(gains.mean()), f.part
        assert f.spread == pytest.approx(np.ptp(gains.mean(1)))
        low, high = np.quantile(means, (0.025, 0.975))
        if not (min(abs(low), abs(high)) < 0.01):  # so near to 0 two bootstraps may differ
            covered = low <= 0 <= high or f.spread >= abs(f.effect)
            assert (f.verdict == NOT_SEPARABLE) == covered, f.part


@pytest.mark.parametrize("name", ["relevant", "reference", "srntt", "stereo", "mse"])
def test_a_sign_flipped_in_a_copy_of_the_results_flips_the_verdict(stored, monkeypatch, name):
    monkeypatch.setattr(verdicts, "core_hours", lambda model, profile: 1.0)
    claim = claim_of(name)
    before, part, flipped = verdicts.judge(claim, stored, "compact", FOLDER), claim.parts[0], stored.copy()
    mine = (stored["model"] == part.better) & (stored["reference"] == part.references[0])
    for (data, image), value in verdicts.paired(part, stored).mean(axis=1).items():
        flipped.loc[mine & (stored["dataset"] == data) & (stored["image"] == image), part.metric] -= 2 * value
    after = verdicts.judge(claim, flipped, "compact", FOLDER)
    other = {REPRODUCED: NOT_REPRODUCED, NOT_REPRODUCED: REPRODUCED}
    for one, turned in zip((before[0], *before[0].by_set), (after[0], *after[0].by_set), strict=True):
        assert turned.effect == (one.effect and pytest.approx(-one.effect))
        assert turned.verdict == other.get(one.verdict, one.verdict)


def test_levels_need_their_scores(stored, findings):
    without = stored[~stored["dataset"].str.startswith("viewpairs")]
    for name in ("levels", "level-order"):
        parts = verdicts.judge(claim_of(name), without, "compact", FOLDER)
        assert all(f.verdict == NOT_TESTABLE and "e2ent2-mse has no psnr on ViewPairs" in f.why for f in parts[:2])
    parts = findings[claim_of("levels-cufed5")]
    assert verdicts.overall(parts) == NOT_TESTABLE and all("1 scene: " in f.why for f in parts)


def test_every_verdict_says_on_how_many_pictures_of_which_sets_it_rests(findings):
    for f in (one for parts in findings.values() for part in parts for one in (part, *part.by_set) if one.effect):
        assert sum(int(n) for n in re.findall(r"(\d+) (?:of |seeds|rounds)", f.sets)) == f.images
        assert not f.by_set or sum(one.images for one in f.by_set) == f.images


def test_what_is_written_holds_every_part_once(findings, tmp_path):
    csv, md = claims_report.save(findings, "compact", tmp_path)
    table = pd.read_csv(csv)
    assert list(table.loc[table["on"] == "all", "part"]) == [str(p) for c in CLAIMS for p in c.parts]
    assert len(table) == sum(1 + len(f.by_set) for fs in findings.values() for f in fs)
    assert set(table["verdict"]) <= set(verdicts.WORST_FIRST)
    assert table.loc[table["verdict"] == NOT_TESTABLE, "why"].notna().all()
    text = md.read_text(encoding="utf-8")
    assert all(text.count(f"`{c.name}`") == 1 and c.says in text for c in CLAIMS)
    assert all(c.says in claims_report.overview(findings) for c in CLAIMS)


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.budgets], ids=lambda c: c.name)
def test_hours_of_training_in_a_caveat_are_those_of_the_cards(claim):
    told = claims_report.caveat(claim, "compact")
    for model in {m for part in claim.parts for m in (part.better, part.worse)}:
        assert f"{model} {verdicts.core_hours(model, 'compact'):.2f}" in told


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
