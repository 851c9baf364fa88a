"""Unpacking an archive that is not trusted: nothing outside the folder, no links, no devices, no bombs.

zipfile writes no more of a file than its header says, and compares its checksum; how much that may be, what kind of
file and where it may go is said here.
"""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

TOTAL, FILES = 8 * 2**30, 200_000
"""Bytes and files unpacked."""
RATIO, SMALL = 100, 16 * 2**20
"""Bytes unpacked for each byte packed, once more than ``SMALL`` are unpacked: nobody's photographs pack so."""


def unpack(archive: Path, into: Path, choose: Callable[[str], str | None]) -> list[str]:
    """Write the chosen files of a zip archive below the folder ``into``; returns their paths there, sorted.

    ``choose`` gives the path that a file gets, or None to leave it out; it is asked without the archive's top folder.
    Raises ValueError for an archive that is damaged, that grows beyond the limits above or that holds, among what is
    chosen, a name twice, a path that leads out of ``into`` or anything but plain files. What was written is then up to
    the caller.
    """
    root, written = into.resolve(), {}
    most = min(TOTAL, max(SMALL, RATIO * archive.stat().st_size))
    try:
        with zipfile.ZipFile(archive) as file:
            places = {m: choose(m.filename.partition("/")[2]) for m in file.infolist() if not m.is_dir()}
            chosen = {member: (root / place).resolve() for member, place in places.items() if place}
            if len(chosen) > FILES or sum(member.file_size for member in chosen) > most:
                raise ValueError(f"{archive.name}: unpacks to over {FILES:,} files or {most:,} bytes; nothing kept")
            for member, path in chosen.items():
                if not path.is_relative_to(root):
                    raise ValueError(f"{archive.name}: {member.filename} leads out of the folder; nothing kept")
                if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                    raise ValueError(f"{archive.name}: {member.filename} is a link or a device; nothing kept")
                if str(path).casefold() in written:
                    raise ValueError(f"{archive.name}: holds {path.relative_to(root)} twice; nothing kept")
                written[str(path).casefold()] = path.relative_to(root).as_posix()
                path.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as packed, open(path, "xb") as plain:
                    shutil.copyfileobj(packed, plain)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: of a method it lacks
        raise ValueError(f"{archive.name}: cannot be unpacked ({error}); it is damaged, fetch it again") from error
    return sorted(written.values())
