"""The trainer (4.1): its steps against plain autograd, its schedule, its recipes, where it runs."""

import copy
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import MODELS, RECIPES
from tiny_run import TINY, differ, run, texture, visible_files, weights

import e2ent2lib.train
from e2ent2lib.config import PAPER, PROFILES
from e2ent2lib.crops import Crops
from e2ent2lib.data.training import CropTwice
from e2ent2lib.losses import critic_loss, generator_loss, reconstruction_loss
from e2ent2lib.measure.evaluate import evaluate
from e2ent2lib.models.network import trained_images
from e2ent2lib.runs import run as running
from e2ent2lib.runs.checkpoints import build_model, load_model, save_model
from e2ent2lib.runs.run import make_fabric, players_for
from e2ent2lib.systems.parts import gradient_penalty
from e2ent2lib.train import inputs_of, learning_rate, training_step

GRADIENT = 1e-4
"""Of a gradient's length: the same in float32, summed in another order."""
MIXED = {"rtol": 0.05, "atol": 0.01}
"""bfloat16 convolutions against float32 ones."""


pytestmark = pytest.mark.usefixtures("small_probe")


@pytest.fixture(scope="session")
def first_stages(first_stage):
    """The folder of ``first_stage`` with the other models that a recipe starts from."""
    for name in {r.start_from for r in RECIPES.values()} - {None, "sisr-pretrained"}:
        save_model(build_model(name, TINY), {"model": name}, first_stage, name)
    return first_stage


@pytest.fixture(autouse=True)
def random_vgg(monkeypatch):
    """VGG19's weights are not needed for what is tested here."""
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")


def a_batch():
    crops = CropTwice([texture(0), texture(1)], TINY, length=2)
    return Crops(*(torch.stack(x) for x in zip(*(crops[i] for i in range(2)))))


def some_players(name, profile=TINY):
    """Fabric and players, and a copy of the model as it was."""
    torch.manual_seed(0)
    fabric = make_fabric(profile, "cpu", 1)
    players = players_for(fabric, build_model(name, profile), RECIPES[name], profile)
    for critic in players.critics:  # untrained ones score all images alike, which leaves rounding as their gradient
        for weight in critic.net.parameters():
            weight.data *= 4 if weight.ndim == 4 else 1
    return fabric, players, copy.deepcopy(players.model)


def assert_gradient(player, loss, network):
    """The step left the gradient of this loss of this earlier copy of the network in the player's parameters."""
    found = torch.cat([p.grad.flatten() for p in player.net.module.parameters()])
    right = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])
    assert right.norm() > 0
    assert (found - right).norm() < GRADIENT * right.norm()


# one step


@pytest.mark.parametrize("name", ["e2ent2", "e2ent2-mse", "sisr-gan"])
def test_the_generators_gradient_is_that_of_the_weighted_losses(name):
    profile, batch = replace(TINY, weight_adv=0.5, weight_sisr=0.3, weight_rec=0.7), a_batch()
    fabric, players, model = some_players(name, profile)
    losses = training_step(fabric, players, batch)
    critics = [player.net.module for player in players.critics]  # as they are after their own step
    assert len(critics) == {"e2ent2": 2, "e2ent2-mse": 0, "sisr-gan": 1}[name]

    images = trained_images(model(*inputs_of(batch)), model.branches)
    expected, total = {}, 0
    for i, (branch, image) in enumerate(images.items()):
        weight = 0.3 if branch == "sisr" and len(images) == 2 else 1
        expected[f"rec_{branch}"] = rec = reconstruction_loss(image, batch.hr, RECIPES[name].rec)
        total = total + weight * 0.7 * rec
        if critics:
            expected[f"adv_{branch}"] = adv = generator_loss(critics[i](batch.hr), critics[i](image))
            total = total + weight * 0.5 * adv
    for key, value in expected.items():
        torch.testing.assert_close(losses[key], value.detach())
    assert_gradient(players.generator, total, model)


