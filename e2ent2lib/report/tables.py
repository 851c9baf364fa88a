"""Tables 1 to 4: the paper's number and the measured one side by side, and a reason in every empty cell."""

from pathlib import Path

import pandas as pd

from e2ent2lib.data.pairs import DATASETS
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import write_text
from e2ent2lib.report.printed import DATASET_TITLES, PRINTED, TITLES
from e2ent2lib.report.studies import budget
from e2ent2lib.systems import SYSTEMS, system_of

DIGITS = {"psnr": 2, "ssim": 3, "feature_distance": 2, "feature_distance_relative": 3}
GROUPS = {"PSNR / SSIM": ["psnr", "ssim"], "distance / scale-free": ["feature_distance", "feature_distance_relative"]}
"""The metrics that share a cell, "24.24 / 0.724"; the second group is Table 3's."""
PROVENANCE = ["protocol", "data_fingerprint", "checkpoint_sha256", "seed", "commit", "machine", "file"]
_LATEX = str.maketrans(
    {"α": r"$\alpha$", "²": "$^2$", "×": r"$\times$", "–": "--", "−": "$-$", "φ": r"$\phi$", "↓": r"$\downarrow$"}
)


def table(number: int, results: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Table ``number`` in long form: a line a method and data set, the paper's sets first, then what was measured.

    Measured numbers are means over images, with the usual reference (``studies.effect`` shows others). A difference
    stands only where both are of the same whole data set.
    """
    metrics = [metric for group in groups(number) for metric in GROUPS[group]]
    results = results[results["reference"] == Protocol().reference]
    results = results.reindex(columns=["label", "dataset", "model", *metrics, *PROVENANCE])
    printed = pd.DataFrame(p for p in PRINTED if p.table == number)
    printed["label"] = printed["dataset"].map(DATASET_TITLES)
    measured = sorted(set(zip(results["label"], results["dataset"])), key=lambda x: (x[1] != "motorcycle", *x))
    titles = dict.fromkeys([*printed["label"], *(label for label, _ in measured)])
    keys = [(method, model, title) for title in titles for method, model in systems_of(number)]
    long = pd.DataFrame(keys, columns=["method", "model", "data set"])
    cells, images = pd.MultiIndex.from_frame(long[["data set", "model"]]), results.groupby(["label", "model"])
    long["images"] = images.size().reindex(cells, fill_value=0).to_numpy()
    paper = printed.set_index(["label", "model"]).reindex(index=cells, columns=metrics).astype(float)
    mean = results.astype(dict.fromkeys(metrics, float)).groupby(["label", "model"])[metrics].mean().reindex(cells)
    for metric in metrics:
        digits, both = DIGITS[metric], pd.DataFrame({"paper": paper[metric], "measured": mean[metric]})
        both["measured"] = both["measured"].round(digits)
        both["difference"] = (both["measured"] - both["paper"]).round(digits)
        long[[f"{source} {metric}" for source in both]] = both.to_numpy()
    reasons = [_reason(model, title, results) for title, model in cells]
    long["why empty"] = [reason if count == 0 else "" for reason, count in zip(reasons, long["images"])]
    first = results.drop_duplicates(["label", "model"]).set_index(["label", "model"])[PROVENANCE]
    first["protocol"] = [str(Protocol(**protocol)) for protocol in first["protocol"]]
    long[PROVENANCE] = first.reindex(cells).to_numpy()
    return long.assign(profile=profile)


def groups(number: int) -> list[str]:
    """The groups of metrics of a table: only Table 3 has feature distances."""
    return list(GROUPS) if number == 3 else ["PSNR / SSIM"]


def systems_of(number: int) -> list[tuple[str, str]]:
    """What each row of a table is called there, and our name of the system: the paper's rows, and those beside them."""
    printed = dict.fromkeys((p.method, p.model) for p in PRINTED if p.table == number)
    return [*printed, *((system.rows[number], name) for name, system in SYSTEMS.items() if number in system.rows)]


def _reason(model: str, title: str, results: pd.DataFrame) -> str:
    known = next((d for d in DATASETS.values() if d.title == title), None)
    if title not in set(results["label"]):
        return f"{title} is not here, or not whole" + (f": {known.steps}" if known else "; no loader yet")
    data = DATASETS.get(results.loc[results["label"] == title, "dataset"].iloc[0])
    if system_of(model).references == "stereo" and data and not data.stereo:
        return "takes rectified stereo pairs only"
    if system_of(model).card or model in set(results["model"]):
        return f"not measured on it yet: e2ent2 evaluate --models {model}"
    return f"no checkpoint of this profile yet: e2ent2 train {model}"


def layout(long: pd.DataFrame, group: str = "PSNR / SSIM") -> pd.DataFrame:
    """The table to be read: a line a method, a column a data set and source, the metrics of a group in one cell."""
    columns = {}
    for title, part in long.groupby("data set", sort=False):
        for source in ("paper", "measured", "difference"):
            shown = [part[f"{source} {m}"].map(f"{{:.{DIGITS[m]}f}}".format).replace("nan", "–") for m in GROUPS[group]]
            cells = shown[0].str.cat(shown[1:], " / ").replace("– / –", "–").to_numpy()
            if source == "measured" or (cells != "–").any():
                columns[f"{title}, {source}"] = cells
    return pd.DataFrame(columns, index=pd.Index(long["method"].unique(), name=group))


def parts(number: int, long: pd.DataFrame) -> list[pd.DataFrame]:
    """``layout`` in parts that fit a page: the paper's data sets, then those that are here, group by group.

    A row that has no number in a part is left out of it.
    """
    of_paper = long["data set"].isin({DATASET_TITLES[p.dataset] for p in PRINTED if p.table == number})
    tables = [layout(long[of_paper], group) for group in groups(number)]
    for group in groups(number) if not of_paper.all() else ():
        part = layout(long[~of_paper], group).rename(columns=lambda name: name.removesuffix(", measured"))
        tables.append(part.rename_axis(f"{group}, measured"))
    return [part[(part != "–").any(axis=1)] for part in tables]


def markdown(number: int, long: pd.DataFrame) -> str:
    """``parts`` in Markdown."""
    return "\n\n".join(part.to_markdown(disable_numparse=True) for part in parts(number, long))


def notes(long: pd.DataFrame) -> list[str]:
    """What must be read with this table: profile, training, and why cells are empty."""
    profile, measured, empty = long["profile"].iloc[0], long[long["images"] > 0], long[long["images"] == 0]
    lines = [f"Profile {profile}; 'paper' columns are the paper's, 'measured' are ours, means over images."]
    if any(system_of(model).ablation for model in measured["model"]):
        lines.append(budget(profile))
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
        lines.append(f"{title}: {part['images'].max()} image(s), pixels {part['data_fingerprint'].iloc[0][:12]}.")
    return lines


def _latex(number: int, long: pd.DataFrame, footnotes: list[str]) -> str:
    """``parts`` in plain LaTeX, the notes below the last one; needs the package booktabs."""
    text = "\n".join(
        part.reset_index().to_latex(index=False, escape=True, caption=TITLES[number]) for part in parts(number, long)
    )
    escaped = "\n".join(r"\par " + n.replace("_", r"\_").replace("%", r"\%") for n in footnotes)
    text = text.removesuffix("\\end{table}\n") + f"{{\\footnotesize\n{escaped}\n}}\n\\end{{table}}\n"
    return text.translate(_LATEX)


def save_tables(results: pd.DataFrame, profile: str, folder: Path, remark: str = "") -> list[Path]:
    """Write table1 … table4 as CSV (long form), Markdown and LaTeX; returns the CSVs."""
    for number in TITLES:
        long = table(number, results, profile)
        footnotes = [*([remark] if remark else []), *notes(long), *conditions(long)]
        listed = "\n".join(f"- {note}" for note in footnotes)
        write_text(folder / f"table{number}.md", f"**{TITLES[number]}**\n\n{markdown(number, long)}\n\n{listed}\n")
        write_text(folder / f"table{number}.tex", _latex(number, long, footnotes))
        long = long.assign(remark=remark) if remark else long
        write_text(folder / f"table{number}.csv", long.to_csv(index=False))
    return [folder / f"table{number}.csv" for number in TITLES]
