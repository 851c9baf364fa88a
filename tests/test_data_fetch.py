"""Fetching and unpacking, against servers and archives that are not what they should be (data/fetch.py)."""

import hashlib
import json
import shutil
import stat
import warnings
import zipfile
from pathlib import Path

import pytest
from data_files import encoded, left, noise
from PIL import Image
from server import BODY

from e2ent2lib.data import fetch as fetching
from e2ent2lib.data import pairs
from e2ent2lib.data.fetch import Refused, download, fetch, unpack
from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS


def get(server, folder, sha256=None, retries=0, timeout=5.0):
    return download(f"{server.url}/a.tar.gz", folder / "a.tar.gz", sha256, False, timeout, retries)


# ---- the download ----


@pytest.mark.parametrize("trick", ["", "no length", "to /elsewhere"])
def test_a_file_comes_whole_and_nothing_else_is_left(server, tmp_path, trick):
    server.plan = [trick]
    assert get(server, tmp_path).read_bytes() == BODY
    assert left(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("trick", ["truncate", "says more", "503", "429", "corrupt"])
def test_a_download_that_breaks_off_or_is_corrupt_is_tried_again(server, tmp_path, trick):
    server.plan = [trick]
    assert get(server, tmp_path, hashlib.sha256(BODY).hexdigest(), retries=1).read_bytes() == BODY
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("trick", "error", "says"),
    [
        ("truncate", ConnectionError, "/a.tar.gz: the download failed"),
        ("says more", ConnectionError, "/a.tar.gz: the download failed"),
        ("says huge", ConnectionError, "/a.tar.gz: the download failed"),
        ("stall", ConnectionError, "silent for 0.3 seconds"),
        ("corrupt", ValueError, "hash"),
    ],
)
def test_a_download_that_fails_says_what_happened_and_leaves_nothing(server, tmp_path, trick, error, says):
    server.plan = [trick]
    with pytest.raises(error, match=says):
        get(server, tmp_path, hashlib.sha256(BODY).hexdigest(), timeout=0.3)
    assert left(tmp_path) == []


def test_a_server_that_never_ends_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "LARGEST", 100_000)
    server.plan = ["no length"]
    with pytest.raises(Refused, match="100,000 bytes"):
        get(server, tmp_path, retries=3)
    assert left(tmp_path) == [] and len(server.asked) == 1


@pytest.mark.parametrize("plan", [["to file:///etc/hostname"], ["to /again"] * 40, ["404"], ["403"]])
def test_what_asking_again_would_not_change_is_not_asked_for_again(server, tmp_path, plan):
    server.plan = list(plan)
    with pytest.raises(Refused, match=r"/a\.tar\.gz"):
        get(server, tmp_path, retries=3)
    assert left(tmp_path) == [] and len(server.asked) <= 31


# ---- unpacking ----


def packed(path: Path, files: dict[str, bytes], method=zipfile.ZIP_DEFLATED, kind=stat.S_IFREG) -> Path:
    """A zip archive; the last of its files is of that kind."""
    with (
        warnings.catch_warnings(action="ignore"),
        zipfile.ZipFile(path, "w", method) as file,
    ):  # a name that comes twice
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = method, (kind if name == list(files)[-1] else 0) << 16
            file.writestr(info, content)
    return path


def unpacked(archive: Path, choose=lambda path: path) -> list[str]:
    return unpack(archive, archive.parent / "in", choose)


METHODS = pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
FILES = {"top/a.png": b"one", "top/sub/b.png": b"two", "top/notes.txt": b"three"}


@METHODS
def test_the_chosen_files_land_where_the_rules_say(tmp_path, method):
    rules = {r"(?:sub/)?(\w)\.png": r"Set/\1.png"}
    mirror = pairs.Mirror(repository="a/b", commit="c", files=rules)
    assert unpacked(packed(tmp_path / "a.zip", FILES, method), mirror.place) == ["Set/a.png", "Set/b.png"]
    assert left(tmp_path / "in") == ["Set/a.png", "Set/b.png"]
    assert (tmp_path / "in/Set/b.png").read_bytes() == b"two"


@pytest.mark.parametrize("name", ["top/../out.png", "top/a/../../out.png", "top/../../out.png", "//out.png"])
def test_a_path_that_leads_out_of_the_folder_refuses_the_archive(tmp_path, name):
    with pytest.raises(ValueError, match=r"a: .* leads out of the folder; nothing kept"):
        unpacked(packed(tmp_path / "a", {"top/good.png": b"1", name: b"2"}))
    assert left(tmp_path) == ["a", "in/good.png"]


