"""Fetching a data set: downloaded with pooch, unpacked beside its place, and moved there only when whole.

Only public repositories are fetched from, each at one commit. They are mirrors, not the owners' own pages, and several
hold a part of a set only. Nothing that is there already is overwritten.
"""

import io
import json
import os
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import PIL
import pooch
import requests
from jaxtyping import UInt8
from PIL import Image
from tqdm.auto import tqdm

from e2ent2lib.data import pairs as sets
from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS, DataSet, Mirror, View
from e2ent2lib.photos.images import as_rgb
from e2ent2lib.runs.files import file_sha256, write_text

GITHUB = "https://github.com"
RECORD = "fetched.json"
LARGEST = 6 * 2**30
"""Bytes of a download."""
TOTAL, FILES = 8 * 2**30, 200_000
"""Bytes and files unpacked."""
RATIO, SMALL = 100, 16 * 2**20
"""Bytes unpacked for each byte packed, once more than ``SMALL`` are unpacked: nobody's photographs pack so."""
LONGEST, LONGEST_REFERENCE = 512, 1024
"""Pixels of the longest side of an input of ViewPairs, and of a reference."""


def fetch(name: str, *, progress: bool = True, timeout: float = 30.0, retries: int = 3) -> list[str]:
    """Fetch a set into ``E2ENT2_DATA`` if set, else ``data/`` of the checkout; returns what to tell the user by line.

    ``timeout``: seconds that a server may be silent. Raises ValueError for a set that is not known or files that are
    not what they were, FileNotFoundError if there is no such folder, FileExistsError rather than overwrite, and OSError
    where the network fails. Then nothing of a mirror is kept: each is moved in whole or not at all.
    """
    names, home, lines, problems = sets.names_of(name), sets.data_roots()[-1], [], []
    if not names:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join([*DATASETS, *TRAINING_SETS])}")
    if not home.is_dir():
        raise FileNotFoundError(f"{home}: no such folder; create it, or let E2ENT2_DATA name one for the data sets")
    get = partial(download, timeout=timeout, retries=retries)
    for known in (DATASETS.get(one) or TRAINING_SETS[one] for one in names):
        if not (known.mirrors or known.by_hand or known.views):
            lines.append(f"{known.title}: {known.steps}")
            continue
        lines.append(f"{known.title}: {known.terms}; please cite {known.citation}.")
        if known.views:
            lines.append(_fetch_views(known, home, problems, partial(get, sha256=None, progress=False), progress))
        for mirror in known.mirrors:
            lines.append(f"From {mirror.repository} at {mirror.commit} on GitHub, a mirror, not the owners' own page.")
            lines += _fetch_mirror(known.name, mirror, home, partial(get, sha256=mirror.sha256, progress=progress))
        lines += [x for x in (known.part, known.by_hand.format(place=home / known.folder)) if x]
    if problems:
        raise ValueError(f"{len(problems)} problem(s); what is sound is in place:\n  " + "\n  ".join(problems))
    return lines + [f"Then e2ent2 data check {name} verifies what is there."]


def _fetch_mirror(name: str, mirror: Mirror, home: Path, get: Callable[[str, Path], Path]) -> list[str]:
    key = f"{mirror.repository}@{mirror.commit}"
    url = f"{GITHUB}/{mirror.repository}/archive/{mirror.commit}.zip"
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home) as folder:  # the same disk: moving is renaming
        file, unpacked = f"{mirror.repository.replace('/', '-')}-{mirror.commit}.zip", Path(folder) / "unpacked"
        archive = get(url, Path(folder) / file)
        if not (paths := unpack(archive, unpacked, mirror.place)):
            raise ValueError(f"{mirror.repository} at {mirror.commit} holds none of the files expected of {name}")
        pixels = {path: sets.fingerprint([as_rgb(unpacked / path)]) for path in paths}
        now, record = {"archive": file_sha256(archive), "pixels": pixels}, read_record(home)
        before = record.get(key, now)
        if other := sorted(path for path, _ in pixels.items() ^ before["pixels"].items()):
            raise ValueError(
                f"{key}: {', '.join(dict.fromkeys(other[:6]))} differ from the first fetch, noted in {home / RECORD}; "
                "nothing was changed here"
            )
        new = move_in(unpacked, home, paths)
    same = "the archive and its" if now["archive"] == before["archive"] else "packed again, but its"
    said = f"As at the first fetch: {same} pictures are the same."
    if key not in record:
        said = f"Its hash is not published: this first fetch notes SHA-256 {now['archive']} in {RECORD}."
    write_text(home / RECORD, json.dumps(record | {key: now}, indent=1) + "\n")
    return [said, f"{len(paths)} files, {len(new)} of them new, below {home}."]


def move_in(source: Path, home: Path, paths: list[str]) -> list[str]:
    """Move in what is missing; returns which. Raises FileExistsError first if one is there with other content."""
    new = [path for path in paths if not os.path.lexists(home / path)]
    for there in (home / path for path in paths if path not in new):
        if not there.is_file() or file_sha256(there) != file_sha256(source / there.relative_to(home)):
            raise FileExistsError(f"{there}: is there already with other content; move it away, then fetch again")
    for path in new:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        os.rename(source / path, home / path)
    return new


def read_record(home: Path) -> dict[str, dict]:
    """What was fetched before: by repository@commit, the SHA-256 of the archive and of each picture's pixels."""
    path = home / RECORD
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); delete it, then fetch again") from error


# ---- the download ----


class Refused(RuntimeError):
    """An answer that trying again would not change."""


