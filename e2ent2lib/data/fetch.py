"""Fetching a data set: downloaded with pooch, unpacked beside its place, and moved there only when whole.

Only public repositories are fetched from, each at one commit. They are mirrors, not the owners' own pages, and several
hold a part of a set only. Nothing that is there already is overwritten.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm.auto import tqdm

from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS, data_roots, fingerprint
from e2ent2lib.data.unpack import Limits, pattern, unpack
from e2ent2lib.photos.images import read_image
from e2ent2lib.runs.files import file_sha256, whole_file

GITHUB = "https://github.com"
RECORD = "fetched.json"
LARGEST = 6 * 2**30
"""Bytes of a download."""


@dataclass(frozen=True)
class Mirror:
    """A repository at a commit, and which of its files go where below the data folder."""

    repository: str
    commit: str
    files: Callable[[str], str | None]
    sha256: str | None = None
    """Of the archive, where it is known. GitHub does not promise to pack a commit the same way for ever."""

    def address(self) -> str:
        """GitHub's archive of the commit."""
        return f"{GITHUB}/{self.repository}/archive/{self.commit}.tar.gz"


MIRRORS = {
    "bsds500": [
        Mirror(
            "BIDS/BSDS500", "a04b7c6",
            pattern((r"BSDS500/data/images/((?:train|test)/\w+\.jpg)", r"train/BSDS500/\1")),
        ),
    ],
    "t91": [Mirror("tegg89/SRCNN-Tensorflow", "78be1a2", pattern((r"Train/(\w+\.(?:bmp|png))", r"train/T91/\1")))],
    "scenes": [
        Mirror(
            "alicevision/SfM_quality_evaluation", "36e3bf2",
            pattern((
                r"Benchmarking_Camera_Calibration_2008/(castle-P19|castle-P30|entry-P10|Herz-Jesus-P25)/(?:images/)?"
                r"(\w+\.(?:jpg|JPG|png))", r"train/scenes/\1/\2",
            )),
        ),
        Mirror(
            "mapillary/OpenSfM", "238744cd",
            pattern((r"data/lund/(?:images/)?(\w+\.(?:jpg|JPG))", r"train/scenes/lund/\1")),
        ),
        Mirror(
            "snavely/bundler_sfm", "a35a8f5",
            pattern((r"examples/(ET|kermit)/(\w+\.(?:jpg|JPG))", r"train/scenes/\1/\2")),
        ),
    ],
    "cufed5": [
        Mirror("yeoyi519/SRNTT", "6d200fd", pattern((r"data/(?:.*/)?CUFED5/(\d{3}_[0-5]\.png)", r"CUFED5/\1"))),
    ],
    "flickr1024": [
        Mirror(
            "LongguangWang/PASSRnet", "acba757",
            pattern((r"data/train/Flickr1024/(?:.*/)?(0026_[LR]\.png)", r"Flickr1024/Test/\1")),
        ),
    ],
    "middlebury": [
        Mirror(
            "ccj5351/ccj5351.github.io", "34f5159",
            pattern(
                (r"files/stereo-datasets/MiddleburyV3/trainingQ/(?:.*/)?(\w+)/im0\.png", r"Middlebury/\1_L.png"),
                (r"files/stereo-datasets/MiddleburyV3/trainingQ/(?:.*/)?(\w+)/im1\.png", r"Middlebury/\1_R.png"),
                (r"files/stereo-datasets/MiddleburyV3/trainingQ/(?:.*/)?(\w+_[LR]\.png)", r"Middlebury/\1"),
            ),
        ),
    ],
    "sunhays": [
        Mirror(
            "jbhuang0604/SelfExSR", "8f6dd8c",
            pattern((r"data/Sun-Hays80/(?:.*/)?(img_\d{3}_SRF_\d+_HR\.png)", r"SunHays80/\1")),
        ),
    ],
}  # fmt: skip
ONLY_A_PART = {
    "cufed5": "The mirror has group 001 only, 1 of 126.",
    "flickr1024": "Of the mirror only pair 0026 belongs to the test set, 1 of 112.",
    "sunhays": "The mirror has the photographs without their references: bicubic and SISR models can be measured.",
    "scenes": "The shipped checkpoints saw castle, entry and Herz-Jesus reduced to 1023 pixels; these are not.",
}
BY_HAND = {
    "cufed5": "For all 126 groups: the page of SRNTT (Zhang et al., CVPR 2019) leads to the owners' drive; "
    "unpack CUFED5 there, so that {place}/001_0.png exists.",
    "cufed": "The page of SRNTT (Zhang et al., CVPR 2019) leads to the owners' drive; unpack the training pairs, "
    "so that {place}/input and {place}/ref exist.",
    "flickr1024": "For all 112 pairs: the page of Flickr1024 (Wang et al., ICCVW 2019) leads to the owners' form; "
    "unpack the test set, so that {place}/0001_L.png exists.",
    "urban100": "The page of SelfExSR (Huang et al., CVPR 2015) leads to the owners' files; unpack the photographs, "
    "so that {place}/img_001.png or {place}/img_001_SRF_4_HR.png exists.",
    "sunhays": "For the references: the page of Sun and Hays (ICCP 2012) leads to the owners' files; unpack them, so "
    "that {place}/Sun_Hays_SR_groundtruth and {place}/Sun_Hays_SR_scenematches exist.",
}