@pytest.mark.parametrize("name", ["/top/out.png", "top//out.png", "top/..\\out.png", "top/C:out.png"])
def test_an_absolute_path_and_one_of_another_system_stay_in_the_folder(tmp_path, name):
    try:
        (path,) = unpacked(packed(tmp_path / "a", {name: b"2"}))
        assert left(tmp_path) == ["a", f"in/{path}"]
    except ValueError:
        assert left(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(ValueError, match=r"top/x\.png is a link or a device"):
        unpacked(packed(tmp_path / "a", {"top/good.png": b"1", "top/x.png": b"/etc/hostname"}, kind=kind))
    assert left(tmp_path) == ["a", "in/good.png"]


def test_a_bomb_is_stopped_by_its_ratio(tmp_path):
    archive = packed(tmp_path / "bomb.zip", {"top/ones.png": b"1", "top/zeros.png": bytes(30 * 2**20)})
    with pytest.raises(ValueError, match=r"bomb\.zip: unpacks to over"):
        unpacked(archive)
    assert left(tmp_path) == ["bomb.zip"]


def test_a_bomb_that_says_it_is_small_is_not_unpacked_beyond_what_it_says(tmp_path):
    archive = packed(tmp_path / "bomb.zip", {"top/zeros.png": bytes(30 * 2**20)})
    archive.write_bytes(archive.read_bytes().replace((30 * 2**20).to_bytes(4, "little"), (999).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="damaged"):
        unpacked(archive)
    assert (tmp_path / "in/zeros.png").stat().st_size <= 999


@METHODS
@pytest.mark.parametrize(("limit", "value"), [("TOTAL", 9_999), ("FILES", 19)])
def test_size_and_number_of_files_are_bounded(tmp_path, monkeypatch, method, limit, value):
    monkeypatch.setattr(fetching, limit, value)
    archive = packed(tmp_path / "a.zip", {f"top/{i}.png": BODY[:1000] for i in range(20)}, method)
    with pytest.raises(ValueError, match=r"a\.zip: .*nothing kept"):
        unpacked(archive)


@pytest.mark.parametrize("name", ["top/A.PNG", "top/./a.png", "other/a.png"])
def test_a_name_that_comes_twice_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="twice"):
        unpacked(packed(tmp_path / "a.zip", {"top/a.png": b"1", name: b"2"}))


DAMAGES = [b"", b"<html>please sign in</html>", b"\x1f\x8b", b"PK\x03\x04 no"]


@METHODS
@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], *(lambda d, new=new: new for new in DAMAGES)])
def test_a_damaged_archive_is_said_to_be_damaged(tmp_path, method, damage):
    archive = packed(tmp_path / "a.zip", {f"top/{i}.png": BODY[i * 5000 : (i + 1) * 5000] for i in range(9)}, method)
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.zip: .*damaged, fetch it again"):
        unpacked(archive)


@METHODS
def test_a_flipped_bit_anywhere_ends_in_one_error_or_changes_nothing(tmp_path, method):
    contents = {BODY[i * 40 : (i + 1) * 40] for i in range(3)}
    whole = packed(tmp_path / "a.zip", {f"top/{i}": content for i, content in enumerate(contents)}, method).read_bytes()
    for at in range(len(whole)):
        (tmp_path / "a.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            unpacked(tmp_path / "a.zip")
        except (ValueError, OSError):
            pass
        else:
            assert {p.read_bytes() for p in (tmp_path / "in").rglob("*") if p.is_file()} <= contents
        shutil.rmtree(tmp_path / "in", ignore_errors=True)


# ---- a data set, from the address to its place ----


def png(seed=0, size=(20, 24)) -> bytes:
    return encoded(Image.fromarray(noise(*size, seed)), "PNG")


def repository(folder: Path, method=zipfile.ZIP_DEFLATED, **files: bytes) -> bytes:
    files = {f"SRNTT-6d200fd/data/test/CUFED5/{k}.png": v for k, v in files.items()}
    files |= {"SRNTT-6d200fd/README.md": b"read", "SRNTT-6d200fd/data/train/input/9.png": png(9)}
    return packed(folder / "repository.zip", files, method).read_bytes()


@pytest.fixture
def home(tmp_path, monkeypatch, server):
    """An empty data folder, and GitHub played by the server, which has group 001 of CUFED5."""
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(pairs, "ROOT", tmp_path / "checkout")
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(fetching, "GITHUB", server.url)
    server.body = repository(tmp_path, **{f"001_{n}": png(n) for n in range(6)})
    return tmp_path / "home"


def fetched(name="cufed5"):
    return "\n".join(fetch(name, progress=False, retries=0))


def test_a_mirrors_files_land_in_the_owners_layout_and_their_hash_is_noted(home, server):
    said = fetched()
    assert server.asked == ["/yeoyi519/SRNTT/archive/6d200fd.zip"]
    assert left(home) == [*(f"CUFED5/001_{n}.png" for n in range(6)), "fetched.json"]
    sha = hashlib.sha256(server.body).hexdigest()
    for part in ("yeoyi519/SRNTT at 6d200fd", "not the owners' own", "1 of 126", "e2ent2 data check cufed5", sha):
        assert part in said
    record = json.loads((home / "fetched.json").read_text())["yeoyi519/SRNTT@6d200fd"]
    assert record["archive"] == sha and len(record["pixels"]) == 6
    assert [p.name for p in pairs.dataset("cufed5").pairs()[0].ref_sources] == [f"001_{n}.png" for n in range(1, 6)]


@pytest.mark.parametrize("repacked", [False, True])
def test_fetching_again_changes_nothing_and_says_that_it_is_the_same(home, server, repacked):
    fetched()
    before = {p: (home / p).stat().st_mtime_ns for p in left(home) if p.endswith("png")}
    if repacked:
        server.body = repository(home.parent, zipfile.ZIP_STORED, **{f"001_{n}": png(n) for n in range(6)})
    said = fetched()
    assert ("packed again" in said) == repacked and "pictures are the same" in said and "6 files, 0 of them new" in said
    assert before == {p: (home / p).stat().st_mtime_ns for p in before}


def test_other_pictures_than_at_the_first_fetch_are_refused(home, server, tmp_path):
    fetched()
    before = {p: (home / p).read_bytes() for p in left(home)}
    server.body = repository(tmp_path, **{f"001_{n}": png(n + (n == 3)) for n in range(6)})
    with pytest.raises(ValueError, match=r"CUFED5/001_3\.png differ"):
        fetched()
    assert {p: (home / p).read_bytes() for p in left(home)} == before


@pytest.mark.parametrize("link", [False, True])
def test_nothing_of_the_users_is_overwritten_and_then_nothing_at_all_is_moved(home, link):
    (home / "CUFED5").mkdir()
    mine = home / "CUFED5" / "001_2.png"
    if link:
        mine.symlink_to(home / "gone")
    else:
        mine.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"001_2\.png"):
        fetched()
    assert [p.name for p in (home / "CUFED5").iterdir()] == ["001_2.png"] and len(list(home.iterdir())) == 1
    assert mine.is_symlink() if link else mine.read_bytes() == b"mine"


