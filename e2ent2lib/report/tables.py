"""Tables 1 to 4, the paper's number and the measured one side by side; and the pages that are made of them.

Every empty cell has a reason. ``make results`` writes RESULTS.md and the tables in README.md and MODEL_CARD.md from the
stored scores and cards.
"""

import re
from collections import Counter
from itertools import product
from pathlib import Path

import jinja2
import pandas as pd

from e2ent2lib.data.pairs import DATASETS, UNRELATED
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import read_results, read_seeds
from e2ent2lib.measure.verdicts import core_hours, judge_all, overall, own_hours, own_steps
from e2ent2lib.report import claims_report, studies
from e2ent2lib.report.printed import DATASET_TITLES, PRINTED, PUBLISHED, TITLES
from e2ent2lib.runs.checkpoints import available_models, shipped_card
from e2ent2lib.runs.files import write_text
from e2ent2lib.systems import SYSTEMS, system_of

DIGITS = {"psnr": 2, "ssim": 3, "feature_distance": 2, "feature_distance_relative": 3}
GROUPS = {"PSNR / SSIM": ["psnr", "ssim"], "distance / scale-free": ["feature_distance", "feature_distance_relative"]}
"""The metrics that share a cell, "24.24 / 0.724"; the second group is Table 3's."""
PROVENANCE = ["protocol", "data_fingerprint", "left_out", "checkpoint_sha256", "seed", "commit", "machine", "file"]
_LATEX = str.maketrans(
    {"α": r"$\alpha$", "²": "$^2$", "×": r"$\times$", "–": "--", "−": "$-$", "φ": r"$\phi$", "↓": r"$\downarrow$"}
)
IN_CELLS = ("stereo pairs only", "not measured yet")
"""Reasons that are short enough to stand in their empty cells."""
ROWS = ("bicubic", "sisr", "e2ent2-mse", "landmark", "e2ent2-photo")
"""README's systems, the default of ``super_resolve`` last."""


