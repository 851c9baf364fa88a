"""Tables 1 to 4: the paper's number and the measured one side by side, and a reason in every empty cell."""

from pathlib import Path

import pandas as pd

from e2ent2lib.data.pairs import DATASETS
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.report.ablations import budget
from e2ent2lib.report.paper import DATASET_TITLES, PRINTED, TITLES, Printed
from e2ent2lib.runs.files import whole_file
from e2ent2lib.systems import SYSTEMS, system_of

METRICS = ("psnr", "ssim")
DIGITS = {"psnr": 2, "ssim": 3, "feature_distance": 2, "feature_distance_relative": 3}


def table(number: int, results: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Table ``number`` in long form: a line a method and data set, the paper's sets first, then what was measured.

    Measured numbers are means over images, with the usual reference (``report.references`` shows others). A difference
    stands only where both are of the same whole data set. Scores of checkpoints whose card bars them (``in_tables``)
    are left out.
    """
    results = results[results["reference"] == Protocol().reference]
    printed = [p for p in PRINTED if p.table == number]
    systems = systems_of(number)
    of_paper = {(p.model, p.dataset): p for p in printed}
    whole = {d: DATASET_TITLES[d] for d in dict.fromkeys(p.dataset for p in printed)}
    held_out_first = sorted(set(zip(results["label"], results["dataset"])), key=lambda x: (x[1] != "motorcycle", x))
    labels = dict(held_out_first)
    others = {label: data for label, data in labels.items() if label not in whole.values()}
    columns = [(title, data) for data, title in whole.items()] + list(others.items())
    metrics = METRICS + (("feature_distance", "feature_distance_relative") if number == 3 else ())
    lines = [
        _line(method, model, title, of_paper.get((model, data)) if title in whole.values() else None, results, metrics)
        for title, data in columns
        for method, model in systems
    ]
    return pd.DataFrame(lines).assign(profile=profile)


def systems_of(number: int) -> list[tuple[str, str]]:
    """What each row of a table is called there, and our name of the system: the paper's rows, and those beside them."""
    printed = dict.fromkeys((p.method, p.model) for p in PRINTED if p.table == number)
    return [*printed, *((system.rows[number], name) for name, system in SYSTEMS.items() if number in system.rows)]


def _line(
    method: str, model: str, title: str, paper: Printed | None, results: pd.DataFrame, metrics: tuple[str, ...]
) -> dict:
    rows = results[(results["label"] == title) & (results["model"] == model) & results["in_tables"].astype(bool)]
    line = {"method": method, "model": model, "data set": title, "images": len(rows)}
    for metric in metrics:
        printed = getattr(paper, metric, None)
        mean = round(float(rows[metric].mean()), DIGITS[metric]) if len(rows) else None
        both = printed is not None and mean is not None
        line[f"paper {metric}"] = printed
        line[f"measured {metric}"] = mean
        line[f"difference {metric}"] = round(mean - printed, DIGITS[metric]) if both else None
    one = rows.iloc[0] if len(rows) else None
    line["why empty"] = "" if len(rows) else _reason(model, title, results)
    line["provisional"] = bool(one["provisional"]) if one is not None else ""
    for column in ("protocol", "data_fingerprint", "checkpoint_sha256", "seed", "commit", "machine", "file"):
        line[column] = one[column] if one is not None else None
    if one is not None:
        line["protocol"] = str(Protocol(**one["protocol"]))
    return line


def _reason(model: str, title: str, results: pd.DataFrame) -> str:
    known = next((d for d in DATASETS.values() if d.title == title), None)
    if title not in set(results["label"]):
        return f"{title} is not here, or not whole" + (f": {known.steps}" if known else "; no loader yet")
    data = DATASETS.get(results.loc[results["label"] == title, "dataset"].iloc[0])
    if system_of(model).references == "stereo" and data and not data.stereo:
        return "takes rectified stereo pairs only"
    mine = results[results["model"] == model]
    if len(mine) and not mine["in_tables"].any():
        return "its checkpoint had minutes of training, too little for a table; e2ent2 train makes it at full length"
    if system_of(model).card or len(mine):
        return f"not measured on it yet: e2ent2 evaluate --models {model}"
    return f"no checkpoint of this profile yet: e2ent2 train {model}"


def wide(long: pd.DataFrame) -> pd.DataFrame:
    """The table as the paper lays it out: a line a method, a pair of columns (paper, measured) a data set."""
    metrics = [c.removeprefix("paper ") for c in long if c.startswith("paper ")]
    out = {}
    for title, part in long.groupby("data set", sort=False):
        part = part.set_index("method")
        for metric in metrics:
            short = {"psnr": "PSNR", "ssim": "SSIM", "feature_distance": "distance"}.get(metric, "distance, relative")
            for who in ("paper", "measured", "difference"):
                values = part[f"{who} {metric}"]
                if who != "measured" and values.isna().all():
                    continue
                out[title, short, who] = [_cell(v, metric) for v in values]
    frame = pd.DataFrame(out, index=pd.Index(long["method"].unique(), name="method"))
    frame.columns = pd.MultiIndex.from_tuples(frame.columns, names=["data set", "metric", ""])
    return frame


def flat(long: pd.DataFrame) -> pd.DataFrame:
    """``wide`` to be read on a screen: the metrics of a number in one cell, "24.24 / 0.724"."""
    layout = wide(long)
    shown = {}
    for title in layout.columns.get_level_values(0).unique():
        for who in ("paper", "measured", "difference"):
            part = [layout[c] for c in layout.columns if (c[0], c[2]) == (title, who)]
            if part:
                cells = (" / ".join(cell) for cell in zip(*part))
                shown[f"{title}, {who}"] = ["–" if set(cell) <= set("–/ ") else cell for cell in cells]
    metrics = " / ".join(layout.columns.get_level_values(1).unique())
    return pd.DataFrame(shown, index=layout.index).rename_axis(metrics)


def _cell(value: float | None, metric: str) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.{DIGITS[metric]}f}"


