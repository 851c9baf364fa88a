"""RESULTS.md, and the tables in README.md and MODEL_CARD.md, made from stored scores and cards: ``make results``."""

import re
from collections import Counter
from pathlib import Path

import pandas as pd

from e2ent2lib.data.pairs import UNRELATED
from e2ent2lib.measure.claims import STEREO
from e2ent2lib.measure.results import read_results, read_seeds, write_text
from e2ent2lib.measure.verdicts import judge_all, overall
from e2ent2lib.report import claims_report, studies, tables
from e2ent2lib.report.printed import TITLES
from e2ent2lib.report.studies import USUAL, minutes_of_training
from e2ent2lib.runs.checkpoints import available_models, shipped_card
from e2ent2lib.systems import SYSTEMS

ROWS = ("bicubic", "sisr", "e2ent2-mse", "e2ent2-mse-subcell", "landmark")
"""README's systems; the fourth gains most from a reference."""


def short_table(results: pd.DataFrame) -> str:
    """README's table in Markdown: mean PSNR in dB of five systems, by what the reference shows."""
    usual, stereo = results["reference"] == USUAL, results["dataset"].isin(STEREO)
    ignores = results["model"].isin(["bicubic", "sisr"])  # for them any reference is an unrelated one
    columns = {
        "another view, {} stereo pairs": usual & stereo,
        "another moment, {} pictures": usual & ~stereo,
        "something else, {} pictures": (results["reference"] == UNRELATED) | (usual & ignores),
    }
    frame = pd.DataFrame(index=ROWS)
    for title, chosen in columns.items():
        psnr = results[chosen & results["model"].isin(ROWS)].groupby("model")["psnr"]
        frame[title.format(psnr.size().max())] = psnr.mean()
    frame.index = [f"{SYSTEMS[name].title} (`{name}`)" for name in ROWS]
    return frame.rename_axis("PSNR / dB, the reference shows").to_markdown(floatfmt=".2f")


def results_page(folder: Path, profile: str) -> str:
    """RESULTS.md, whole, from the result files of a folder."""
    results = read_results(folder, profile)
    findings = judge_all(read_seeds(folder, profile), profile, folder)
    long = {number: tables.table(number, results, profile) for number in TITLES}
    sections = {
        "What the reference is worth": f"![Gain over SISR, image by image](figures/reference_effect.png)\n\n"
        f"The same network is given each picture twice: with its reference, and with a photograph of something else. "
        f"[Notebook 06](notebooks/06_table1_cufed5_sunhays.ipynb) discusses it.\n\n{studies.effect_tables(results)}"
    }
    for number, title in TITLES.items():
        sections[title] = f"{tables.markdown(number, long[number])}\n\n{_listed(tables.notes(long[number]))}"
    sections |= {
        "Verdicts on the paper's claims": f"{claims_report.RULE}\n\n{claims_report.overview(findings)}\n\n"
        "![The paper's claims, measured](figures/claims.png)",
        "The verdicts in full": claims_report.details(findings, profile),
        "How it was measured": _listed(tables.conditions(pd.concat(long.values()))),
    }
    first = f"<!-- Made by `make results` from data/results. Do not edit. -->\n\n# Results\n\n{short_table(results)}"
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{first}\n\n{_summary(results, findings, profile)}\n\n{body}\n"


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _summary(results: pd.DataFrame, findings: claims_report.Findings, profile: str) -> str:
    """What a reader wants to know first: three gains, how many claims hold, and the training."""
    worth = studies.effect(results)
    gain, stereo = worth.sub(worth["sisr"], axis=0), worth.index.get_level_values("dataset").isin(STEREO)
    cases = {
        "the other view of a stereo pair": gain["related"][stereo],
        "another photograph of the same event": gain["related"][~stereo],
        "an unrelated photograph": gain[UNRELATED],
    }
    told = "; ".join(f"with {case} {x.mean():+.2f} dB ({len(x)} pictures)" for case, x in cases.items())
    verdicts_told = ", ".join(f"{n} {v}" for v, n in Counter(map(overall, findings.values())).most_common())
    lines = [
        f"**The reference.** What E2ENT²-MSE gains over SISR: {told}.",
        f"**The claims.** Of the paper's {len(findings)} claims: {verdicts_told}.",
        "**The paper's own columns** need data sets that cannot be shipped. Where one is not here as a whole its cells "
        "are empty and say why; parts of it stand in columns of their own and are never compared with the paper's.",
        f"**The models** are small (profile {profile}). Minutes of training on one core: E2ENT²-MSE "
        f"{minutes_of_training('e2ent2-mse', profile)}; SISR {minutes_of_training('sisr', profile)}. The paper trained "
        "for 20 epochs of 100,000 images.",
    ]
    return _listed(lines)


def weights_table(profile: str) -> str:
    """MODEL_CARD.md's table in Markdown: the checkpoints that ship, from their cards."""
    shipped = {n: shipped_card(n, profile) for n in available_models(profile) if not SYSTEMS[n].card}
    rows = [
        {
            "model": f"`{name}`",
            "what it is": SYSTEMS[name].title,
            "steps": card["steps"],
            "minutes": card["seconds"] / 60,
            "cores": card["threads"],
            "started from": (card["started_from"] or {}).get("model", "–"),
            "SHA-256": card["sha256"][:12],
        }
        for name, card in shipped.items()
    ]
    return pd.DataFrame(rows).to_markdown(index=False, floatfmt=".0f")


def filled(page: str, marker: str, table: str) -> str:
    """A page with a table between its comments "marker …" and "/marker". Raises ValueError if it has none."""
    block = re.compile(rf"(<!-- {marker}\b[^\n]*-->\n).*(<!-- /{marker} -->)", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"no place for the table: expected a line <!-- {marker} --> and a line <!-- /{marker} -->")
    return block.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page)


def pages(root: Path, profile: str) -> dict[str, str]:
    """The pages that are made from the committed scores and cards of a checkout, whole or in part, by their names."""
    folder = root / "data" / "results"
    readme, model_card = ((root / name).read_text(encoding="utf-8") for name in ("README.md", "MODEL_CARD.md"))
    return {
        "RESULTS.md": results_page(folder, profile),
        "README.md": filled(readme, "results", short_table(read_results(folder, profile))),
        "MODEL_CARD.md": filled(model_card, "weights", weights_table(profile)),
    }


def renew(root: Path, profile: str) -> list[Path]:
    """Write ``pages``; returns their paths."""
    made = pages(root, profile)
    for name, text in made.items():
        write_text(root / name, text)
    return [root / name for name in made]
