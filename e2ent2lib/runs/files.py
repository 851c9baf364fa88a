"""Files that appear whole or not at all, and the hash of one."""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path that becomes ``path`` if the block succeeds. Raises FileNotFoundError if there is no folder."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    temporary = path.with_name(f".part-{secrets.token_hex(4)}{path.suffix}")  # short, for a name may be at its limit
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # else a power failure could leave the new name without the new content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_free(paths: Sequence[Path], inputs: Iterable[Path] = (), again: bool = False) -> None:
    """Raise ValueError for a path that is an input, comes twice, or, unless ``again``, is a file already."""
    taken = list(inputs)
    for path in paths:
        if any(path == other or (path.exists() and other.exists() and path.samefile(other)) for other in taken):
            raise ValueError(f"{path}: is one of the inputs or another output; name another place")
        if os.path.lexists(path) and not again:
            raise ValueError(f"{path}: exists already; --again replaces it, or name another place")
        taken.append(path)


def check_folder(folder: Path) -> None:
    """Raise OSError that names the folder, which need not exist yet, if no file can be written there."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise OSError(f"{folder}: cannot be written to ({error.strerror}); choose another folder") from error


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
