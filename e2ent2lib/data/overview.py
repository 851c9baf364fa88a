"""The table of ``e2ent2 data list``."""

from tabulate import tabulate

from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS


def overview() -> str:
    """What each set is, its size, terms, citation and origin, and whether it is here: whole, in part or absent."""
    sets = [(d, "pairs", len(d.lister())) for d in DATASETS.values()]
    sets += [(s, "photographs", len(s.paths())) for s in TRAINING_SETS.values()]
    rows = [
        (d.name, state(n, d.total), f"{d.total:,} {unit}", d.what, d.terms, d.citation, d.origin) for d, unit, n in sets
    ]
    heads = ("name", "here", "size", "what", "terms", "cite", "from")
    return tabulate(rows, heads, tablefmt="simple_grid", maxcolwidths=[None, 22, 18, 34, 22, 20, 18])


def state(available: int, total: int) -> str:
    """The words "whole", "partial, n of N" or "absent"."""
    if not available:
        return "absent"
    return "whole" if available == total else f"partial, {available:,} of {total:,}"
