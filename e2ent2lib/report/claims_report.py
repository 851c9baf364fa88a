"""The verdicts as text, tables and a figure: ``e2ent2 claims``, RESULTS.md, notebook 11."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from e2ent2lib.measure import verdicts
from e2ent2lib.measure.verdicts import LENDER, Claim, Finding, core_hours, overall
from e2ent2lib.runs.files import write_text

RULE = verdicts.FILE["rule"].format(lender=LENDER, share=f"{verdicts.AS_LONG:.0%}").strip()
"""How a verdict is made."""
Findings = Mapping[Claim, list[Finding]]
"""What ``verdicts.judge_all`` returns."""
VERDICT_COLOURS = {
    verdicts.REPRODUCED: "#009E73",
    verdicts.NOT_REPRODUCED: "#D55E00",
    verdicts.NOT_SEPARABLE: "#888888",
    verdicts.NOT_COMPARABLE: "#56B4E9",
    verdicts.DEPENDS: "#E69F00",
}


def numbers(f: Finding) -> str:
    """Effect, interval and spread of a finding in one phrase; "" if there are none."""
    if f.effect is None:
        return ""
    form = {"dB": "+.2f", "×": ".3g"}.get(f.unit, "+.3g")
    text = f"{f.effect:{form}} {f.unit}".rstrip()
    if f.low is not None:
        text += f" [{f.low:{form}}, {f.high:{form}}]"
    if f.spread is not None:
        text += f", spread {f.spread:.2g}" + (f" ({LENDER}'s)" if f.borrowed else f" over {f.trainings} seeds")
    return text


def set_by_set(f: Finding) -> str:
    """One sentence: all pictures, then the verdict on each data set, best first; without several of them ``f.sets``."""
    if not f.by_set:
        return f"{f.sets}, {f.scenes} scene{'s' * (f.scenes > 1)}" if f.scenes else f.sets
    verdicts_of = {}
    for part in f.by_set:
        effect = f" ({numbers(part).split(' [')[0]})" if part.effect is not None else ""
        verdicts_of.setdefault(part.verdict, []).append(part.sets + effect)
    named = {verdicts.NOT_TESTABLE: "too few scenes alone"}
    order = sorted(verdicts_of, key=verdicts.WORST_FIRST.index, reverse=True)
    listed = [f"{named.get(outcome, outcome)}: {', '.join(verdicts_of[outcome])}" for outcome in order]
    return "; ".join([f"{f.images} pictures of {f.scenes} scenes", *listed])


def caveat(claim: Claim, profile: str) -> str:
    """What must be read with a claim; the hours of training are from the cards that ship."""
    if not claim.budgets:
        return claim.caveat
    models = dict.fromkeys(model for part in claim.parts for model in (part.better, part.worse))
    hours = {model: core_hours(model, profile) for model in models}
    budgets = ", ".join(f"{model} {time:.2f}" for model, time in hours.items() if time is not None)
    return "; ".join(filter(None, (claim.caveat, f"core-hours of training: {budgets}")))


def details(findings: Findings, profile: str) -> str:
    """All of it as a Markdown list that a terminal shows well too: a claim an item, its parts and its caveat below."""
    lines = []
    for claim, parts in findings.items():
        lines.append(f"- **{claim.says}** ({claim.where}; `{claim.name}`): **{overall(parts)}**")
        for f in parts:
            measured = f": {numbers(f)}" if f.effect is not None else ""
            lines.append(f"  - {f.part}{measured}; {f.verdict}" + (f" ({f.why})" if f.why else ""))
            lines += [f"    - {set_by_set(f)}"] if f.sets else []
        note = caveat(claim, profile)
        lines += [f"  - note: {note}"] if note else []
    return "\n".join(lines)


def overview(findings: Findings) -> str:
    """A Markdown table: a line a claim, with the effect in the part that decides, and what that rests on."""
    rows = []
    for claim, parts in findings.items():
        decides = min(parts, key=lambda f: (verdicts.WORST_FIRST.index(f.verdict), f.effect or 0))
        why = f": {decides.why}" if decides.verdict == verdicts.DEPENDS else ""
        sets = decides.sets.count(" of ")
        pictures = f"{decides.images} picture{'s' * (decides.images > 1)}"
        of = f"{pictures} of {sets} data set{'s' * (sets > 1)}" if sets else decides.sets
        row = {"the paper": f"{claim.says} ({claim.where})", "verdict": overall(parts) + why}
        rows.append(row | {"effect in the part that decides": numbers(decides) or "–", "of": of or "–"})
    return pd.DataFrame(rows).to_markdown(index=False)


FILES = ("claims.csv", "claims.md")
"""What ``save`` writes."""


def save(findings: Findings, profile: str, folder: Path) -> list[Path]:
    """Write ``claims.csv``, a line a part, on all pictures and on each set, and ``claims.md``; returns their paths."""
    summary = pd.DataFrame(
        {"claim": c.name, "where": c.where, "says": c.says, "overall": overall(fs)} | asdict(p) | asdict(one)
        for c, fs in findings.items()
        for p, f in zip(c.parts, fs)
        for one in (f, *f.by_set)
    ).drop(columns="by_set")
    paths = [folder / name for name in FILES]
    write_text(paths[0], summary.to_csv(index=False))
    write_text(paths[1], f"{RULE}\n\n{details(findings, profile)}\n")
    return paths


def forest(findings: Findings) -> Figure | None:
    """The effects in dB, a line each: point, interval, the spread over seeds as a grey bar. None if there are none."""
    shown = [f for fs in findings.values() for f in fs if f.unit == "dB" and f.effect is not None]
    if not shown:
        return None
    figure, axis = plt.subplots(figsize=(10, 0.32 * len(shown) + 1.4))
    for y, f in enumerate(shown):
        colour = VERDICT_COLOURS[f.verdict]
        if f.spread is not None:
            axis.barh(y, 2 * f.spread, left=-f.spread, height=0.7, color="#E6E6E6", zorder=0)
        if f.low is not None:
            axis.hlines(y, f.low, f.high, color=colour, lw=2.5, zorder=1)
        axis.scatter(f.effect, y, color=colour, s=34, zorder=2)
    axis.axvline(0, color="#222222", lw=0.8)
    axis.set_yticks(range(len(shown)), [f"{f.claim}: {f.part}" for f in shown], fontsize=8)
    axis.set_xscale("symlog", linthresh=0.1, linscale=0.8)  # hundredths of a decibel and whole ones on one axis
    ticks = [-0.3, -0.1, 0, 0.1, 0.3, 1, 3]
    axis.set_xticks(ticks, [f"{t:+g}" if t else "0" for t in ticks])
    axis.minorticks_off()
    axis.set(xlabel="effect / dB, linear up to ±0.1; right of 0 is what the paper says", ylim=(len(shown) - 0.5, -0.5))
    axis.set_title("The paper's claims, measured")
    handles = [plt.Line2D([], [], color=c, marker="o", label=v) for v, c in VERDICT_COLOURS.items()]
    handles.append(plt.Rectangle((0, 0), 1, 1, color="#E6E6E6", label="± spread over seeds"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure
