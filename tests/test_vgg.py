"""VGG19's layers (systems/vgg.py) against torchvision's own network, and where its weights come from."""

import pytest
import torch

try:
    import torchvision
except RuntimeError as error:  # built for another torch
    pytest.skip(f"torchvision does not fit torch {torch.__version__}: {error}", allow_module_level=True)

from e2ent2lib.systems import vgg
from e2ent2lib.systems.vgg import VGG19, deepest, find_weights


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without weights and without network."""
    monkeypatch.delenv("E2ENT2_VGG_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    return tmp_path


@pytest.fixture(scope="module")
def whole():
    """Torchvision's network with random weights."""
    torch.manual_seed(0)
    return torchvision.models.vgg19(weights=None).eval()


def stored(state, path, monkeypatch, what="a test's"):
    """A weight file that counts as known."""
    torch.save(state, path)
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", str(path))
    monkeypatch.setitem(vgg.KNOWN, vgg.file_sha256(path)[:8], what)


def test_every_layer_gives_what_torchvisions_network_gives(whole, tmp_path, monkeypatch):
    stored(whole.state_dict(), tmp_path / "vgg.pth", monkeypatch)
    image = torch.rand(2, 3, 33, 41)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = torchvision.transforms.functional.normalize(image, mean.tolist(), std.tolist())
    names = vgg.LAYERS
    expected = {}
    for name, layer in zip(names, whole.features):
        x = layer(x.clone())  # its ReLU writes into its input
        expected[name] = x
    chosen = ("conv1_1", "relu1_2", "pool2", "relu3_1", "relu5_4", "pool5")
    found = VGG19(*chosen).load()(image)
    assert list(found) == list(chosen)
    for name in chosen:
        torch.testing.assert_close(found[name], expected[name])


def test_a_file_of_five_convolutions_serves_as_far_as_it_goes_and_says_so(whole, tmp_path, monkeypatch):
    names = zip(("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"), (0, 2, 5, 7, 10))
    short = {f"{n}.{k}": whole.state_dict()[f"features.{i}.{k}"] for n, i in names for k in ("weight", "bias")}
    stored(short, tmp_path / "short.pth", monkeypatch)
    loaded = VGG19("relu3_1").load()
    assert torch.equal(loaded.body["conv3_1"].weight, whole.features[10].weight) and "a test's" in loaded.source
    with pytest.raises(ValueError, match=r"holds no conv3_2; set E2ENT2_VGG_WEIGHTS"):
        VGG19("relu3_2").load()


def test_another_file_is_refused_by_its_hash(tmp_path, monkeypatch):
    torch.save({}, tmp_path / "other.pth")
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", str(tmp_path / "other.pth"))
    with pytest.raises(ValueError, match=r"other.pth: its SHA-256 begins with .* expected dcbb9e9d.* or 04beb56b"):
        VGG19("relu1_1").load()


def test_without_weights_the_error_says_where_they_are_looked_for_and_what_to_do(nowhere):
    with pytest.raises(FileNotFoundError, match=r"vgg19-dcbb9e9d.pth: no VGG19 weights here. Set E2ENT2_VGG_WEIGHTS"):
        VGG19("relu1_1").load()
    with pytest.raises(FileNotFoundError, match="no VGG19 weights"):
        find_weights()


def test_a_missing_file_in_the_cache_is_downloaded_with_its_hash_checked(nowhere, whole, monkeypatch):
    path = nowhere / "checkpoints" / "vgg19-dcbb9e9d.pth"

    def download(url, *, check_hash, weights_only, **_):
        assert url.endswith(path.name) and check_hash and weights_only
        path.parent.mkdir()
        torch.save(whole.state_dict(), path)
        monkeypatch.setitem(vgg.KNOWN, vgg.file_sha256(path)[:8], "a test's")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    assert torch.equal(VGG19("relu1_1").load().body["conv1_1"].weight, whole.features[0].weight)


def test_random_weights_are_the_same_each_time_are_named_so_and_move_no_other_random_number():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two = VGG19("relu2_1"), VGG19("relu2_1")
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())
    assert one.source.startswith("random") and not any(p.requires_grad for p in one.parameters())


def test_random_weights_stay_only_where_they_are_asked_for(monkeypatch):
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")
    assert VGG19("relu5_4").load().source.startswith("random")


def test_a_deep_layer_is_kept_at_paper_size_and_replaced_where_only_the_short_file_is(nowhere, monkeypatch):
    assert deepest("relu5_4", "paper") == "relu5_4"
    assert deepest("relu5_4", "compact") == "relu3_1" and deepest("pool2", "compact") == "pool2"
    monkeypatch.setattr(vgg, "find_weights", lambda: (None, vgg.KNOWN["dcbb9e9d"]))
    assert deepest("relu5_4", "compact") == "relu5_4"


def test_an_unknown_layer_is_refused():
    with pytest.raises(ValueError, match="no layer 'relu6_1'"):
        VGG19("relu6_1")
