"""Trained models as files (checkpoints.py)."""

import json
import os
import pickle
import stat
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny import MODELS

from e2ent2lib.config import COMPACT, SMOKE
from e2ent2lib.models import E2ENT2
from e2ent2lib.runs.checkpoints import available_models, build_model, load_model, save_model
from e2ent2lib.runs.files import file_sha256
from e2ent2lib.systems import SYSTEMS

CARD = {"model": "made up for a test"}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of shipped checkpoints with an untrained "sisr" of the smoke profile in it."""
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("E2ENT2_PROFILE", raising=False)
    save_model(build_model("sisr", SMOKE), CARD, tmp_path / "smoke", "sisr")
    return tmp_path / "smoke"


def put_card(weights, **changes):
    card = json.loads((weights / "sisr.json").read_text())
    (weights / "sisr.json").write_text(json.dumps(card | changes))


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_loads_with_the_same_weights_and_card(weights, name):
    model = build_model(name, SMOKE)
    assert model.card is None  # it is untrained
    path = save_model(model, CARD, weights, name)
    loaded = load_model(name, "smoke")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())
    assert loaded.card == CARD | {"sha256": file_sha256(path)}


def test_a_loaded_model_is_ready_for_inference_whatever_the_layout_it_was_saved_from(weights):
    model = build_model("sisr", SMOKE).to(memory_format=torch.channels_last)
    save_model(model, CARD, weights, "sisr")
    loaded = load_model("sisr", "smoke")
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert all(p.is_contiguous() for p in loaded.parameters())
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())


def test_the_profile_of_the_variable_is_the_default(weights, monkeypatch):
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    assert load_model("sisr").profile.name == "smoke"
    assert available_models() == ["bicubic", "sisr", "landmark"]


def test_saving_leaves_two_files_that_others_may_read(weights):
    assert sorted(os.listdir(weights)) == ["sisr.json", "sisr.safetensors"]
    if os.name == "posix":
        assert {stat.S_IMODE(p.stat().st_mode) for p in weights.iterdir()} == {0o644}


def test_the_networks_carry_the_alphas_of_their_names():
    models = {name: build_model(name, SMOKE) for name in SYSTEMS if SYSTEMS[name].network_class() is E2ENT2}
    trained = {"e2ent2-alpha-100": (1, 0, 0), "e2ent2-alpha-010": (0, 1, 0), "e2ent2-alpha-001": (0, 0, 1)}
    assert {name: m.alphas for name, m in models.items()} == dict.fromkeys(models, (0.25, 0.25, 0.5)) | trained
    assert {name for name, m in models.items() if m.error_down == "sum"} == {"e2ent2-error-sum"}
    assert {name for name, m in models.items() if not m.synthesis.residual} == {"e2ent2-noresidual"}


# ---- missing ----


@pytest.mark.parametrize(
    ("name", "profile", "error", "says"),
    [
        ("e2ent2", "smoke", FileNotFoundError, r"e2ent2 train e2ent2 --profile smoke.*bicubic, sisr, landmark$"),
        ("e2ent3", "smoke", ValueError, r"'e2ent3'.*bicubic.*sisr, sisr-gan, landmark.*e2ent2-mse, e2ent2"),
        ("sisr", "huge", ValueError, r"'huge'.*smoke, compact, paper"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(weights, name, profile, error, says):
    with pytest.raises(error, match=says):
        load_model(name, profile)


@pytest.mark.parametrize("missing", ["sisr.safetensors", "sisr.json"])
@pytest.mark.parametrize("own", [True, False], ids=["a folder of one's own", "shipped"])
def test_a_missing_file_is_named_with_the_command_that_trains_the_model(weights, missing, own):
    (weights / missing).unlink()
    with pytest.raises(FileNotFoundError, match=r"e2ent2 train sisr --profile smoke") as error:
        load_model("sisr", "smoke", weights if own else None)
    assert str(weights / missing) in str(error.value)


@pytest.mark.parametrize("name", ["bicubic", "landmark"])
def test_a_system_without_weights_needs_no_files(tmp_path, name):
    assert load_model(name, "smoke", tmp_path).card == {"model": name, "sha256": None}


def test_available_models_are_those_without_weights_and_those_with_a_file(weights):
    assert available_models("smoke") == ["bicubic", "sisr", "landmark"]
    save_model(build_model("e2ent2", SMOKE), CARD, weights, "e2ent2")
    assert available_models("smoke") == ["bicubic", "sisr", "landmark", "e2ent2"]
    assert available_models("compact") == ["bicubic", "landmark"]
    with pytest.raises(ValueError, match="huge"):
        available_models("huge")


# ---- damaged ----


def test_a_flipped_byte_of_the_weights_is_noticed(weights):
    path = weights / "sisr.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sisr\.safetensors.*SHA-256"):
        load_model("sisr", "smoke")


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff" * 8 + b[8:], lambda b: b[:8] + b"x" + b[9:]],
    ids=["cut", "empty", "header length", "header"],
)
def test_a_damaged_file_is_named(weights, damage):
    path = weights / "sisr.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"sisr\.safetensors"):
        load_model("sisr", "smoke")


@pytest.mark.parametrize("card", ["", "{", "[]", "null", "{}", '{"model": "sisr"}', b"\xff\xfe"])
def test_a_damaged_card_is_named(weights, card):
    (weights / "sisr.json").write_bytes(card.encode() if isinstance(card, str) else card)
    with pytest.raises(ValueError, match=r"sisr\.(json|safetensors)"):
        load_model("sisr", "smoke")


@pytest.mark.parametrize(
    ("name", "profile"),
    [("sisr", COMPACT), ("sisr", replace(SMOKE, encoder_blocks=3)), ("e2ent2", SMOKE)],
    ids=["another profile", "deeper", "another network"],
)
def test_weights_of_another_network_are_refused_by_name(weights, name, profile):
    state = build_model(name, profile).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, weights / "sisr.safetensors")
    with pytest.raises(ValueError, match=r"sisr\.safetensors: not the weights of 'sisr' at profile 'smoke'"):
        load_model("sisr", "smoke")


class Marker:
    """Its pickle writes a file when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_under_the_name_of_a_checkpoint_is_refused_and_not_run(weights, tmp_path, kind):
    path, trap = weights / "sisr.safetensors", tmp_path / "it was run"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Marker(trap)))
    else:
        torch.save(Marker(trap), path)
    put_card(weights, sha256=file_sha256(path))
    with pytest.raises(ValueError, match=r"sisr\.safetensors"):
        load_model("sisr", "smoke")
    assert not trap.exists()
