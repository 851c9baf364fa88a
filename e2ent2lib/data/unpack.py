"""Unpacking an archive that is not trusted: nothing outside the folder, no links, no devices, no bombs.

tarfile's ``filter="data"`` keeps files inside the folder, but it lets links through, and it has no limit on how many
files come, how large they grow or how much memory a header asks for, and takes a damaged header for the end: all that
is here.
"""

import gzip
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

TOTAL, SINGLE = 8 * 2**30, 2**30
"""Bytes unpacked, of all files of an archive together and of one."""
FILES = 200_000
"""Files and folders."""
RATIO, SMALL = 100.0, 16 * 2**20
"""Bytes unpacked for each byte packed, once more than ``SMALL`` are unpacked (a few empty blocks pack well): nobody's
photographs pack so. ``SMALL`` is also the most that a header has."""


def unpack(archive: Path, into: Path, choose: Callable[[str], str | None]) -> list[str]:
    """Write the chosen files of a tar or tar.gz below the empty folder ``into``; returns their paths there, sorted.

    ``choose`` gives the path that a file gets, or None to leave it out; it is asked without the archive's top folder.
    Raises ValueError for an archive that is damaged, that holds a name twice or, among what is chosen, a path that
    leads out of ``into`` or anything but plain files; or that grows beyond these limits. What was written is then up to
    the caller.
    """
    written: dict[str, str] = {}
    try:
        with open(archive, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = _Bounded(gzip.GzipFile(fileobj=raw) if packed else raw, archive)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for count, member in enumerate(iter(tar.next, None), 1):
                    tar.members.clear()  # tarfile remembers every member otherwise
                    if count > FILES:
                        raise ValueError(f"{archive.name}: holds more than {FILES:,} files; nothing kept")
                    if member.size > SINGLE:
                        raise ValueError(f"{archive.name}: {member.name} has {member.size:,} bytes; nothing kept")
                    parts = PurePosixPath(member.name).parts[1:]
                    target = choose("/".join(parts)) if parts and not member.isdir() else None
                    if target is None:
                        continue
                    if not member.isreg() or member.issparse():
                        raise ValueError(f"{archive.name}: {member.name} is a link or a device; nothing kept")
                    if target.casefold() in written:
                        raise ValueError(f"{archive.name}: holds {target} twice; nothing kept")
                    written[target.casefold()] = target
                    tar.extract(member.replace(name=target, deep=False), into, set_attrs=False, filter="data")
                stream.seek(tar.offset)
                if stream.read(512) != bytes(512):
                    raise EOFError("it ends early")
                while stream.read(2**20):  # gzip compares its checksum at the end
                    pass
    except tarfile.FilterError as error:
        raise ValueError(f"{archive.name}: leads out of the folder ({error}); nothing kept") from error
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the archive's
            raise
        raise ValueError(f"{archive.name}: cannot be unpacked ({error}); it is damaged, fetch it again") from error
    return sorted(written.values())


class _Bounded:
    """A tar stream that stops at the limits whatever its headers say, before it is unpacked into memory."""

    def __init__(self, file: BinaryIO, archive: Path):
        self.file, self.archive = file, archive
        self.most = min(TOTAL, max(SMALL, int(RATIO * archive.stat().st_size)))

    def read(self, size: int) -> bytes:
        if size > SMALL:
            raise ValueError(f"{self.archive.name}: a header of {size:,} bytes; nothing kept")
        data = self.file.read(size)
        self._within(self.file.tell())
        return data

    def seek(self, position: int) -> int:
        self._within(position)
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()

    def _within(self, position: int) -> None:
        if position > self.most:
            raise ValueError(f"{self.archive.name}: unpacks to more than {self.most:,} bytes; nothing kept")