def test_each_critic_learns_from_its_branch_alone_and_the_generators_step_leaves_it_be():
    fabric, players, model = some_players("e2ent2", replace(TINY, weight_adv=0.5))
    before, batch = [copy.deepcopy(player.net.module) for player in players.critics], a_batch()
    losses = training_step(fabric, players, batch)
    images = trained_images(model(*inputs_of(batch)), model.branches)
    for (branch, image), critic, player in zip(images.items(), before, players.critics):
        loss = critic_loss(critic(batch.hr), critic(image.detach()))
        torch.testing.assert_close(losses[f"critic_{branch}"], loss.detach())
        assert_gradient(player, loss, critic)
        assert all(p.requires_grad for p in player.net.parameters())
        assert differ(weights(critic), weights(player.net.module))


def test_a_critic_with_a_penalty_learns_from_it_too():
    fabric, players, model = some_players("srntt")
    critic, batch = copy.deepcopy(players.critics[0].net.module), a_batch()
    losses = training_step(fabric, players, batch)
    with torch.no_grad():
        fake = model(*inputs_of(batch)).sr
    loss = critic(fake).mean() - critic(batch.hr).mean() + gradient_penalty(critic, batch.hr, fake, seed=0)
    torch.testing.assert_close(losses["critic_ref"], loss.detach())
    assert_gradient(players.critics[0], loss, critic)


def test_a_step_in_mixed_precision_is_finite_and_near_the_exact_one():
    losses, batch = [], a_batch()
    for precision in ("32-true", "bf16-mixed"):
        fabric, players, _ = some_players("e2ent2", replace(TINY, precision=precision))
        losses.append(training_step(fabric, players, batch))
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in players.generator.net.parameters())
    for key, exact in losses[0].items():
        torch.testing.assert_close(losses[1][key], exact, **MIXED)


# recipes


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_trains_and_leaves_a_model_with_its_card(name, photographs, first_stages, tmp_path):
    recipe = RECIPES[name]
    model, history = run(name, tmp_path, photographs, start_from=first_stages)
    steps = getattr(TINY, recipe.steps)
    written = {f"{saved}.{end}" for saved in {name, recipe.keeps or name} for end in ("json", "safetensors")}
    assert set(visible_files(tmp_path)) == written | {"state.pt"}
    assert [row["step"] for row in history] == list(range(0 if recipe.ablation else 2, steps + 1, 2))
    trained = build_model(name, TINY).branches
    terms = recipe.make_loss(TINY, trained).weights
    kinds = ["adv", "critic"] if recipe.adversarial else []
    expected = {f"{kind}_{b}" for kind in kinds for b in trained} | {f"val_{b}" for b in trained} | {"step"}
    probed = {k for k in history[-1] if k.startswith(("grad_", "cos_")) or k in ("self_match", "disparity")}
    assert bool(probed) == recipe.ablation
    assert expected <= set(history[-1]) - probed <= expected | set(terms)
    assert all(math.isfinite(v) for row in history for v in row.values())

    loaded = load_model(name, "smoke", tmp_path)
    assert not differ(weights(loaded), weights(model))
    card = loaded.card
    assert card["steps"] == steps and card["recipe"]["start_from"] == recipe.start_from and card["data"]["images"] == 3
    assert card["recipe"]["weights"] == terms
    if recipe.start_from:
        first = load_model(recipe.start_from, "smoke", first_stages)
        assert card["started_from"] == {"model": recipe.start_from, "sha256": first.card["sha256"]}
        moved = any(p.requires_grad for p in build_model(name, TINY).single_image.parameters())
        assert differ(weights(first), weights(model.single_image)) == moved


def test_a_training_goes_on_from_its_own_weights_if_they_alone_are_in_the_folder(photographs, first_stages, tmp_path):
    first, _ = run("e2ent2-mse", tmp_path / "first", photographs, start_from=first_stages)
    profile = replace(TINY, lr=1e-12)
    second, _ = run("e2ent2-mse", tmp_path / "second", photographs, profile, start_from=tmp_path / "first")
    before = load_model("e2ent2-mse", "smoke", tmp_path / "first").card
    assert second.card["started_from"].items() <= before.items()
    for name, weight in weights(second).items():
        torch.testing.assert_close(weight, weights(first)[name], atol=1e-6, rtol=0)


