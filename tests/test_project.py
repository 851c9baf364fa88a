"""The project's own files: packages named alike everywhere, notebooks fit to commit, links that lead somewhere."""

import json
import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file
from tiny import RECIPES

from e2ent2lib.data.pairs import UNRELATED
from e2ent2lib.measure.results import cards, read_results, read_rows
from e2ent2lib.measure.verdicts import core_hours
from e2ent2lib.report.tables import pages, systems_of, table
from e2ent2lib.runs.files import file_sha256
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data" / "README.md", *NOTEBOOKS]


def bounds(lines: list[str]) -> dict[str, str]:
    pairs = (re.match(r"([A-Za-z0-9_.-]+)((?:>=|==).+)", line.split("#")[0].strip()).groups() for line in lines)
    return {name.replace("pytorch", "torch").lower(): bound for name, bound in pairs}


def declared() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return bounds(project["dependencies"] + extras["test"] + extras["site"])


def test_environment_yml_names_the_packages_and_bounds_of_pyproject():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    by_pip = next(e["pip"] for e in entries if isinstance(e, dict))
    conda = [e for e in entries if isinstance(e, str) and not e.startswith("python>") and e != "pip"]
    assert bounds(conda + [e for e in by_pip if not e.startswith("-e")]) == declared()


def test_lowest_versions_are_the_lower_bounds():
    lines = (ROOT / "requirements-lowest.txt").read_text().splitlines()
    assert bounds(lines) == {name: bound.replace(">=", "==") for name, bound in declared().items()}


def test_the_lock_holds_every_package_at_an_allowed_version():
    def parts(text: str) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", text)]

    locked = bounds((ROOT / "requirements.lock").read_text().splitlines())
    for name, bound in declared().items():
        assert name in locked, name
        assert parts(locked[name]) >= parts(bound), name