def table(number: int, results: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Table ``number`` in long form: a line a method and data set, the paper's sets first, then what was measured.

    Measured numbers are means over images, of ``shown_in``. A difference stands only where both are of the same whole
    data set. Numbers that others published stand beside a data set's own columns, and are subtracted from none. Each
    data set belongs to one ``part``, the question that it answers.
    """
    metrics = [metric for group in groups(number) for metric in GROUPS[group]]
    results = shown_in(number, results)
    results = results.reindex(columns=["part", "label", "dataset", "model", *metrics, *PROVENANCE])
    printed = pd.DataFrame(p for p in PRINTED if p.table == number)
    printed["label"] = printed["dataset"].map(DATASET_TITLES)
    columns = {title: f"{title}: the paper's numbers and ours" for title in printed["label"]}
    columns |= {label: part for label, part in zip(results["label"], results["part"]) if label not in columns}
    keys = [(method, model, *column) for column in columns.items() for method, model in systems_of(number)]
    long = pd.DataFrame(keys, columns=["method", "model", "data set", "part"])
    cells, images = pd.MultiIndex.from_frame(long[["data set", "model"]]), results.groupby(["label", "model"])
    long["images"] = images.size().reindex(cells, fill_value=0).to_numpy()
    paper = printed.set_index(["label", "model"]).reindex(index=cells, columns=metrics).astype(float)
    mean = results.astype(dict.fromkeys(metrics, float)).groupby(["label", "model"])[metrics].mean().reindex(cells)
    for metric in metrics:
        digits, both = DIGITS[metric], pd.DataFrame({"paper": paper[metric], "measured": mean[metric]})
        both["measured"] = both["measured"].round(digits)
        both["difference"] = (both["measured"] - both["paper"]).round(digits)
        long[[f"{source} {metric}" for source in both]] = both.to_numpy()
    long["why empty"] = ["" if n else _reason(*cell, results) for cell, n in zip(cells, long["images"])]
    first = results.drop_duplicates(["label", "model"]).set_index(["label", "model"])[PROVENANCE]
    first["protocol"] = [str(Protocol(**protocol)) for protocol in first["protocol"]]
    first["left_out"] = ["; ".join(whys) if isinstance(whys, list) else "" for whys in first["left_out"]]
    long[PROVENANCE] = first.reindex(cells).to_numpy()
    return _with_published(long, results).assign(profile=profile)


def shown_in(number: int, results: pd.DataFrame) -> pd.DataFrame:
    """The stored rows that Table ``number`` shows, ``label`` being the title of their column, and ``part`` its part.

    They are those with the usual reference; of a data set with ``columns`` the scores under their protocols, which the
    title names, each a part of its own; and of ViewPairs, in Table 1, those with an unrelated reference too: what any
    is to a system without.
    """
    usual = results[results["reference"] == studies.USUAL]
    usual = usual.assign(part=[studies.KINDS[studies.kind(name)]["question"] for name in usual["dataset"]])
    parts = [usual[:0]]
    for name, rows in usual.groupby("dataset"):
        data = DATASETS.get(name)
        if not data or number in data.tables:
            parts += [_own_column(rows, column) for column in (data.columns if data else ())] or [rows]
    if number == 1:
        graded = results[results["dataset"].map(studies.kind) == "views"]
        graded = graded.assign(part=studies.KINDS[UNRELATED]["question"])
        titles = graded["dataset"].map(studies.SETS)
        same = [label.replace(title, f"{title}, {UNRELATED}") for label, title in zip(graded["label"], titles)]
        ignores = [system_of(model).references == "none" for model in graded["model"]]
        parts += [graded[graded["reference"] == UNRELATED], graded.assign(label=same)[ignores]]
    rows = pd.concat([part for part in parts if len(part)] or parts[:1])
    return rows.sort_values("dataset", key=studies.in_order, kind="stable")


def _own_column(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows with the scores and the protocol of a data set's own column in place of the usual ones; titles name it."""
    scores = pd.DataFrame([row[column] for row in rows["columns"]], index=rows.index)
    protocols = [Protocol(**protocol) for protocol in scores["protocol"]]
    named = [f"{p.stereo}, {p.channel.upper()}, SSIM {p.ssim_window}" for p in protocols]
    titles = [f"{x}, {name.replace('uniform', 'uniform 7×7')}" for x, name in zip(rows["label"], named)]
    return rows.assign(**scores, label=titles, part=titles)


def _with_published(long: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """The table with what others published for a data set's own columns; a line for each system that is not ours."""
    lines = []
    own = results[results["part"] == results["label"]].drop_duplicates("label")
    for title, p in product(own["label"], PUBLISHED):
        if not title.startswith(f"{p.dataset}, "):  # nor is a part of the set's, "KITTI 2012 (1 of 20), …"
            continue
        mine = (long["data set"] == title) & (long["model"].map(lambda m: system_of(m).title) == p.method)
        long.loc[mine, ["published psnr", "published ssim"]] = p.psnr, p.ssim
        if not mine.any():
            only = "published only, not a system of this project"
            lines.append({"method": f"{p.method} (published)", "model": "", "data set": title, "part": title})
            lines[-1] |= {"images": 0, "why empty": only, "published psnr": p.psnr, "published ssim": p.ssim}
    return pd.concat([long, pd.DataFrame(lines)], ignore_index=True) if lines else long


def groups(number: int) -> list[str]:
    """The groups of metrics of a table: only Table 3 has feature distances."""
    return list(GROUPS) if number == 3 else ["PSNR / SSIM"]


def systems_of(number: int) -> list[tuple[str, str]]:
    """What each row of a table is called there, and our name of the system: the paper's rows, and those beside them."""
    printed = dict.fromkeys((p.method, p.model) for p in PRINTED if p.table == number)
    return [*printed, *((system.rows[number], name) for name, system in SYSTEMS.items() if number in system.rows)]


def _reason(title: str, model: str, results: pd.DataFrame) -> str:
    known = next((d for d in DATASETS.values() if d.title == title), None)
    if title not in set(results["label"]):
        return f"{title} is missing or incomplete" + (f": {known.steps}" if known else "; no loader yet")
    data = DATASETS.get(results.loc[results["label"] == title, "dataset"].iloc[0])
    if system_of(model).references == "stereo" and data and not data.stereo:
        return "stereo pairs only"
    if system_of(model).card or model in set(results["model"]):
        return f"not measured yet: e2ent2 evaluate --models {model}"
    return f"no checkpoint of this profile yet: e2ent2 train {model}"


def layout(long: pd.DataFrame, group: str = "PSNR / SSIM") -> pd.DataFrame:
    """The table to be read: a line a method, a column a data set and source, a group's metrics or a dash in a cell."""
    columns = {}
    for title, part in long.set_index("method").groupby("data set", sort=False):
        for source in ("paper", "measured", "difference", "published"):
            scores = part.reindex(columns=[f"{source} {m}" for m in GROUPS[group]]).astype(float)
            shown = [scores[f"{source} {m}"].map(f"{{:.{DIGITS[m]}f}}".format) for m in GROUPS[group]]
            cells = shown[0].str.cat(shown[1:], " / ").str.replace("nan", "–").replace("– / –", "–")
            if source == "measured":
                why = part["why empty"].str.partition(":")[0]
                cells = cells.where(~why.isin(IN_CELLS), why)
            if source == "measured" or (cells != "–").any():
                columns[f"{title}, {source}"] = cells
    return pd.DataFrame(columns, index=pd.Index(long["method"].unique(), name=group)).fillna("–")


def parts(number: int, long: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """``layout`` in parts that fit a page, each with the question that it answers and without rows that are empty."""
    tables = []
    for question, part in long.groupby("part", sort=False):
        title = part["data set"].iloc[0]
        for group in groups(number):
            shown = layout(part, group)
            shown = shown[(shown != "–").any(axis=1)]
            if question.startswith(title):  # the only one, and named above
                shown.columns = shown.columns.str.removeprefix(f"{title}, ")
            else:
                shown.columns = shown.columns.str.removesuffix(", measured").str.replace(f", {UNRELATED}", "")
                shown = shown.rename_axis(f"{group}, measured")
            tables.append((question, shown))
    return tables


def markdown(number: int, long: pd.DataFrame) -> str:
    """``parts`` in Markdown."""
    return "\n\n".join(f"**{q}**\n\n{part.to_markdown(disable_numparse=True)}" for q, part in parts(number, long))


def notes(long: pd.DataFrame) -> list[str]:
    """What must be read with this table: profile, training, and why cells are empty."""
    profile, measured, empty = long["profile"].iloc[0], long[long["images"] > 0], long[long["images"] == 0]
    lines = [f"Profile {profile}; 'paper' columns are the paper's; 'measured' columns are ours, as means over images."]
    if any(system_of(model).ablation for model in measured["model"]):
        lines.append(studies.budget(profile))
    for why, part in empty.groupby("why empty", sort=False):
        methods = list(dict.fromkeys(part["method"]))
        cells = "all" if len(methods) == long["method"].nunique() else ", ".join(methods)
        lines.append(f"Empty ({cells}): {why}.")
    return lines


def conditions(long: pd.DataFrame) -> list[str]:
    """How the numbers were measured, and on which pictures."""
    measured = long[long["images"] > 0]
    lines = [f"Protocol: {p}." for p in measured["protocol"].unique()]
    for title, part in measured.groupby("data set", sort=False):
        count = int(part["images"].max())
        lines.append(f"{title}: {count} image{'s' * (count > 1)}, pixels {part['data_fingerprint'].iloc[0][:12]}.")
        if left_out := part["left_out"].iloc[0]:
            lines[-1] += f" Left out: {left_out}."
    return lines


def _latex(number: int, long: pd.DataFrame, footnotes: list[str]) -> str:
    """``parts`` in plain LaTeX, the notes below the last one; needs the package booktabs."""
    text = "\n".join(
        part.reset_index().to_latex(index=False, escape=True, caption=f"{TITLES[number]}. {question}")
        for question, part in parts(number, long)
    ).replace(r"\begin{tabular}", "\\footnotesize\n\\begin{tabular}")
    escaped = "\n".join(r"\par " + n.replace("_", r"\_").replace("%", r"\%") for n in footnotes)
    text = text.removesuffix("\\end{table}\n") + f"{{\\footnotesize\n{escaped}\n}}\n\\end{{table}}\n"
    return text.translate(_LATEX)


FILES = ["reference_effect.md", *(f"table{n}.{kind}" for n in TITLES for kind in ("md", "tex", "csv"))]
"""What ``save_tables`` writes."""


def save_tables(results: pd.DataFrame, profile: str, folder: Path, remark: str = "") -> list[Path]:
    """Write table1 … table4 as CSV (long form), Markdown and LaTeX, and reference_effect.md; returns the CSVs."""
    write_text(folder / "reference_effect.md", studies.effect_tables(results) + "\n")
    for number in TITLES:
        long = table(number, results, profile)
        footnotes = [*([remark] if remark else []), *notes(long), *conditions(long)]
        listed = "\n".join(f"- {note}" for note in footnotes)
        write_text(folder / f"table{number}.md", f"**{TITLES[number]}**\n\n{markdown(number, long)}\n\n{listed}\n")
        write_text(folder / f"table{number}.tex", _latex(number, long, footnotes))
        long = long.assign(remark=remark) if remark else long
        write_text(folder / f"table{number}.csv", long.to_csv(index=False))
    return [folder / f"table{number}.csv" for number in TITLES]


# ---- pages ----


def short_table(results: pd.DataFrame) -> str:
    """README's table in Markdown: mean PSNR in dB of five systems, by what the reference shows."""
    kinds, usual = results["dataset"].map(studies.kind), results["reference"] == studies.USUAL
    ignores = results["model"].isin(["bicubic", "sisr"])  # for them any reference is an unrelated one
    chosen = {name: usual & (kinds == name) for name in studies.KINDS}
    chosen[UNRELATED] = (results["reference"] == UNRELATED) | (usual & ignores)
    frame = pd.DataFrame(index=ROWS)
    for name, rows in chosen.items():
        rows = results[rows & results["model"].isin(ROWS)]
        # the pictures that all were measured on, of those that were measured there at all
        psnr = rows.set_index(["dataset", "image", "model"])["psnr"].unstack().dropna()
        if len(psnr):
            cells = psnr.mean().reindex(ROWS).map("{:.2f}".format)
            frame[studies.KINDS[name]["shows"].format(len(psnr))] = cells.replace("nan", "not measured yet")
    frame.index = [f"{SYSTEMS[name].title} (`{name}`)" for name in ROWS]
    return frame.rename_axis("PSNR / dB (pictures); the reference shows").to_markdown(**studies.TO_RIGHT)


def results_page(folder: Path, profile: str) -> str:
    """RESULTS.md, whole, from the result files of a folder; its text is results.md.jinja."""
    results = read_results(folder, profile)
    findings = judge_all(read_seeds(folder, profile), profile, folder)
    long = {number: table(number, results, profile) for number in TITLES}
    text = Path(__file__).with_name("results.md.jinja").read_text(encoding="utf-8")
    options = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "keep_trailing_newline": True}
    shown = {"profile": profile, "titles": TITLES, "tables": long, "markdown": markdown, "notes": notes}
    shown |= {"results": results, "findings": findings, "claims": claims_report, "studies": studies}
    shown |= {"short_table": short_table(results), "core_hours": core_hours}
    shown["conditions"] = conditions(pd.concat(long.values()))
    shown["verdicts"] = Counter(map(overall, findings.values())).most_common()
    shown["graded"] = "views" in set(results["dataset"].map(studies.kind))
    return jinja2.Template(text, **options).render(shown)


def weights_table(profile: str) -> str:
    """MODEL_CARD.md's table in Markdown: the checkpoints that ship, from their cards."""
    shipped = {n: shipped_card(n, profile) for n in available_models(profile) if not SYSTEMS[n].card}
    rows = [
        (f"`{name}`", SYSTEMS[name].title, steps, own_hours(card), first or "–", card["sha256"][:12])
        for name, card in shipped.items() for steps, first in [own_steps(card)]
    ]  # fmt: skip
    heads = ["model", "what it is", "steps", "core-hours", "started from", "SHA-256"]
    return pd.DataFrame(rows, columns=heads).to_markdown(index=False, floatfmt=".2f")


def filled(page: str, marker: str, text: str) -> str:
    """A page with a table between its comments "marker …" and "/marker". Raises ValueError if it has none."""
    block = re.compile(rf"(<!-- {marker}\b[^\n]*-->\n).*(<!-- /{marker} -->)", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"no place for the table: expected a line <!-- {marker} --> and a line <!-- /{marker} -->")
    return block.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)


def pages(root: Path, profile: str) -> dict[str, str]:
    """The pages that are made from the committed scores and cards of a checkout, whole or in part, by their names."""
    folder = root / "data" / "results"
    readme, model_card = ((root / name).read_text(encoding="utf-8") for name in ("README.md", "MODEL_CARD.md"))
    return {
        "RESULTS.md": results_page(folder, profile),
        "README.md": filled(readme, "results", short_table(read_results(folder, profile))),
        "MODEL_CARD.md": filled(model_card, "weights", weights_table(profile)),
    }