def data_home() -> Path:
    """Where fetched data goes: ``E2ENT2_DATA`` if set, else ``data/`` of the checkout.

    Raises FileNotFoundError if neither exists.
    """
    home = data_roots()[-1]
    if not home.is_dir():
        raise FileNotFoundError(f"{home}: no such folder; create it, or let E2ENT2_DATA name one for the data sets")
    return home


def fetch(
    name: str, *, progress: bool = True, timeout: float = 30.0, retries: int = 3, limits: Limits = Limits()
) -> list[str]:
    """Fetch a set into the data folder; returns what to tell the user, a line each.

    ``timeout``: seconds that a server may be silent. Raises ValueError for a set that is not known or files that are
    not what they were, FileExistsError rather than overwrite, and OSError where the network fails; what had come by
    then is kept, and the next call goes on from there if the server can.
    """
    if name not in DATASETS and name not in TRAINING_SETS:
        known = ", ".join([*DATASETS, *TRAINING_SETS])
        raise ValueError(f"unknown data set {name!r}; choose one of {known}")
    known = DATASETS.get(name) or TRAINING_SETS[name]
    if known.folder is None:
        return [f"{known.title}: {known.steps}"]
    said = [f"{known.title}: {known.terms}; please cite {known.citation}."]
    for mirror in MIRRORS.get(name, []):
        said.append(f"From {mirror.repository} at {mirror.commit} on GitHub, a mirror, not the owners' own page.")
        said += _fetch_mirror(name, mirror, data_home(), progress, timeout, retries, limits)
    if name in ONLY_A_PART:
        said.append(ONLY_A_PART[name])
    if name in BY_HAND:
        said.append(BY_HAND[name].format(place=data_roots()[-1] / known.folder))
    return said + [f"Then e2ent2 data check {name} verifies what is there."]


def _fetch_mirror(
    name: str, mirror: Mirror, home: Path, progress: bool, timeout: float, retries: int, limits: Limits
) -> list[str]:
    cache = home / ".downloads"
    file = f"{mirror.repository.replace('/', '-')}-{mirror.commit}.tar.gz"
    archive = download(mirror.address(), cache, file, mirror.sha256, progress, timeout, retries)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=home) as folder:  # the same disk: moving is renaming
        try:
            found = unpack(archive, Path(folder), mirror.files, strip=1, limits=limits)
            if not found:
                raise ValueError(f"{mirror.repository} at {mirror.commit} holds none of the files expected of {name}")
            marks = {path: fingerprint([read_image(Path(folder) / path)]) for path in found}
            packed = file_sha256(archive)
        finally:
            archive.unlink()  # a damaged one would be damaged again
            _remove_if_empty(cache)
        said = [compare_record(home, mirror, packed, marks)]
        new = move_in(Path(folder), home, found)
    write_record(home, mirror, packed, marks)
    return said + [f"{len(found)} files, {len(new)} of them new, below {home}."]


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def move_in(source: Path, home: Path, paths: list[str]) -> list[str]:
    """Move files into place; those that are there with the same bytes are left. Returns which moved.

    Raises FileExistsError, before anything is moved, if one is there with other content.
    """
    new = [path for path in paths if not os.path.lexists(home / path)]
    for path in sorted(set(paths) - set(new)):
        there = home / path
        if not there.is_file() or file_sha256(there) != file_sha256(source / path):
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