def test_the_recipes_are_the_rows_of_the_tables_and_choose_their_crops():
    assert {*RECIPES, "sisr-pretrained"} == set(MODELS)
    assert {name: r.keeps for name, r in RECIPES.items() if r.keeps} == {"sisr": "sisr-pretrained"}
    ours = {n: r for n, r in RECIPES.items() if r.start_synthesis}
    assert {r.start_from for r in (*ours.values(), RECIPES["sisr-gan"])} == {"sisr-pretrained"}
    ablations = [n for n, r in ours.items() if r.ablation and n != "e2ent2-plain-gan"]
    kinds = {(r.steps, r.rec, r.adversarial) for r in map(RECIPES.get, ablations)}
    assert len(ablations) == 7 and kinds == {("steps_ablation", "l1", "ragan")}
    assert RECIPES["srntt"].profile(PAPER) == PAPER
    assert RECIPES["e2ent2-mse-related"].profile(TINY) == replace(TINY, unrelated=0.0, aligned=0.0) != TINY
    for name in ("stereosr", "passrnet"):  # a rectified pair
        profile = RECIPES[name].profile(PAPER)
        assert (profile.stereo, profile.max_offset, profile.unrelated) == (True, 64, 0)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_models_that_are_compared_have_had_as_many_steps(profile):
    assert profile.steps_sisr == profile.steps_pretraining + profile.steps_joint
    assert profile.steps_gan == profile.steps_joint  # Ours-SISR and E2ENT² both start from sisr-pretrained
    assert profile.steps_single == 2 * profile.steps_srgan


def test_a_card_says_which_vgg_was_used_and_what_was_trained_with_a_random_one_cannot_be_measured(
    monkeypatch, photographs, first_stages, tmp_path
):
    model, _ = run("srntt", tmp_path / "smoke", photographs, start_from=first_stages)
    assert model.card["vgg"]["weights"].startswith("random") and "Simonyan" in model.card["vgg"]["licence"]
    assert model.card["vgg"]["stored"] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"]
    assert model.card["vgg"]["layers_of_the_loss"] == ["relu1_1", "relu2_1", "relu3_1"]
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match="srntt"):
        evaluate("srntt", "motorcycle", profile="smoke", progress=False)
    assert load_model("sisr", "smoke", first_stages).card["vgg"] is None