def test_the_public_address_is_one_setting_and_goes_without_a_trace(tmp_path):
    write_address = runpy.run_path(str(ROOT / "site" / "address.py"))["write_address"]
    (tmp_path / "notebooks").mkdir()
    names = ("README.md", "notebooks/00_start_here.ipynb", "pyproject.toml")
    before = {name: (ROOT / name).read_bytes() for name in names}
    address, setting = b"https://github.com/someone/some-name", b'public-address = "'
    for name, content in before.items():
        (tmp_path / name).write_bytes(content.replace(setting + b'"', setting + address + b'"'))
    for _ in range(2):  # written twice, it is there once
        write_address(tmp_path)
    assert (tmp_path / "README.md").read_text().count("someone/some-name/") == 2
    cell, *rest = (c for c in nbformat.read(tmp_path / names[1], 4).cells if c.cell_type == "code")
    assert address.decode() in cell.source
    assert [c.execution_count for c in (cell, *rest)] == list(range(1, len(rest) + 2))
    (tmp_path / "pyproject.toml").write_bytes(before["pyproject.toml"])
    write_address(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    (tmp_path / "pyproject.toml").write_bytes(b'[tool.e2ent2]\npublic-address = "nowhere"')
    with pytest.raises(SystemExit, match="nowhere"):
        write_address(tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_a_notebook_is_fit_to_commit(path: Path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "not run top to bottom"
    assert max(len(cell.source.splitlines()) for cell in code) <= 25
    outputs = [(cell, output) for cell in code for output in cell.outputs]
    assert all("raises-exception" in c.metadata.get("tags", []) for c, o in outputs if o.output_type == "error")
    assert not any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for _, o in outputs)
    assert path.stat().st_size <= 2_500_000, "too large to show well on the web"
    first = notebook.cells[0].source.splitlines()[0]
    assert re.match(rf"# {path.name.split('_')[0]} · .+: .+", first), first
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for section in ("## What we saw", "## Where we differ from the paper", "## Exercises"):
        assert section in text, section


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(path: Path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(c.source for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?```|(?<!\[)`[^`\n]*`(?!\])", "", text, flags=re.DOTALL)  # code is not a link
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text):
        if "://" not in target and not target.startswith(("attachment:", "mailto:")):
            assert (path.parent / target).exists(), target


def test_every_committed_score_is_by_the_default_channel_and_a_checkpoint_that_exists():
    results = ROOT / "data" / "results"
    places = {results: ROOT / "weights/compact"} | {p: p / "compact" for p in results.glob("seed-*")}
    shipped = {f.stem for f in results.glob("compact/motorcycle/*.jsonl")}
    assert shipped >= {"bicubic", "sisr", "e2ent2-mse", "e2ent2"}
    for path, place in ((p, place) for folder, place in places.items() for p in folder.glob("compact/*/*.jsonl")):
        for row in map(json.loads, path.read_text().splitlines()):
            assert row["model"] == path.stem and path.parent.name.startswith(row["dataset"])
            known = None if SYSTEMS[path.stem].card else json.loads((place / f"{path.stem}.json").read_text())["sha256"]
            assert row["checkpoint_sha256"] == known, path
            assert row["protocol"]["channel"] == "rgb" and "+changes" not in row["commit"]
            assert {"data_fingerprint", "profile", "seed", "machine", "versions"} <= row.keys()


@pytest.mark.parametrize("number", range(1, 5))
def test_each_cell_of_the_tables_traces_to_one_file_measured_with_a_checkpoint_that_ships(number: int):
    folder = ROOT / "data" / "results"
    long = table(number, read_results(folder, "compact"), "compact")
    measured = long[long["measured psnr"].notna()]
    assert len(measured) > 0
    for line in measured.to_dict("records"):
        rows = read_rows(folder / line["file"])
        every = [{r["protocol"]["stereo"]: r for r in (row, *row.get("columns", {}).values())} for row in rows]
        scores = [row[line["protocol"].partition("stereo ")[2]] for row in every]
        for metric, digits in (("psnr", 2), ("ssim", 3)):
            assert line[f"measured {metric}"] == round(np.mean([row[metric] for row in scores]), digits)
        assert {row["model"] for row in rows} == {line["model"]}
        assert all(line["data set"].startswith(row["label"]) for row in rows)
        unrelated = SYSTEMS[line["model"]].references == "any" and "unrelated" in line["data set"]
        assert {row["protocol"]["reference"] == UNRELATED for row in rows} == {unrelated}
        card = ROOT / "weights/compact" / f"{line['model']}.json"
        hashes = {json.loads(card.read_text())["sha256"] if card.is_file() else None}
        named = None if pd.isna(line["checkpoint_sha256"]) else line["checkpoint_sha256"]  # systems without weights
        assert {row["checkpoint_sha256"] for row in rows} == {named} == hashes


@pytest.mark.parametrize("card", sorted((ROOT / "weights").rglob("*.json")), ids=lambda p: p.stem)
def test_a_card_holds_the_hash_of_its_weights_and_how_they_were_trained(card: Path):
    facts = json.loads(card.read_text())
    assert facts["sha256"] == file_sha256(card.with_suffix(".safetensors"))
    vgg = sum(v.numel() for k, v in load_file(card.with_suffix(".safetensors")).items() if "vgg." in k)
    assert card.with_suffix(".safetensors").stat().st_size - 4 * vgg <= (
        8_000_000 if facts["model"] == "e2ent2-photo" else 4_000_000
    )
    assert not vgg or "torchvision" in facts["vgg"]["weights"]  # never random ones
    assert {"data", "seed", "steps", "seconds", "machine", "history", "licence"} <= facts.keys()


def test_models_of_the_tables_had_the_same_data_width_selection_and_core_hours():
    facts = [json.loads(p.read_text()) for p in sorted((ROOT / "weights/compact").glob("*.json"))]
    photo = {"steps_base", "steps_photo"}  # for users' photographs, in no claim, and so with a budget of its own
    own = {name for name, recipe in RECIPES.items() if recipe.steps in photo}
    facts = [f for f in facts if f["model"] in RECIPES and not RECIPES[f["model"]].ablation and f["model"] not in own]
    rows = {name for number in (1, 2) for _, name in systems_of(number) if not SYSTEMS[name].card} - own
    assert {f["model"] for f in facts} >= rows | {"srresnet"}
    assert len({(f["data"]["fingerprint"], f["profile"]["channels"]) for f in facts}) == 1
    rule = r"(none by score: )?the moving average of the weights.* at the last step"
    assert all(re.fullmatch(rule, f["selection"]) for f in facts)
    for f in facts:
        whole = {"srresnet": 0.3, "srntt": 1.2}.get(f["model"], 0.75)  # SRNTT starts from SRGAN, and that from SRResNet
        assert core_hours(f["model"], "compact") == pytest.approx(whole, abs=0.01), f["model"]


def test_all_ablations_ship_one_seed_of_three_trained_alike_and_the_scores_of_all_are_kept():
    results = ROOT / "data/results"
    budgets = set()
    for name in (n for n, recipe in RECIPES.items() if recipe.ablation):
        expected = sorted(p.parent.name for p in (results / "compact").glob(f"*/{name}.jsonl"))
        assert {"motorcycle", "middlebury", "cufed", "cufed5", "flickr1024"} == set(expected)
        found = cards(name, "compact", results)
        assert [found[seed]["seed"] for seed in (0, 1, 2)] == [0, 1, 2] and len(found) == 3, name
        assert all(f["selected_step"] == f["steps"] for f in found.values())
        started = {(f["started_from"] or {}).get("sha256") for f in found.values()}
        pretrained = json.loads((ROOT / "weights/ablations/compact/sisr-pretrained.json").read_text())["sha256"]
        assert started == ({None} if name == "feature-vgg" else {pretrained})
        budgets |= {(f["steps"], f["profile"]["batch"], f["profile"]["crop"], f["threads"]) for f in found.values()}
        for seed in (1, 2):
            for data in expected:
                rows = read_rows(results / f"seed-{seed}/compact" / data / f"{name}.jsonl")
                assert {(r["training_seed"], r["checkpoint_sha256"]) for r in rows} == {(seed, found[seed]["sha256"])}
    assert len(budgets) == 1, budgets


def test_no_file_names_a_path_of_somebodys_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yml", ".json", ".jsonl", ".ipynb", ".csv"} and path.is_file():
            assert not re.search(r"/(?:home|root|Users|work)/\w", path.read_text(encoding="utf-8")), name


def test_every_test_that_the_table_of_faults_names_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "faults.md").read_text(encoding="utf-8"))
    assert len(named) > 50
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_the_equations_are_found_by_number():
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "e2ent2lib").rglob("*.py"))
    for number in range(1, 11):
        assert re.search(rf"Eq\. (?:\d+(?:,| to| and) )*{number}\b", source), number


def test_the_pages_made_of_the_committed_scores_and_cards_are_current():
    for name, text in pages(ROOT, "compact").items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: make results"