def write_record(home: Path, mirror: Mirror, packed: str, marks: dict[str, str]) -> None:
    """Note what was fetched beside the data."""
    record = read_record(home) | {f"{mirror.repository}@{mirror.commit}": {"archive": packed, "pixels": marks}}
    with whole_file(home / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def compare_record(home: Path, mirror: Mirror, packed: str, marks: dict[str, str]) -> str:
    """A sentence on whether the same came as before. Raises ValueError if other pictures came."""
    before = read_record(home).get(f"{mirror.repository}@{mirror.commit}")
    if before is None:
        return f"Nobody's hash of it is known: this first fetch notes SHA-256 {packed} in {RECORD}."
    other = sorted(k for k in marks.keys() | before["pixels"].keys() if marks.get(k) != before["pixels"].get(k))
    if other:
        raise ValueError(
            f"{mirror.repository}@{mirror.commit}: {other[0]}{f' and {len(other) - 1} more' * (len(other) > 1)} "
            f"differ from the first fetch, noted in {home / RECORD}; nothing was changed here"
        )
    same = "the archive and its" if packed == before["archive"] else "packed anew, but its"
    return f"As at the first fetch: {same} pictures are the same."


# ---- the download ----


class Refused(RuntimeError):
    """An answer that trying again would not change."""


def download(
    url: str, folder: Path, file: str, sha256: str | None, progress: bool, timeout: float, retries: int
) -> Path:
    """The file, downloaded with pooch into ``folder``; a hash that is known is compared. Raises OSError, ValueError."""
    downloader = Resuming(folder / f"{file}.part", timeout=timeout, progress=progress)
    shelf = pooch.create(
        path=folder, base_url="", registry={file: sha256}, urls={file: url}, retry_if_failed=retries, env=None
    )
    pooch.get_logger().setLevel("WARNING")
    try:
        return Path(shelf.fetch(file, downloader=downloader))
    except requests.RequestException as error:
        kept = downloader.part.stat().st_size if downloader.part.is_file() else 0
        then = f"{kept:,} bytes are kept, fetch again to go on from there" if kept else "fetch again later"
        raise ConnectionError(f"{url}: {_why(error, timeout)}; {then}") from error
    finally:
        _remove_if_empty(folder)


def _why(error: requests.RequestException, timeout: float) -> str:
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"the server was silent for {timeout:g} seconds"
    return f"the download failed ({error})"


class Resuming:
    """A downloader for pooch that goes on where the last attempt stopped, which pooch's own does not.

    What has come is kept in ``part``, beside it the address and the server's mark of the version (ETag or
    Last-Modified). The rest is asked for with Range and If-Range; a server that sends all of it again, or another
    version, or that has no mark, starts anew. Raises RequestException where another attempt may help, else Refused.
    """

    def __init__(self, part: Path, *, timeout: float, progress: bool = True, largest: int = LARGEST):
        self.part, self.timeout, self.progress, self.largest = part, timeout, progress, largest
        self.note = part.with_name(part.name + ".json")

    def __call__(self, url: str, output_file: str, pooch: object = None, check_only: bool = False) -> None:
        """Fetch ``url`` to ``output_file``, as pooch calls it."""
        mark = self._mark(url)
        start = self.part.stat().st_size if mark else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-", "If-Range": mark} if start else {})
        with self._answer(url, headers) as answer:
            if answer.status_code == 416:  # what is here does not fit what is there: start anew at the next attempt
                self._forget()
                raise requests.ConnectionError("the server has no such rest")
            if answer.status_code >= 400:
                kind = requests.HTTPError if answer.status_code >= 500 or answer.status_code == 429 else Refused
                raise kind(f"{url}: the server answers {answer.status_code} {answer.reason}")
            self._take(url, answer, start)
        os.replace(self.part, output_file)
        self.note.unlink(missing_ok=True)

    @contextmanager
    def _answer(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        with requests.Session() as session:
            session.max_redirects = 5
            try:
                answer = session.get(url, headers=headers, stream=True, timeout=self.timeout)
            except (requests.TooManyRedirects, requests.exceptions.InvalidSchema) as error:
                raise Refused(f"{url}: the server sends elsewhere without end, or to no web address") from error
            with answer:
                if url.startswith("https:") and not answer.url.startswith("https:"):
                    raise Refused(f"{url}: the server sends to {answer.url}, which is not encrypted")
                yield answer

    def _take(self, url: str, answer: requests.Response, start: int) -> None:
        headers = answer.headers
        length = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdigit() else None
        if answer.status_code == 206:
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""))
            if not span or int(span[1]) != start:
                self._forget()
                raise requests.ConnectionError("the server sent another part than was asked for")
            total = int(span[3]) if span[3] != "*" else int(span[2]) + 1
        else:
            start, total = 0, length
        if (total or 0) > self.largest:
            raise Refused(f"{url}: says it has {total:,} bytes, more than {self.largest:,}")
        self._remember(url, headers)
        with (
            open(self.part, "ab" if start else "wb") as out,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                disable=not self.progress or None,
                desc=self.part.stem,
            ) as bar,
        ):
            for block in self._blocks(answer):
                out.write(block)
                bar.update(len(block))
                if out.tell() > self.largest:
                    self._forget()
                    raise Refused(f"{url}: sends more than {self.largest:,} bytes")
            came = out.tell()
        if total is not None and came != total:
            if came > total:
                self._forget()
            raise requests.ConnectionError(f"{came:,} bytes came of {total:,}")

    @staticmethod
    def _blocks(answer: requests.Response) -> Iterator[bytes]:
        try:  # the bytes as they are: a server may call a .gz file an encoding
            yield from answer.raw.stream(2**16, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.Timeout(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise requests.ConnectionError(error) from error

    def _mark(self, url: str) -> str | None:
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return note["mark"] if note.get("url") == url and self.part.is_file() else None

    def _remember(self, url: str, headers: requests.structures.CaseInsensitiveDict) -> None:
        etag = headers.get("ETag", "")
        weak = not etag or etag.startswith("W/")  # If-Range must not take a weak one
        mark = headers.get("Last-Modified") if weak else etag
        self.note.write_text(json.dumps({"url": url, "mark": mark}), encoding="utf-8")

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
