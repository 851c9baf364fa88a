"""Fetching and unpacking, against servers and archives that are not what they should be (data/fetch.py, unpack.py)."""

import gzip
import hashlib
import io
import json
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2ent2lib.data import fetch as fetching
from e2ent2lib.data import pairs
from e2ent2lib.data.fetch import Mirror, Refused, download, fetch
from e2ent2lib.data.unpack import Limits, pattern, unpack

BODY = np.random.default_rng(0).bytes(400_000)


# ---- a server ----


class Server(ThreadingHTTPServer):
    """Serves ``body`` at any address, and misbehaves once for each word in ``plan``."""

    daemon_threads = True

    def __init__(self, body: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.plan, self.asked, self.etag, self.ranges = body, [], [], '"one"', True
        self.stop = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the tests


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, start = self.server, 0
        server.asked.append(dict(self.headers))
        trick = server.plan.pop(0) if server.plan else ""
        body = server.body
        if trick.isdigit():
            return self.send_error(int(trick))
        if trick.startswith("to "):
            self.send_response(302)
            self.send_header("Location", trick[3:])
            self.end_headers()
            return None
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            first = start + 7 if trick == "other part" else start
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        if trick == "corrupt":
            rest = rest[:1000] + bytes([rest[1000] ^ 1]) + rest[1001:]
        length = {"says less": len(rest) // 2, "says more": len(rest) + 50, "says huge": 10**13}.get(trick, len(rest))
        if server.etag:
            self.send_header("ETag", server.etag)
        if trick != "no length":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if trick in ("truncate", "stall"):
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)
        self.wfile.flush()
        if trick == "stall":
            server.stop.wait(5)
        return None


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    server = Server(BODY)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()


def get(server, folder, sha256=None, retries=0, timeout=5.0):
    return download(f"{server.url}/a.tar.gz", folder, "a.tar.gz", sha256, False, timeout, retries)


def left(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# ---- the download ----


def test_a_file_comes_whole_and_nothing_else_is_left(server, tmp_path):
    assert get(server, tmp_path).read_bytes() == BODY
    assert left(tmp_path) == ["a.tar.gz"]


def test_a_file_without_a_length_comes_whole(server, tmp_path):
    server.plan = ["no length"]
    assert get(server, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("trick", ["truncate", "503", "429"])
def test_a_download_that_breaks_off_is_tried_again(server, tmp_path, trick):
    server.plan = [trick]
    assert get(server, tmp_path, retries=1).read_bytes() == BODY
    assert len(server.asked) == 2


def test_the_second_attempt_asks_for_the_rest_only(server, tmp_path):
    server.plan = ["truncate"]
    with pytest.raises(ConnectionError, match=r"a\.tar\.gz: the download failed .*bytes are kept, fetch again"):
        get(server, tmp_path)
    kept = (tmp_path / "a.tar.gz.part").stat().st_size
    assert 0 < kept <= len(BODY) // 2
    assert not (tmp_path / "a.tar.gz").exists()
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked[1]["Range"] == f"bytes={kept}-" and server.asked[1]["If-Range"] == '"one"'


def test_a_server_that_cannot_resume_sends_all_of_it_again(server, tmp_path):
    server.plan, server.ranges = ["truncate"], False
    assert get(server, tmp_path, retries=1).read_bytes() == BODY


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_mark_of_the_version_nothing_is_resumed(server, tmp_path, etag):
    server.plan, server.etag = ["truncate"], etag
    assert get(server, tmp_path, retries=1).read_bytes() == BODY
    assert "Range" not in server.asked[1]


def test_a_file_that_changed_in_between_is_not_patched_together(server, tmp_path):
    server.plan = ["truncate"]
    with pytest.raises(ConnectionError):
        get(server, tmp_path)
    server.body, server.etag = BODY[::-1], '"two"'
    assert get(server, tmp_path).read_bytes() == BODY[::-1]


def test_another_part_than_was_asked_for_is_not_used(server, tmp_path):
    server.plan = ["truncate", "other part"]
    assert get(server, tmp_path, retries=2).read_bytes() == BODY


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, tmp_path):
    server.plan = ["truncate", "416"]
    assert get(server, tmp_path, retries=2).read_bytes() == BODY


def test_a_part_of_another_address_is_not_used(server, tmp_path):
    server.plan = ["truncate"]
    with pytest.raises(ConnectionError):
        get(server, tmp_path)
    assert download(f"{server.url}/b", tmp_path, "a.tar.gz", None, False, 5, 0).read_bytes() == BODY
    assert "Range" not in server.asked[1]


def test_a_server_that_falls_silent_ends_with_what_happened(server, tmp_path):
    server.plan = ["stall"]
    with pytest.raises(ConnectionError, match=r"the server was silent for 0\.3 seconds; [\d,]+ bytes are kept"):
        get(server, tmp_path, timeout=0.3)


def test_no_server_at_all_ends_with_the_address(tmp_path):
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9/a: the download failed .* fetch again later"):
        download("http://127.0.0.1:9/a", tmp_path / "new", "a", None, False, 2, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_known_hash_is_compared_and_a_corrupt_file_is_fetched_again(server, tmp_path):
    sha = hashlib.sha256(BODY).hexdigest()
    server.plan = ["corrupt"]
    with pytest.raises(ValueError, match="SHA256 hash"):
        get(server, tmp_path, sha256=sha)
    assert left(tmp_path) == []
    server.plan = ["corrupt"]
    assert get(server, tmp_path, sha256=sha, retries=1).read_bytes() == BODY


def test_a_length_that_is_too_long_is_noticed(server, tmp_path):
    server.plan = ["says more"]
    with pytest.raises(ConnectionError, match="the download failed"):
        get(server, tmp_path)


def test_a_length_beyond_all_sets_is_refused_before_anything_comes(server, tmp_path):
    server.plan = ["says huge"]
    with pytest.raises(Refused, match=r"says it has 10,000,000,000,000 bytes"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_a_server_that_never_ends_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching.Resuming.__init__, "__kwdefaults__", {"progress": True, "largest": 100_000})
    server.plan = ["no length"]
    with pytest.raises(Refused, match="sends more than 100,000 bytes"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_a_redirect_is_followed(server, tmp_path):
    server.plan = [f"to {server.url}/elsewhere"]
    assert get(server, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("where", ["file:///etc/hostname", "/again"])
def test_a_redirect_to_a_file_or_without_end_is_refused(server, tmp_path, where):
    server.plan = [f"to {where}"] * 20
    with pytest.raises(Refused, match="sends elsewhere without end, or to no web address"):
        get(server, tmp_path, retries=3)
    assert len(server.asked) <= 6


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    server.plan = ["404"] * 4
    with pytest.raises(Refused, match="the server answers 404"):
        get(server, tmp_path, retries=3)
    assert len(server.asked) == 1


# ---- unpacking ----


def tar(path: Path, files: dict[str, bytes | tarfile.TarInfo], mode="w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, files: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            file.writestr(info, content)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def everything(path: str) -> str:
    return path


def unpacked(archive: Path, **options) -> list[str]:
    into = archive.parent / "in"
    into.mkdir()
    return unpack(archive, into, options.pop("choose", everything), **options)


FILES = {"top/a.png": b"one", "top/sub/b.png": b"two", "top/notes.txt": b"three"}


@pytest.mark.parametrize(("name", "make"), [("a.tar.gz", tar), ("a.zip", zipped)])
def test_the_chosen_files_land_where_the_rules_say(tmp_path, name, make):
    archive = make(tmp_path / name, FILES)
    found = unpacked(archive, choose=pattern((r"(?:sub/)?(\w)\.png", r"Set/\1.png")), strip=1)
    assert found == ["Set/a.png", "Set/b.png"] == left(tmp_path / "in")
    assert (tmp_path / "in/Set/b.png").read_bytes() == b"two"


@pytest.mark.parametrize(
    "name", ["../out.png", "a/../../out.png", "/out.png", "..\\out.png", "C:out.png", "C:/out.png"]
)
@pytest.mark.parametrize("make", [tar, zipped])
def test_a_path_that_leads_out_of_the_folder_refuses_the_archive(tmp_path, name, make):
    archive = make(tmp_path / "a", {"good.png": b"1", name: b"2"})
    with pytest.raises(ValueError, match="leads out of the folder; nothing kept"):
        unpacked(archive)
    assert left(tmp_path) == ["a", "in/good.png"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = tar(tmp_path / "a.tar.gz", {"x": special("x.png", kind, "/etc/hostname")})
    with pytest.raises(ValueError, match=r"x\.png is a link or a device"):
        unpacked(archive)
    assert not any((tmp_path / "in").iterdir())


def test_a_file_behind_a_link_to_elsewhere_is_not_written_there(tmp_path):
    archive = tar(tmp_path / "a.tar.gz", {"x": special("out", tarfile.SYMTYPE, str(tmp_path)), "out/evil.png": b"1"})
    unpacked(archive, choose=lambda p: p if p.endswith(".png") else None)
    assert left(tmp_path) == ["a.tar.gz", "in/out/evil.png"]
    assert not (tmp_path / "in/out").is_symlink()


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"x.png": b"/etc/hostname"}, links=("x.png",))
    with pytest.raises(ValueError, match=r"x\.png is a link or a device"):
        unpacked(archive)


@pytest.mark.parametrize(("name", "make"), [("bomb.tar.gz", tar), ("bomb.zip", zipped)])
def test_a_bomb_is_stopped_by_its_ratio(tmp_path, name, make):
    archive = make(tmp_path / name, {"zeros.png": bytes(30 * 2**20)})
    with pytest.raises(ValueError, match="unpacks to more than 100 times its size"):
        unpacked(archive)
    assert left(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "make"), [("a.tar.gz", tar), ("a.tar", lambda p, f: tar(p, f, "w")), ("a.zip", zipped)]
)
def test_size_and_number_of_files_are_bounded(tmp_path, name, make):
    archive = make(tmp_path / name, {f"{i}.png": BODY[:1000] for i in range(20)})
    for number, (limits, says) in enumerate([(Limits(total=9_999), "9,999 bytes"), (Limits(files=19), "19 files")]):
        into = tmp_path / str(number)
        into.mkdir()
        with pytest.raises(ValueError, match=f"more than {says}"):
            unpack(archive, into, everything, limits=limits)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    huge = tarfile.TarInfo("././@LongLink")
    huge.type, huge.size = tarfile.GNUTYPE_LONGNAME, 2**30
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(huge.tobuf() + bytes(4096)))
    with pytest.raises(ValueError, match=r"a header of 1,073,741,824 bytes"):
        unpacked(tmp_path / "a.tar.gz")


def test_a_sparse_file_which_says_more_than_it_holds_is_refused(tmp_path):
    info = tarfile.TarInfo("x.png")
    info.size = 2**40
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(10240))
    with pytest.raises(ValueError, match="unpacks to more than"):
        unpacked(tmp_path / "a.tar")


@pytest.mark.parametrize("names", [("a.png", "a.png"), ("a.png", "A.PNG"), ("a.png", "./a.png")])
def test_a_name_that_comes_twice_is_refused(tmp_path, names):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match="twice"):
        unpacked(tmp_path / "a.tar")


def wreck_cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def wreck_bit(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
def test_a_truncated_archive_is_damaged_not_small(tmp_path, name):
    make = zipped if name.endswith("zip") else lambda p, f: tar(p, f, "w:gz" if name.endswith("gz") else "w")
    archive = make(tmp_path / name, {f"{i}.png": BODY[i * 5000 : (i + 1) * 5000] for i in range(9)})
    archive.write_bytes(wreck_cut(archive.read_bytes()))
    with pytest.raises(ValueError, match=rf"{name}: cannot be unpacked .*damaged, fetch it again"):
        unpacked(archive)


def test_a_wrong_checksum_at_the_end_of_gzip_is_noticed(tmp_path):
    archive = tar(tmp_path / "a.tar.gz", FILES)
    archive.write_bytes(wreck_bit(archive.read_bytes()))
    with pytest.raises(ValueError, match="damaged"):
        unpacked(archive)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    archive = tar(tmp_path / "a.tar", FILES, "w")
    data = bytearray(archive.read_bytes())
    data[1024 + 150] ^= 1  # in the checksum of the second header
    archive.write_bytes(data)
    with pytest.raises(ValueError, match="ends early"):
        unpacked(archive)


@pytest.mark.parametrize("content", [b"", b"<html>please sign in</html>", b"\x1f\x8b", b"PK\x03\x04 no"])
def test_what_is_no_archive_is_said_to_be_damaged(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be unpacked"):
        unpacked(tmp_path / "a.tar.gz")


# ---- a data set, from the address to its place ----


def png(seed=0, size=(20, 24)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def repository(folder: Path, **files: bytes) -> bytes:
    files = {f"SRNTT-6d200fd/data/test/CUFED5/{k}.png": v for k, v in files.items()}
    files |= {"SRNTT-6d200fd/README.md": b"read", "SRNTT-6d200fd/data/train/input/9.png": png(9)}
    return tar(folder / "repository.tar.gz", files).read_bytes()


@pytest.fixture
def home(tmp_path, monkeypatch, server):
    """An empty data folder, and GitHub played by the server, which has group 001 of CUFED5."""
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(pairs, "ROOT", tmp_path / "checkout")
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(fetching, "GITHUB", server.url)
    server.body = repository(tmp_path, **{f"001_{n}": png(n) for n in range(6)})
    return tmp_path / "home"


def fetched(name="cufed5", **options):
    return "\n".join(fetch(name, progress=False, retries=0, **options))


def test_a_mirrors_files_land_in_the_owners_layout_and_their_hash_is_noted(home, server):
    said = fetched()
    assert left(home) == [*(f"CUFED5/001_{n}.png" for n in range(6)), "fetched.json"]
    assert "yeoyi519/SRNTT at 6d200fd on GitHub, a mirror, not the owners' own" in said
    assert "1 of 126" in said and "e2ent2 data check cufed5" in said
    sha = hashlib.sha256(server.body).hexdigest()
    assert f"first fetch notes SHA-256 {sha}" in said
    record = json.loads((home / "fetched.json").read_text())["yeoyi519/SRNTT@6d200fd"]
    assert record["archive"] == sha and len(record["pixels"]) == 6
    assert [p.name for p in pairs.dataset("cufed5").pairs()[0].ref_sources] == [f"001_{n}.png" for n in range(1, 6)]


def test_fetching_again_changes_nothing_and_says_that_it_is_the_same(home):
    fetched()
    before = {p: (home / p).stat().st_mtime_ns for p in left(home) if p.endswith("png")}
    said = fetched()
    assert "the archive and its pictures are the same" in said and "6 files, 0 of them new" in said
    assert before == {p: (home / p).stat().st_mtime_ns for p in before}


def test_a_repacked_archive_with_the_same_pictures_is_accepted(home, server):
    fetched()
    server.body = gzip.compress(gzip.decompress(server.body), 1)
    assert "packed anew, but its pictures are the same" in fetched()


def test_other_pictures_than_at_the_first_fetch_are_refused(home, server, tmp_path):
    fetched()
    before = {p: (home / p).read_bytes() for p in left(home)}
    server.body = repository(tmp_path, **{f"001_{n}": png(n + (n == 3)) for n in range(6)})
    with pytest.raises(ValueError, match=r"CUFED5/001_3\.png differ"):
        fetched()
    assert {p: (home / p).read_bytes() for p in left(home)} == before


def test_nothing_of_the_users_is_overwritten_and_then_nothing_at_all_is_moved(home):
    (home / "CUFED5").mkdir()
    (home / "CUFED5" / "001_2.png").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"001_2\.png: is there already with other content; move it away"):
        fetched()
    assert left(home) == ["CUFED5/001_2.png"]
    assert (home / "CUFED5" / "001_2.png").read_bytes() == b"mine"


def test_a_link_that_leads_nowhere_counts_as_the_users(home):
    (home / "CUFED5").mkdir()
    (home / "CUFED5" / "001_2.png").symlink_to(home / "gone")
    with pytest.raises(FileExistsError, match=r"001_2\.png"):
        fetched()


def test_what_is_there_with_the_same_bytes_is_completed(home):
    (home / "CUFED5").mkdir()
    (home / "CUFED5" / "001_2.png").write_bytes(png(2))
    assert "6 files, 5 of them new" in fetched()


@pytest.mark.parametrize("break_it", [wreck_cut, wreck_bit, lambda data: b"<html>sign in</html>"])
def test_a_damaged_archive_leaves_nothing_behind(home, server, break_it):
    server.body = break_it(server.body)
    with pytest.raises(ValueError, match="damaged, fetch it again"):
        fetched()
    assert list(home.iterdir()) == []


def test_a_damaged_picture_leaves_nothing_behind(home, server, tmp_path):
    server.body = repository(tmp_path, **{"001_0": png(0), "001_1": png(1)[:200]})
    with pytest.raises(ValueError, match=r"001_1\.png"):
        fetched()
    assert list(home.iterdir()) == []


def test_a_length_that_is_too_short_is_noticed_when_unpacking(home, server):
    server.plan = ["says less"]
    with pytest.raises(ValueError, match="damaged"):
        fetched()
    assert list(home.iterdir()) == []


def test_a_repository_without_the_files_is_said_to_be_another(home, server, tmp_path):
    server.body = tar(tmp_path / "other.tar.gz", {"x-1/readme.md": b"moved"}).read_bytes()
    with pytest.raises(ValueError, match=r"yeoyi519/SRNTT at 6d200fd holds none of the files expected of cufed5"):
        fetched()


def test_an_interrupted_fetch_goes_on_where_it_stopped(home, server, tmp_path):
    server.body = repository(tmp_path, **{f"001_{n}": png(n, (200, 300)) for n in range(6)})
    server.plan = ["stall"]
    with pytest.raises(ConnectionError, match="silent"):
        fetched(timeout=0.3)
    assert not (home / "CUFED5").exists()
    fetched()
    assert server.asked[-1]["Range"].startswith("bytes=")
    assert len(left(home)) == 7


@pytest.mark.parametrize("name", ["cufed", "urban100"])
def test_where_only_the_owners_have_it_steps_are_given_and_no_address(home, server, name):
    said = fetched(name)
    assert server.asked == [] and "http" not in said
    assert "owners" in said and str(home) in said and f"e2ent2 data check {name}" in said


def test_what_comes_with_a_package_needs_no_fetching(home, server):
    assert "scikit-image" in fetched("motorcycle") and server.asked == []


def test_an_unknown_set_and_a_missing_data_folder_are_named(home, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"'cufed7'; choose one of motorcycle, .*scenes"):
        fetched("cufed7")
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="absent: no such folder; create it"):
        fetched("cufed5")


def test_a_damaged_record_is_named(home):
    (home / "fetched.json").write_text("{")
    with pytest.raises(ValueError, match=r"fetched\.json: damaged"):
        fetched()


def test_every_mirror_is_one_repository_at_one_commit():
    mirrors = [m for several in fetching.MIRRORS.values() for m in several]
    assert all(isinstance(m, Mirror) for m in mirrors)
    for mirror in mirrors:
        assert mirror.address() == f"https://github.com/{mirror.repository}/archive/{mirror.commit}.tar.gz"
    assert len({m.repository for m in mirrors}) == len(mirrors) == 9


@pytest.mark.parametrize(
    ("name", "path", "to"),
    [
        ("bsds500", "BSDS500/data/images/test/100007.jpg", "train/BSDS500/test/100007.jpg"),
        ("bsds500", "BSDS500/data/images/val/101085.jpg", None),
        ("t91", "Train/t1.bmp", "train/T91/t1.bmp"),
        ("middlebury", "files/stereo-datasets/MiddleburyV3/trainingQ/Piano/im1.png", "Middlebury/Piano_R.png"),
        ("middlebury", "files/stereo-datasets/MiddleburyV3/trainingQ/Piano/disp0.pfm", None),
        ("sunhays", "data/Sun-Hays80/image_SRF_8/img_001_SRF_8_HR.png", "SunHays80/img_001_SRF_8_HR.png"),
        ("sunhays", "data/Sun-Hays80/image_SRF_8/img_001_SRF_8_LR.png", None),
        ("flickr1024", "data/train/Flickr1024/0026_L.png", "Flickr1024/Test/0026_L.png"),
        ("flickr1024", "data/train/Flickr1024/0027_L.png", None),
    ],
)
def test_the_rules_of_a_mirror_choose_what_belongs_to_the_set(name, path, to):
    assert fetching.MIRRORS[name][0].files(path) == to
