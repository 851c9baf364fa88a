"""The command ``e2ent2``: upscale, data, train, evaluate, report, claims, reproduce."""

import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from e2ent2lib.config import get_profile
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.photos import FileOptions
from e2ent2lib.photos.options import Matching, Options, Precision
from e2ent2lib.runs import RunOptions
from e2ent2lib.runs.files import check_folder, check_free, write_text
from e2ent2lib.runs.provenance import ROOT, need_checkout
from e2ent2lib.systems import DEFAULT, SYSTEMS, recipe_of

ProfileName = Annotated[str | None, arg(help="smoke, compact or paper")]
Weights = Annotated[Path | None, arg(help="the folder of a checkpoint of your own, such as runs/e2ent2-compact")]
Results = Annotated[Path | None, arg(help="folder of result files; E2ENT2_RESULTS or data/results if not given")]
TABLES = Path("build/tables")


def upscale(
    low: Positional[Path],
    /,
    output: Annotated[Path, arg(aliases=["-o"])],
    ref: UseAppendAction[tuple[tuple[Path, ...], ...]] = (),
    model: str = DEFAULT,
    profile: ProfileName = None,
    weights: Weights = None,
    precision: Precision = "float32",
    matching: Matching = "exact",
    files: OmitArgPrefixes[FileOptions] = FileOptions(),
) -> None:
    """Enlarge a photograph ×4, or a folder of them, with textures from one or more reference photographs.

    Args:
        low: the low-resolution photograph, or a folder of them.
        output: the file to write, whose extension chooses the format; for a folder, the folder to write to.
        ref: high-resolution references: one or more files, a pattern or a folder. Without any, the SISR branch works.
        model: a name of the models that ship.
        precision: of the convolutions; bfloat16 is faster where the processor or GPU supports it.
        matching: exact, or coarse: much faster for large pictures, and a little less exact.
    """
    from e2ent2lib.photos.inference import shipped
    from e2ent2lib.photos.upscale import Upscaled, upscale_all
    from e2ent2lib.runs.checkpoints import load_model

    if files.report and files.report.exists() and not files.report.is_dir():
        raise ValueError(f"{files.report}: is a file; --report is a folder")
    system = load_model(model, profile, weights) if weights else shipped(model, profile)
    options, enlarged, failed = Options(precision=precision, matching=matching, progress=True), 0, []
    for done in upscale_all(low, [path for paths in ref for path in paths], output, system, options, files):
        if isinstance(done, Upscaled):
            print(done.output, *done.reports, sep="\n")
        enlarged += isinstance(done, Upscaled)
        failed += [str(done)] * isinstance(done, Exception)
        for note in done.notes if isinstance(done, Upscaled) else [done]:
            print(f"note: {note}", file=sys.stderr)
    if low.is_dir():
        print(f"{low}: {enlarged} enlarged, {len(failed)} failed", file=sys.stderr)
    if failed:
        raise ValueError(f"{len(failed)} failed; the others are done:\n  " + "\n  ".join(failed))


def data(action: Positional[Literal["list", "fetch", "check"]], name: Positional[str | None] = None, /) -> None:
    """List the data sets, fetch one, or check that it is complete.

    Args:
        action: list all; fetch: download what a public mirror has, and print the steps for the rest; check:
            decode every image, compare sizes and pairings, and look for training photographs in evaluation sets.
        name: the data set, for fetch and check; for check also a folder of your own pairs.
    """
    from e2ent2lib.data.check import check
    from e2ent2lib.data.fetch import fetch
    from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS, overview

    if action == "list":
        print(overview())
    elif name is None:
        known = ", ".join([*DATASETS, *TRAINING_SETS])
        raise ValueError(f"which data set? e2ent2 data {action} NAME, NAME one of {known}")
    elif action == "fetch":
        print("\n".join(fetch(name)))
    else:
        result = check(name)
        print("\n".join(result.notes + [f"warning: {line}" for line in result.warnings]))
        if result.errors:
            raise ValueError(f"{len(result.errors)} error(s) in {name}:\n  " + "\n  ".join(result.errors))