@pytest.mark.parametrize(
    ("name", "error", "named"),
    [
        ("e3", ValueError, "'e3'"),
        ("sisr-pretrained", ValueError, "train that"),  # it is saved on the way to sisr
        ("e2ent2", FileNotFoundError, "e2ent2 train sisr --profile smoke"),  # its first stage is missing
        ("enhancenet", FileNotFoundError, "nowhere.pth.*E2ENT2_VGG_WEIGHTS"),
    ],
)
def test_what_cannot_start_says_why_before_anything_is_written(name, error, named, monkeypatch, photographs, tmp_path):
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", str(tmp_path / "nowhere.pth"))
    with pytest.raises(error, match=named):
        run(name, tmp_path / "run", photographs, start_from=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_probing_an_ablation_changes_nothing(monkeypatch, photographs, first_stage, tmp_path):
    profile = replace(TINY, steps_ablation=4)
    probed, history = run("e2ent2-ablation", tmp_path / "a", photographs, profile, start_from=first_stage)
    assert [row["step"] for row in history] == [0, 2, 4]
    assert history[0]["val_ref"] == pytest.approx(history[0]["val_sisr"], abs=0.01)  # ζ starts as the SISR branch
    assert history[0]["grad_ref"] == 0 < history[-1]["grad_ref"]  # which takes nothing of F yet
    monkeypatch.setattr(running, "probe", lambda *_: {})
    blind, _ = run("e2ent2-ablation", tmp_path / "b", photographs, profile, start_from=first_stage)
    assert not differ(weights(probed), weights(blind))


def test_the_second_stage_starts_from_the_first(photographs, first_stage, tmp_path):
    model, _ = run("e2ent2", tmp_path, photographs, replace(TINY, lr=0.0), start_from=first_stage)
    assert not differ(weights(load_model("sisr-pretrained", "smoke", first_stage)), weights(model.sisr))


def test_the_second_stage_finds_the_first_in_runs(monkeypatch, photographs, tmp_path):
    monkeypatch.chdir(tmp_path)
    run("sisr", None, photographs)
    assert (tmp_path / "runs/sisr-smoke/sisr.safetensors").is_file()
    model, _ = run("sisr-gan", None, photographs)
    card = json.loads((tmp_path / "runs/sisr-smoke/sisr-pretrained.json").read_text(encoding="utf-8"))
    assert model.card["started_from"]["sha256"] == card["sha256"]


# the schedule, and which weights are chosen


def test_the_learning_rate_is_constant_at_paper_size_and_half_a_cosine_at_compact():
    assert {learning_rate(PAPER, step, 100) for step in range(100)} == {1e-4}
    profile = replace(PAPER, schedule="cosine", lr=4e-4)
    rates = [learning_rate(profile, step, 100) for step in range(101)]
    assert [rates[0], rates[50], rates[100]] == pytest.approx([4e-4, 2e-4, 0], abs=1e-12)
    assert rates[25] == pytest.approx(4e-4 * (0.5 + 0.5 * math.sqrt(0.5)))
    assert rates == sorted(rates, reverse=True)


def test_the_schedule_reaches_every_optimizer(monkeypatch, photographs, first_stage, tmp_path):
    seen, original = [], training_step

    def watched(fabric, players, *rest):
        seen.append([g["lr"] for p in (players.generator, *players.critics) for g in p.adam.param_groups])
        return original(fabric, players, *rest)

    monkeypatch.setattr(e2ent2lib.train, "training_step", watched)
    profile = replace(TINY, schedule="cosine", steps_joint=4)
    run("e2ent2", tmp_path, photographs, profile, start_from=first_stage)
    np.testing.assert_allclose(seen, [[learning_rate(profile, step, 4)] * 3 for step in range(4)])


@pytest.mark.parametrize("name", ["sisr", "e2ent2", "srresnet"])  # the last one has batch normalization
def test_what_is_validated_and_written_is_the_moving_average(name, monkeypatch, photographs, first_stage, tmp_path):
    trained, validated, step = [], [], training_step

    def watched(fabric, players, *rest):
        losses = step(fabric, players, *rest)
        trained.append(weights(players.model))
        return losses

    monkeypatch.setattr(e2ent2lib.train, "training_step", watched)
    scores = {"val_sisr": 20.0, "val_ref": 20.0}
    monkeypatch.setattr(running, "validate", lambda model, _: validated.append(weights(model)) or scores)
    model, _ = run(name, tmp_path, photographs, start_from=first_stage)
    average = trained[0]
    for number, now in enumerate(trained[1:], start=1):
        decay = min(0.999, (1 + number) / (10 + number))
        average = {k: decay * v + (1 - decay) * now[k] for k, v in average.items() if v.is_floating_point()}
    for found in (validated[-1], weights(model)):
        for key, value in average.items():
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-7)
    assert differ(weights(model), trained[-1])


def test_the_same_seed_gives_the_same_run_and_another_seed_other_crops_and_first_weights(photographs, tmp_path):
    (one, first), (two, second), (other, _) = (
        run("sisr", tmp_path / str(i), photographs, seed=seed) for i, seed in enumerate((5, 5, 6))
    )
    assert first == second and not differ(weights(one), weights(two)) and differ(weights(one), weights(other))
    still = replace(TINY, lr=0.0, steps_sisr=1)
    one, other = (run("sisr", tmp_path / f"still {seed}", photographs, still, seed=seed)[0] for seed in (5, 6))
    assert differ(weights(one), weights(other))


# placement


@pytest.fixture
def two_processes(monkeypatch):
    """Fabric as it looks to one of two processes; what it was made with."""
    options = {}
    fabric = SimpleNamespace(world_size=2, launch=lambda: None)
    monkeypatch.setattr(running, "Fabric", lambda **given: options.update(given) or fabric)
    return options


def test_a_batch_that_the_processes_cannot_share_is_refused(two_processes):
    with pytest.raises(ValueError, match=r"3 .* 2 processes"):
        make_fabric(replace(TINY, batch=3), "cpu", 2)
    make_fabric(replace(TINY, batch=4), "cpu", 2)


def test_under_torchrun_the_processes_it_started_are_used(two_processes, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    make_fabric(TINY, "cpu", "auto")
    assert two_processes["devices"] == 4 and two_processes["num_nodes"] == 2
