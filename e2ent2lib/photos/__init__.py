"""Photographs of any size and format: files in, tiles, matching, confidence, files out, report."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What is read of the files of a call, and what is written."""

    report: Path | None = None
    """A folder for a report: matches used, confidence, where the reference mattered, pictures side by side."""
    again: bool = False
    """Replace results and reports that exist; an input is never replaced."""
    recursive: bool = False
    """Of a folder, enlarge the photographs in its sub-folders too."""
    max_refs: int = 10
    """How many references are taken at most; all of them are matched jointly."""
    range: float | None = None
    """The number that is white in an input of more than 8 bits, if it is not the one that the file states."""
    register: bool = False
    """Match references laid over the input too, where they show things in another size or turned; e2ent2-photo does."""
