"""Nothing unsafe: no file's content is run as code, and what a stranger sends is bounded."""

import ast
import io
import json
import re
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pytest
from data_files import call, huge_header
from PIL import Image

from e2ent2lib.explore import view
from e2ent2lib.photos.images import as_rgb
from e2ent2lib.photos.photograph import NEVER_OPENED
from e2ent2lib.runs.provenance import ROOT

SOURCES = sorted(p for folder in ("e2ent2lib", "benchmarks") for p in (ROOT / folder).rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pd.read_pickle"}


def code_of(path: Path) -> str:
    """The Python of a module, or of a notebook's cells without lines for the shell."""
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = (c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    return "\n".join(re.sub(r"^\s*[%!].*$", "pass", cell, flags=re.MULTILINE) for cell in cells)


@pytest.mark.parametrize("path", SOURCES + NOTEBOOKS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_code_loads_pickles_runs_text_or_lifts_pillows_limit(path):
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom) and [a.name for a in node.names] == ["UnpicklingError"]:
            continue  # an exception, which loads nothing
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not {name.split(".")[0] for name in names} & FORBIDDEN_MODULES, ast.unparse(node)
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert called not in FORBIDDEN_CALLS, ast.unparse(node)
            assert given.get("shell", "False") == given.get("allow_pickle", "False") == "False", ast.unparse(node)
            if called in ("torch.load", "torch.hub.load", "torch.hub.load_state_dict_from_url"):
                assert given.get("weights_only") == "True", ast.unparse(node)
                assert called == "torch.load" or given.get("check_hash") == "True", ast.unparse(node)
            if called.endswith(("extractall", "unpack_archive")):
                pytest.fail(f"archives go through data/fetch.py: {ast.unparse(node)}")
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assert not any("MAX_IMAGE_PIXELS" in ast.unparse(t) for t in targets), ast.unparse(node)


def test_the_scan_above_would_see_them(tmp_path):
    code = "import pickle|from joblib import load|eval('1')|run('ls', shell=True)|torch.load('x')|"
    for line in f"{code}np.load('x', allow_pickle=True)|Image.MAX_IMAGE_PIXELS = None".split("|"):
        (tmp_path / "a.py").write_text(line)
        with pytest.raises(AssertionError):
            test_no_code_loads_pickles_runs_text_or_lifts_pillows_limit(tmp_path / "a.py")


@pytest.mark.parametrize("name", ["a.eps", "a.png"])
def test_a_program_for_a_printer_is_not_run_whatever_its_name(tmp_path, monkeypatch, name):
    """Pillow would give it to Ghostscript."""
    program = f"({tmp_path / 'it was run'}) (w) file closefile\nshowpage\n"
    (tmp_path / name).write_text(f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n{program}", encoding="latin-1")
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: pytest.fail("Ghostscript was called"))
    with pytest.raises(ValueError, match=name):
        as_rgb(tmp_path / name)
    with pytest.raises(ValueError, match="not an image"):
        as_rgb(io.BytesIO((tmp_path / name).read_bytes()), name)
    assert not (tmp_path / "it was run").exists() and "EPS" in NEVER_OPENED


def test_a_header_of_a_huge_picture_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, capsys):
    (tmp_path / "bomb.png").write_bytes(huge_header(60_000, 60_000))
    with pytest.raises(ValueError, match="more than 178 megapixels"):
        as_rgb(io.BytesIO(huge_header(60_000, 60_000)), "bomb.png")
    assert call(monkeypatch, "upscale", tmp_path / "bomb.png", "-o", tmp_path / "out.png", "--model", "bicubic") == 2
    assert "bomb.png: more than 178 megapixels" in capsys.readouterr().err and not (tmp_path / "out.png").exists()


def send(control, *parts, last=True):
    for number, part in enumerate(parts):
        message = {"name": "a.png", "part": number, "last": last and number == len(parts) - 1}
        control._handle_custom_msg(message, [part])


def test_an_upload_is_bounded_by_the_kernel_whatever_the_page_sends(monkeypatch):
    monkeypatch.setattr(view, "LARGEST", 1000)
    control, heard = view.File(), []
    control.on_file(lambda name, content: heard.append(content))
    control.largest = 10**9  # as a page could
    send(control, bytes(600), bytes(600), bytes(600), bytes(10))
    assert heard == [] and "larger than" in control.said
    send(control, bytes(600), bytes(400))
    assert [len(content) for content in heard] == [1000]
    control._handle_custom_msg({"name": "a.png", "part": 3, "last": True}, [b"a part without a beginning"])
    assert len(heard) == 1


def test_the_pages_and_jupyterlab_are_told_to_bind_to_the_loopback():
    told = json.loads((ROOT / "notebooks/voila.json").read_text(encoding="utf-8"))["Voila"]
    assert told == {"ip": "127.0.0.1", "tornado_settings": {"allow_remote_access": False}}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"ip=(\S+)", makefile)) == {"127.0.0.1"} and "jupyter lab --ip=127.0.0.1" in makefile
    assert "0.0.0.0" not in makefile


@pytest.mark.parametrize(
    "name", ["$(touch trap).png", "a;touch trap;.png", "`touch trap`.png", "{trap}.png", "%s%n.png"]
)
def test_a_file_name_is_a_name_and_no_command(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    assert call(monkeypatch, "upscale", name, "-o", "out.png", "--model", "bicubic") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "out.png"])
    assert as_rgb(tmp_path / "out.png").shape == (16, 16, 3)
