"""Unpacking an archive that is not trusted: nothing outside the folder, no links, no devices, no bombs."""

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, NamedTuple


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to. A photograph hardly packs; a ratio of 100 is nobody's photographs."""

    total: int = 8 * 2**30
    """Bytes unpacked, of all its files together."""
    files: int = 200_000
    """Files and folders."""
    ratio: float = 100.0
    """Bytes unpacked for each byte packed, once more than ``small`` are unpacked."""
    small: int = 16 * 2**20
    """Bytes under which the ratio does not matter: a few empty blocks pack well."""


class _Entry(NamedTuple):
    name: str
    size: int
    plain: bool
    folder: bool
    open: Callable[[], BinaryIO]


def unpack(
    archive: Path, into: Path, choose: Callable[[str], str | None], *, strip: int = 0, limits: Limits = Limits()
) -> list[str]:
    """Write the chosen files of a tar, tar.gz or zip below the empty folder ``into``; returns their paths there.

    ``choose`` gives the path that a file gets, or None to leave it out; ``strip`` leading folders are dropped before.
    Raises ValueError for an archive that is damaged, that holds an absolute path, "..", a name twice, or, among what
    is chosen, anything but plain files; or that grows beyond ``limits``. What was written is then up to the caller.
    """
    written: dict[str, str] = {}
    total = 0
    try:
        for count, entry in enumerate(_entries(archive, limits), 1):
            total += entry.size
            _within(limits, archive, total, count)
            parts = _safe_parts(entry.name, archive)[strip:]
            target = choose("/".join(parts)) if parts and not entry.folder else None
            if target is None:
                continue
            if not entry.plain:
                raise ValueError(f"{archive.name}: {entry.name} is a link or a device, not a plain file; nothing kept")
            if target.casefold() in written:
                raise ValueError(f"{archive.name}: holds {target} twice; nothing kept")
            written[target.casefold()] = target
            path = into.joinpath(*_safe_parts(target, archive))
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(entry, path)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the archive's
            raise
        raise ValueError(f"{archive.name}: cannot be unpacked ({error}); it is damaged, fetch it again") from error
    return sorted(written.values())


def _within(limits: Limits, archive: Path, total: int, count: int = 0) -> None:
    if count > limits.files:
        raise ValueError(f"{archive.name}: holds more than {limits.files:,} files; nothing kept")
    if total > limits.total:
        raise ValueError(f"{archive.name}: unpacks to more than {limits.total:,} bytes; nothing kept")
    if total > max(limits.small, limits.ratio * archive.stat().st_size):
        raise ValueError(f"{archive.name}: unpacks to more than {limits.ratio:g} times its size; nothing kept")


def _safe_parts(name: str, archive: Path) -> list[str]:
    if name.startswith("/") or "\\" in name or "\0" in name or PureWindowsPath(name).drive or ".." in name.split("/"):
        raise ValueError(f"{archive.name}: {name!r} leads out of the folder; nothing kept")
    return [part for part in PurePosixPath(name).parts if part != "."]


def _copy(entry: _Entry, path: Path) -> None:
    with entry.open() as source, open(path, "xb") as out:
        left = entry.size
        while left and (block := source.read(min(left, 2**20))):
            out.write(block)
            left -= len(block)
        if left or source.read(1):
            raise EOFError(f"{entry.name} is not of the length it says")


def _entries(archive: Path, limits: Limits) -> Iterator[_Entry]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            infos = file.infolist()
            _within(limits, archive, sum(i.file_size for i in infos), len(infos))  # said beforehand, before any work
            for info in infos:
                kind = stat.S_IFMT(info.external_attr >> 16)
                plain = kind in (0, stat.S_IFREG)
                yield _Entry(info.filename, info.file_size, plain, info.is_dir(), lambda i=info: file.open(i))
        return
    with open(archive, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = _Bounded(gzip.GzipFile(fileobj=raw) if packed else raw, archive, limits)
        with tarfile.open(fileobj=stream, mode="r:") as file:
            while member := file.next():
                file.members.clear()  # tarfile remembers every member otherwise
                plain = member.isreg() and not member.issparse()
                yield _Entry(
                    member.name, member.size, plain, member.isdir(), lambda m=member: file.extractfile(m) or _nothing()
                )
            stream.seek(file.offset)
            if stream.read(512) != bytes(512):  # tarfile takes a damaged header for the end
                raise EOFError("it ends early")
            while stream.read(2**20):  # gzip compares its checksum at the end
                pass


def _nothing() -> BinaryIO:
    raise EOFError("a file without content")


class _Bounded:
    """A tar stream that stops at the limits whatever its headers say, before it is unpacked into memory."""

    def __init__(self, file: BinaryIO, archive: Path, limits: Limits):
        self.file, self.archive, self.limits = file, archive, limits

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= 2**24:
            raise ValueError(f"{self.archive.name}: a header of {size:,} bytes; nothing kept")
        data = self.file.read(size)
        _within(self.limits, self.archive, self.file.tell())
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        _within(self.limits, self.archive, position)
        return self.file.seek(position, whence)

    def tell(self) -> int:
        return self.file.tell()


def pattern(*rules: tuple[str, str]) -> Callable[[str], str | None]:
    """A ``choose`` for ``unpack``: the first rule whose regular expression fits a whole path gives its new path."""
    compiled = [(re.compile(rule), to) for rule, to in rules]

    def choose(path: str) -> str | None:
        return next((m.expand(to) for rule, to in compiled if (m := rule.fullmatch(path))), None)

    return choose