def test_what_is_there_with_the_same_bytes_is_completed(home):
    (home / "CUFED5").mkdir()
    (home / "CUFED5" / "001_2.png").write_bytes(png(2))
    assert "6 files, 5 of them new" in fetched()


@pytest.mark.parametrize(
    ("trick", "body", "named"),
    [
        ("says less", None, "SRNTT"),
        ("corrupt", None, "SRNTT"),
        ("", {"x-1/readme.md": b"moved"}, "yeoyi519/SRNTT at 6d200fd"),
        ("", {"x-1/data/CUFED5/001_1.png": png(1)[:200]}, r"001_1\.png"),
    ],
)
def test_what_is_not_whole_leaves_nothing_behind_and_is_named(home, server, tmp_path, trick, body, named):
    server.plan, server.body = [trick], packed(tmp_path / "other", body).read_bytes() if body else server.body
    with pytest.raises(ValueError, match=named):
        fetched()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("name", ["cufed", "urban100", "motorcycle"])
def test_where_no_mirror_has_it_steps_are_given_and_no_address(home, server, name):
    said = fetched(name)
    assert server.asked == [] and "http" not in said
    parts = ("scikit-image",) if name == "motorcycle" else ("owners", str(home), f"e2ent2 data check {name}")
    assert all(part in said for part in parts)


def test_an_unknown_set_a_damaged_record_and_a_missing_data_folder_are_named(home, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"'cufed7'; choose one of motorcycle, .*scenes"):
        fetched("cufed7")
    (home / "fetched.json").write_text("{")
    with pytest.raises(ValueError, match=r"fetched\.json: damaged"):
        fetched()
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="absent"):
        fetched("cufed5")


@pytest.mark.parametrize(
    ("name", "path", "to"),
    [
        ("bsds500", "BSDS500/data/images/test/100007.jpg", "train/BSDS500/test/100007.jpg"),
        ("t91", "Train/t1.bmp", "train/T91/t1.bmp"),
        ("middlebury", "files/stereo-datasets/MiddleburyV3/trainingQ/Piano/im1.png", "Middlebury/Piano_R.png"),
        ("middlebury", "files/stereo-datasets/MiddleburyV3/trainingQ/Piano/disp0.pfm", None),
        ("sunhays", "data/Sun-Hays80/image_SRF_8/img_001_SRF_8_HR.png", "SunHays80/img_001_SRF_8_HR.png"),
        ("sunhays", "data/Sun-Hays80/image_SRF_8/img_001_SRF_8_LR.png", None),
        ("kitti2012", "data/test/KITTI2012/original/colored/000019_10R.png", "KITTI2012/000019_10R.png"),
        ("kitti2012", "data/test/KITTI2012/original/colored/000020_10R.png", None),
    ],
)
def test_the_rules_of_a_mirror_choose_what_belongs_to_the_set(name, path, to):
    assert (DATASETS | TRAINING_SETS)[name].mirrors[0].place(path) == to