def notes(long: pd.DataFrame) -> list[str]:
    """What must be read with the table: protocol, profile, data, and why cells are empty."""
    measured = long[long["images"] > 0]
    lines = [
        f"Profile {long['profile'].iloc[0]}; 'paper' columns are the paper's, 'measured' are ours, means over images."
    ]
    if any(system_of(model).ablation for model in measured["model"]):
        lines.append(budget(long["profile"].iloc[0]))
    lines += [f"Protocol: {p}." for p in measured["protocol"].unique()]
    for title, part in measured.groupby("data set", sort=False):
        lines.append(f"{title}: {part['images'].max()} image(s), pixels {part['data_fingerprint'].iloc[0][:12]}.")
    rough = list(dict.fromkeys(measured.loc[measured["provisional"].astype(bool), "method"]))
    if rough:
        lines.append(f"Provisional checkpoints (at most 20 minutes of training): {', '.join(rough)}.")
    empty = long[long["images"] == 0]
    for why, part in empty.groupby("why empty", sort=False):
        named = list(dict.fromkeys(part["method"]))
        cells = "all" if len(named) == long["method"].nunique() else ", ".join(named)
        lines.append(f"Empty ({cells}): {why}.")
    return lines


def _latex(body: str, footnotes: list[str]) -> str:
    """The table in plain LaTeX, the notes below it; needs the package booktabs."""
    escaped = "\n".join(r"\par " + n.replace("_", r"\_").replace("%", r"\%") for n in footnotes)
    text = body.replace(r"\end{table}", "{\\footnotesize\n" + escaped + "\n}\n\\end{table}")
    for letter, command in (
        ("α", r"$\alpha$"),
        ("²", "$^2$"),
        ("×", r"$\times$"),
        ("–", "--"),
        ("−", "$-$"),
        ("φ", r"$\phi$"),
        ("↓", r"$\downarrow$"),
    ):
        text = text.replace(letter, command)
    return text


def save_tables(results: pd.DataFrame, profile: str, folder: Path, remark: str = "") -> list[Path]:
    """Write table1 … table4 as CSV (long form), Markdown and LaTeX (as the paper lays them out); returns the CSVs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, title in TITLES.items():
        long = table(number, results, profile)
        footnotes = [*([remark] if remark else []), *notes(long)]
        markdown = f"**{title}**\n\n{flat(long).to_markdown(disable_numparse=True)}\n\n" + "\n".join(
            f"- {n}" for n in footnotes
        )
        latex = _latex(wide(long).to_latex(escape=True, caption=title, multicolumn_format="c"), footnotes)
        if remark:
            long = long.assign(remark=remark)
        for suffix, text in ((".csv", long.to_csv(index=False)), (".md", markdown + "\n"), (".tex", latex)):
            with whole_file(folder / f"table{number}{suffix}") as temporary:
                temporary.write_text(text, encoding="utf-8")
        paths.append(folder / f"table{number}.csv")
    return paths