def download(url: str, path: Path, sha256: str | None, progress: bool, timeout: float, retries: int) -> Path:
    """Download to ``path`` with pooch, which tries again and compares a hash that is known.

    Raises ConnectionError, ValueError for another hash, and Refused: pooch would ask again for what is missing, and
    take without end or unencrypted what a server sends.
    """

    def check(answer: requests.Response, **options: object) -> None:
        if 400 <= answer.status_code < 500 and answer.status_code != 429:
            raise Refused(f"{url}: the server answers {answer.status_code} {answer.reason}")
        if url.startswith("https:") and not answer.url.startswith("https:"):
            raise Refused(f"{url}: the server sends to {answer.url}, which is not encrypted")

    def downloader(url: str, output_file: str, pup: pooch.Pooch, check_only: bool = False) -> None:
        options = {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}, "hooks": {"response": check}}
        http = pooch.HTTPDownloader(progressbar=progress and sys.stderr.isatty(), **options)
        with _AtMost(output_file, "wb") as file:
            try:
                http(url, file, pup)
            except (requests.TooManyRedirects, requests.exceptions.InvalidSchema) as error:
                raise Refused(f"{url}: the server sends elsewhere without end, or to no web address") from error

    pooch.get_logger().setLevel("WARNING")
    shelf = pooch.Pooch(path.parent, "", {path.name: sha256}, {path.name: url}, retry_if_failed=retries)
    try:
        return Path(shelf.fetch(path.name, downloader=downloader))
    except requests.RequestException as error:
        silent = isinstance(error, requests.Timeout) or "timed out" in str(error)
        why = f"the server was silent for {timeout:g} seconds" if silent else f"the download failed ({error})"
        raise ConnectionError(f"{url}: {why}; fetch again later") from error


class _AtMost(io.FileIO):
    """The file that pooch writes to, which takes ``LARGEST`` bytes and no more."""

    def write(self, block: bytes) -> int:
        if self.tell() + len(block) > LARGEST:
            raise Refused(f"{Path(self.name).name}: the server sends more than {LARGEST:,} bytes")
        return super().write(block)


# ---- the archive ----


def unpack(archive: Path, into: Path, choose: Callable[[str], str | None]) -> list[str]:
    """Write the chosen files of a zip archive below the folder ``into``; returns their paths there, sorted.

    ``choose`` gives the path that a file gets, or None to leave it out; it is asked without the archive's top folder.
    Of a file zipfile writes no more than its header says, and compares its checksum; all else is checked here.
    Raises ValueError for an archive that is damaged, that grows beyond the limits above or that holds, among what is
    chosen, a name twice, a path that leads out of ``into`` or anything but plain files. What was written stays.
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


# ---- ViewPairs ----


def _fetch_views(known: DataSet, home: Path, problems: list[str], get: Callable[[str, Path], Path], bar: bool) -> str:
    """Build the pairs that are not here and move each in whole; what goes wrong is added to ``problems``."""
    folder, pairs, failed = home / known.folder, sets.view_pairs(known.views), set()
    for pair in tqdm(pairs, desc=known.title, unit="pair", disable=not bar or None, leave=False):
        missing, repository = [v.name for v in pair if not os.path.lexists(folder / v.name)], pair[0].repository
        if not missing or repository in failed:
            continue
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home) as work:
            built = Path(work) / "built"
            try:
                urls = [f"{GITHUB}/{v.repository}/raw/{v.commit}/{quote(v.path)}" for v in pair]
                build(pair, [get(url, Path(work) / v.name) for url, v in zip(urls, pair)], built)
                move_in(built, folder, missing)
            except (Refused, ValueError) as error:
                problems.append(f"{known.folder}/{pair[0].name}: {error}")
            except ConnectionError as error:  # the other repositories may answer
                problems.append(f"{known.folder}/{pair[0].name} and all else of {repository}: {error}")
                failed.add(repository)
    return f"{len(known.lister())} of {len(pairs)} pairs are in {folder}, from mirrors, not the owners' own pages."


def reduced(photographs: list[Image.Image]) -> Iterator[list[UInt8[np.ndarray, "h w 3"]]]:
    """The pictures of a pair made from its upright photographs, input first; nothing is enlarged.

    One factor brings the input's longest side to 512; a reference that is still over 1024 is reduced to that. Both are
    cut at the right and bottom to multiples of 4. Sizes are rounded, then, should that not be it, rounded down.
    """
    whole = min(1.0, LONGEST / max(photographs[0].size))
    factors = whole, min(whole, LONGEST_REFERENCE / max(photographs[1].size))
    for rounding in (round, int):
        pictures = []
        for photograph, factor in zip(photographs, factors):
            size = tuple(max(1, rounding(n * factor)) for n in photograph.size)
            small = np.array(photograph.resize(size, Image.Resampling.LANCZOS))
            pictures.append(small[: len(small) // 4 * 4, : small.shape[1] // 4 * 4])
        yield pictures


def build(pair: tuple[View, View], sources: list[Path], folder: Path) -> None:
    """Make the two files of a pair in ``folder`` from the mirror's. Raises ValueError for other pixels than listed."""
    for pictures in reduced([Image.fromarray(as_rgb(source)) for source in sources]):
        other = [view.name for view, picture in zip(pair, pictures) if sets.fingerprint([picture]) != view.pixels]
        if not other:
            break
    else:
        made_with = f"from {pair[0].repository} with Pillow {PIL.__version__}"
        raise ValueError(f"{' and '.join(other)}: other pixels than listed, {made_with}")
    folder.mkdir(parents=True, exist_ok=True)
    for view, picture in zip(pair, pictures):
        Image.fromarray(picture).save(folder / view.name, lossless=True)