def train(
    model: Annotated[Positional[str], arg(help="one of " + ", ".join(n for n, s in SYSTEMS.items() if s.recipe))],
    /,
    run: OmitArgPrefixes[RunOptions] = RunOptions(),
    profile: ProfileName = None,
    steps: int | None = None,
    views: float | None = None,
    checkpoint_every: int | None = None,
) -> None:
    """Train a row of the tables; also under ``torchrun`` on several devices or machines.

    Args:
        steps: how many, instead of the profile's number.
        views: fraction of references cut from another view of the same scene, of photographs in DATA/scenes/NAME.
        checkpoint_every: steps between two validations; each saves the run, so a kill loses at most this many steps.
    """
    from e2ent2lib.runs.run import train as train_system  # Fabric takes seconds to import, and only training needs it

    chosen = get_profile(profile)
    given = {recipe_of(model).steps: steps, "views": views}
    given |= {"checkpoint_every": checkpoint_every, "probe_every": checkpoint_every}
    chosen = replace(chosen, **{name: value for name, value in given.items() if value is not None})
    for option, value, least in (("steps", steps, 1), ("checkpoint-every", checkpoint_every, 1), ("seed", run.seed, 0)):
        if value is not None and value < least:
            raise ValueError(f"--{option} {value}: expected {least} or more")
    if not 0 <= chosen.views <= 1 or not 0 < (1 if run.lr is None else run.lr) < float("inf"):
        raise ValueError(f"--views {chosen.views} --lr {run.lr}: expected views from 0 to 1 and a rate above 0")
    run = replace(run, out=run.out or Path(f"runs/{model}-{chosen.name}"))
    train_system(model, chosen, run)
    print(run.out / f"{model}.safetensors")


def evaluate(
    models: tuple[str, ...],
    data: str = "motorcycle",
    profile: ProfileName = None,
    results: Results = None,
    weights: Weights = None,
    protocol: Protocol = Protocol(),
    perceptual: bool = False,
) -> None:
    """Measure models on a data set and write result files.

    Args:
        models: names of models, or "all": those with a checkpoint that the data set's references suit.
        data: a data set of ``e2ent2 data list``, or a folder of your own pairs; "all", with all models: every score
            of the tables and verdicts that can be measured here and is out of date; the same command resumes.
        protocol: how to measure; one that differs in more than the reference needs a results folder of its own.
        perceptual: measure VGG19's feature distance and LPIPS too, where their weights are available.
    """
    from e2ent2lib.data.pairs import dataset
    from e2ent2lib.measure import evaluate as measuring
    from e2ent2lib.measure.everything import available_data, can_measure, measure_all
    from e2ent2lib.measure.results import check_whose, result_file, results_folder, write_rows
    from e2ent2lib.runs.checkpoints import available_models

    if replace(protocol, reference=Protocol().reference) != Protocol() and results is None:
        raise ValueError("numbers of another protocol are kept apart from the others; name a folder with --results")
    profile = get_profile(profile).name
    if (models, data) == (("all",), "all"):
        if weights or protocol != Protocol():
            raise ValueError("--data all measures the models that ship, under the protocol of the tables")
        measure_all(results or results_folder(), profile, available_data(), processes=os.cpu_count() or 1)
        return
    if models == ("all",):
        models = tuple(name for name in available_models(profile) if can_measure(name, dataset(data)))
    chosen, failed = dataset(data, reference=protocol.reference), []
    paths = [result_file(results or results_folder(), profile, chosen.name, m, protocol.reference) for m in models]
    for place in {path.parent for path in paths}:
        check_folder(place)
        check_whose(place, chosen)
    for name, path in zip(models, paths):
        kept = path.with_suffix(".part")
        options = {"protocol": protocol, "perceptual": perceptual, "kept": kept}
        rows = measuring.evaluate(name, data, profile=profile, folder=weights, **options)
        write_rows(path, rows)
        kept.unlink(missing_ok=True)
        failed = list(dict.fromkeys(failed + rows[0]["left_out"]))
        mean = sum(r["psnr"] for r in rows) / len(rows), sum(r["ssim"] for r in rows) / len(rows)
        print(f"{name} on {rows[0]['label']}: {mean[0]:.2f} dB, {mean[1]:.3f} SSIM ({protocol}) -> {path}")
    if failed:
        raise ValueError(f"{len(failed)} could not be measured; the others are:\n  " + "\n  ".join(failed))


