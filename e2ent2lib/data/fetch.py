"""Fetching a data set: downloaded with pooch, unpacked beside its place, and moved there only when whole.

Only public repositories are fetched from, each at one commit. They are mirrors, not the owners' own pages, and several
hold a part of a set only. Nothing that is there already is overwritten.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import PIL
import pooch
import requests
from tqdm.auto import tqdm

from e2ent2lib.data import viewpairs
from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS, DataSet, Listed, Mirror, data_roots, fingerprint, names_of
from e2ent2lib.data.unpack import unpack
from e2ent2lib.photos.images import read_image
from e2ent2lib.runs.files import file_sha256, whole_file

GITHUB = "https://github.com"
RECORD = "fetched.json"
LARGEST = 6 * 2**30
"""Bytes of a download."""


def data_home() -> Path:
    """Where fetched data goes: ``E2ENT2_DATA`` if set, else ``data/`` of the checkout.

    Raises FileNotFoundError if neither exists.
    """
    home = data_roots()[-1]
    if not home.is_dir():
        raise FileNotFoundError(f"{home}: no such folder; create it, or let E2ENT2_DATA name one for the data sets")
    return home


def fetch(name: str, *, progress: bool = True, timeout: float = 30.0, retries: int = 3) -> list[str]:
    """Fetch a set into the data folder; returns what to tell the user, a line each.

    ``timeout``: seconds that a server may be silent. Raises ValueError for a set that is not known or files that are
    not what they were, FileExistsError rather than overwrite, and OSError where the network fails. Then nothing of a
    mirror is kept: each is moved into the data folder whole or not at all.
    """
    names, lines, problems = names_of(name), [], []
    if not names:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join([*DATASETS, *TRAINING_SETS])}")
    for one in names:
        known = DATASETS.get(one) or TRAINING_SETS[one]
        if isinstance(known, DataSet) and known.views:
            lines += _fetch_views(known, data_home(), problems, progress, timeout, retries)
        else:
            lines += _fetch_set(known, progress, timeout, retries)
    if problems:
        raise ValueError(
            f"{len(problems)} problem(s) with {name}; what is sound is in place:\n  " + "\n  ".join(problems)
        )
    return lines + [f"Then e2ent2 data check {name} verifies what is there."]


def _fetch_set(known: Listed, progress: bool, timeout: float, retries: int) -> list[str]:
    if not known.mirrors and not known.by_hand:
        return [f"{known.title}: {known.steps}"]
    lines = [f"{known.title}: {known.terms}; please cite {known.citation}."]
    for mirror in known.mirrors:
        lines.append(f"From {mirror.repository} at {mirror.commit} on GitHub, a mirror, not the owners' own page.")
        lines += _fetch_mirror(known.name, mirror, data_home(), progress, timeout, retries)
    return lines + [x for x in (known.part, known.by_hand.format(place=data_roots()[-1] / known.folder)) if x]


def _fetch_views(
    known: DataSet, home: Path, problems: list[str], progress: bool, timeout: float, retries: int
) -> list[str]:
    """Build the pairs that are not here, each from two files of a repository; what goes wrong is added to ``problems``.

    A pair is moved in whole. One with other pixels than listed is kept apart, in ViewPairs/apart.
    """
    folder, apart, failed = home / known.folder, home / "ViewPairs" / "apart" / known.views, set()
    pairs = viewpairs.pairs_of(known.views)
    for pair in tqdm(pairs, desc=known.title, unit="pair", disable=not progress or None, leave=False):
        missing = [view for view in pair if not os.path.lexists(folder / view.name)]
        if not missing or pair[0].repository in failed:
            continue
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home) as work:
            made, sources = Path(work) / "made", []
            try:
                for view in pair:
                    url = f"{GITHUB}/{view.repository}/raw/{view.commit}/{quote(view.path)}"
                    source = Path(work) / f"source_{view.name}"
                    sources.append(download(url, source, None, False, timeout, retries))
                different = viewpairs.build(pair, sources, made)
            except (Refused, ValueError) as error:
                problems.append(f"{known.folder}/{pair[0].name}: {error}")
            except ConnectionError as error:  # the other repositories may answer
                problems.append(f"{known.folder}/{pair[0].name} and all else of {pair[0].repository}: {error}")
                failed.add(pair[0].repository)
            else:
                for view in different:
                    apart.mkdir(parents=True, exist_ok=True)
                    os.replace(made / view.name, apart / view.name)
                    problems.append(
                        f"{known.folder}/{view.name}: other pixels than listed, from {view.repository} with Pillow "
                        f"{PIL.__version__}; kept apart as {apart / view.name}"
                    )
                if not different:
                    folder.mkdir(parents=True, exist_ok=True)
                    move_in(made, folder, [view.name for view in missing])
    return [
        f"{known.title}: {known.terms}; please cite {known.citation}.",
        f"{len(known.lister())} of {len(pairs)} pairs are in {folder}, from mirrors, not the owners' own pages.",
    ]


def _fetch_mirror(name: str, mirror: Mirror, home: Path, progress: bool, timeout: float, retries: int) -> list[str]:
    key = f"{mirror.repository}@{mirror.commit}"
    url = f"{GITHUB}/{mirror.repository}/archive/{mirror.commit}.tar.gz"
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home) as folder:  # the same disk: moving is renaming
        file, unpacked = f"{mirror.repository.replace('/', '-')}-{mirror.commit}.tar.gz", Path(folder) / "unpacked"
        archive = download(url, Path(folder) / file, mirror.sha256, progress, timeout, retries)
        paths = unpack(archive, unpacked, mirror.place)
        if not paths:
            raise ValueError(f"{mirror.repository} at {mirror.commit} holds none of the files expected of {name}")
        now = {
            "archive": file_sha256(archive),
            "pixels": {path: fingerprint([read_image(unpacked / path)]) for path in paths},
        }
        said = compare_record(home, key, now)
        new = move_in(unpacked, home, paths)
    with whole_file(home / RECORD) as temporary:
        temporary.write_text(json.dumps(read_record(home) | {key: now}, indent=1) + "\n", encoding="utf-8")
    return [said, f"{len(paths)} files, {len(new)} of them new, below {home}."]


def move_in(source: Path, home: Path, paths: list[str]) -> list[str]:
    """Move files into place; those that are there with the same bytes are left. Returns which moved.

    Raises FileExistsError, before anything is moved, if one is there with other content.
    """
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


def compare_record(home: Path, key: str, now: dict) -> str:
    """A sentence on whether the same came as before. Raises ValueError if other pictures came."""
    before = read_record(home).get(key)
    if before is None:
        return f"Its hash is not published: this first fetch notes SHA-256 {now['archive']} in {RECORD}."
    other = sorted(path for path, _ in now["pixels"].items() ^ before["pixels"].items())
    if other:
        raise ValueError(
            f"{key}: {', '.join(dict.fromkeys(other[:6]))} differ from the first fetch, noted in {home / RECORD}; "
            "nothing was changed here"
        )
    same = "the archive and its" if now["archive"] == before["archive"] else "packed again, but its"
    return f"As at the first fetch: {same} pictures are the same."


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
        http = pooch.HTTPDownloader(
            progressbar=progress and sys.stderr.isatty(),
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},
            hooks={"response": check},
        )
        with open(output_file, "wb") as file:
            try:
                http(url, _AtMost(file, url), pup)
            except (requests.TooManyRedirects, requests.exceptions.InvalidSchema) as error:
                raise Refused(f"{url}: the server sends elsewhere without end, or to no web address") from error

    pooch.get_logger().setLevel("WARNING")
    shelf = pooch.create(
        path=path.parent,
        base_url="",
        registry={path.name: sha256},
        urls={path.name: url},
        retry_if_failed=retries,
        env=None,
    )
    try:
        return Path(shelf.fetch(path.name, downloader=downloader))
    except requests.RequestException as error:
        silent = isinstance(error, requests.Timeout) or "timed out" in str(error)
        why = f"the server was silent for {timeout:g} seconds" if silent else f"the download failed ({error})"
        raise ConnectionError(f"{url}: {why}; fetch again later") from error


class _AtMost:
    """The file that pooch writes to, which takes ``LARGEST`` bytes and no more."""

    def __init__(self, file: BinaryIO, url: str):
        self.file, self.url, self.flush = file, url, file.flush

    def write(self, block: bytes) -> None:
        if self.file.tell() + len(block) > LARGEST:
            raise Refused(f"{self.url}: sends more than {LARGEST:,} bytes")
        self.file.write(block)
