"""Photographs of any size and format: files in, tiles, matching, confidence, files out, report."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Which files are read and written, and how."""

    report: Path | None = None
    """A folder for a report: matches used, confidence, where the reference mattered, pictures side by side."""
    again: bool = False
    """Replace results and reports that exist; an input is never replaced."""
    recursive: bool = False
    """Of a folder, enlarge the photographs in its sub-folders too."""
    max_refs: int = 10
    """Maximum number of references, all matched jointly; more are an error."""
    range: float | None = None
    """White level of an input with more than 8 bits; overrides the one in the file."""
    register: bool = False
    """Also match references registered to the input, where scale or rotation differ; e2ent2-photo always does."""