def report(
    profile: ProfileName = None, results: Results = None, out: Path = TABLES, renew: bool = False, again: bool = False
) -> None:
    """Tables 1 to 4 from stored result files, as CSV, Markdown and LaTeX; what the reference is worth, as Markdown.

    Args:
        out: folder of the tables.
        renew: also write RESULTS.md and the tables of README.md and MODEL_CARD.md, from the committed scores and cards.
        again: replace tables that exist in a folder of your own.
    """
    from e2ent2lib.measure.results import read_results, results_folder
    from e2ent2lib.report import tables
    from e2ent2lib.report.reproduce import QUICK

    check_free([out / name for name in tables.FILES], again=again or out == TABLES)
    if renew:
        need_checkout("--renew")
    profile = get_profile(profile).name
    stored = read_results(results or results_folder(), profile)
    print(*tables.save_tables(stored, profile, out, QUICK), sep="\n")
    for name, text in (tables.pages(ROOT, profile) if renew else {}).items():
        write_text(ROOT / name, text)
        print(ROOT / name)


def claims(
    names: Positional[tuple[str, ...]] = (),
    /,
    profile: ProfileName = None,
    results: Results = None,
    out: Path = TABLES,
    again: bool = False,
) -> None:
    """The paper's claims, each with effect, interval over scenes, spread over seeds, and verdict.

    Args:
        names: of claims, such as alpha or residual; all if none is given.
        out: folder for claims.csv and claims.md.
        again: replace them if they exist in a folder of your own.
    """
    from e2ent2lib.measure import verdicts
    from e2ent2lib.measure.results import read_seeds, results_folder
    from e2ent2lib.report import claims_report
    from e2ent2lib.report.printed import oddities

    check_free([out / name for name in claims_report.FILES], again=again or out == TABLES)
    profile, folder = get_profile(profile).name, results or results_folder()
    stored = read_seeds(folder, profile)
    if stored.empty:
        without = f"{folder / profile} holds no scores; --results names a folder that does, and without it the command"
        need_checkout(without)
    judged = verdicts.judge_all(stored, profile, folder, names)
    print(claims_report.details(judged, profile).replace("**", "") + "\n")
    if not names:
        heading = "What is odd in the numbers the paper prints (notebook 11):"
        print(heading, *(f"- {o.what}: {o.numbers}" for o in oddities()), sep="\n")
    print(claims_report.RULE, *claims_report.save(judged, profile, out), sep="\n")


def reproduce(quick: bool = False, all_data: bool = False, build: Path = ROOT / "build") -> None:
    """Measure everything again, compare with the committed results, run the notebooks, draw tables and figures.

    Args:
        quick: draw tables and figures from the stored results instead; every table says so.
        all_data: measure on every available data set, not only on the embedded pair.
        build: folder for the scores, tables, notebooks and figures.
    """
    from e2ent2lib.report import reproduce as reproduction

    need_checkout("reproduce")
    summary, wrong = reproduction.reproduce(build, quick=quick, all_data=all_data)
    print(summary)
    if wrong:
        raise ValueError("measured now, differs from the committed results:\n  " + "\n  ".join(wrong))
    print("no cell differs from the committed results" if not quick else "")


def main() -> None:
    """Run the command line; an expected error is one message on stderr and exit code 2, Ctrl-C is 130.

    Each command imports what it runs, so that the help appears at once.
    """
    commands = {c.__name__: c for c in (upscale, data, train, evaluate, report, claims, reproduce)}
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is in our own errors
    if hasattr(sys.stdout, "reconfigure"):  # whatever the terminal's encoding: a file's name goes out as it came in
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="e2ent2", description=__doc__)
        if sys.stdout:
            sys.stdout.flush()
        return
    except BrokenPipeError:  # who reads has enough, as in ``e2ent2 data list | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError, RuntimeError) as error:
        message, code = error, 2
    except MemoryError:
        message, code = "not enough memory; close other programs, or give smaller pictures", 2
    except KeyboardInterrupt as stopped:
        message, code = str(stopped) or "interrupted", 130
    print(f"e2ent2: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
