"""The trainer (4.1): its steps against plain autograd, its schedule, and runs that are cut short and go on."""

import copy
import json
import math
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from e2ent2lib import train as trainer
from e2ent2lib.config import PAPER, PROFILES, SMOKE
from e2ent2lib.data.crops import Crops, CropTwice
from e2ent2lib.losses import critic_loss, generator_loss, reconstruction_loss
from e2ent2lib.measure.evaluate import evaluate
from e2ent2lib.models.network import trained_images
from e2ent2lib.runs.checkpoints import MADE_BY, MODELS, build_model, load_model, save_model
from e2ent2lib.systems.adversaries import gradient_penalty
from e2ent2lib.train import RECIPES, Recipe, learning_rate, make_fabric, make_players, train, training_step

TINY = replace(
    SMOKE,
    crop=32,
    max_offset=16,
    steps_pretraining=4,
    steps_sisr=6,
    steps_gan=2,
    steps_joint=2,
    steps_ablation=2,
    steps_single=6,
    steps_srgan=4,
    steps_reference=2,
    checkpoint_every=2,
    probe_every=2,
    precision="32-true",
)


def texture(seed, side=64):
    """A picture with detail of several sizes, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    layers = [np.kron(rng.integers(0, 256, (side // n, side // n, 3)), np.ones((n, n, 1))) for n in (2, 8, 16)]
    return np.mean(layers, axis=0).astype(np.uint8)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        Image.fromarray(texture(seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="session")
def first_stage(photographs, tmp_path_factory):
    """The folder of a SISR model, from which the other recipes start."""
    folder = tmp_path_factory.mktemp("first")
    run("sisr", folder, photographs)
    return folder


@pytest.fixture(scope="session")
def first_stages(first_stage):
    """The same folder with the other models that a recipe starts from."""
    for name in {r.start_from for r in RECIPES.values()} - {None, "sisr-pretrained"}:
        save_model(build_model(name, TINY), {"model": name}, first_stage, name)
    return first_stage


@pytest.fixture(autouse=True)
def random_vgg(monkeypatch):
    """VGG19's weights are not needed for what is tested here."""
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")


def run(name, out, data, profile=TINY, **options):
    return train(name, profile, data=data, out=out, accelerator="cpu", devices=1, progress=False, **options)


def a_batch(profile=TINY, count=2):
    crops = CropTwice([texture(0), texture(1)], profile, length=count)
    return Crops(*(torch.stack(x) for x in zip(*(crops[i] for i in range(count)))))


def some_players(recipe, name="e2ent2", profile=TINY):
    torch.manual_seed(0)
    fabric = make_fabric(profile, "cpu", 1)
    players = make_players(fabric, build_model(name, profile), recipe, profile)
    for critic in players.critics:  # untrained ones score all images alike, which leaves rounding as their gradient
        for weight in critic.net.parameters():
            weight.data *= 4 if weight.ndim == 4 else 1
    return fabric, players


def visible_files(folder):
    """Names of a run's files, without ``best``, ``last`` and its lock."""
    return sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def weights(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def differ(a, b):
    return any(not torch.equal(a[k], b[k]) for k in a)


def gradients(player):
    """What the step left in a network's parameters."""
    return [p.grad for p in player.net.module.parameters()]


def assert_close_together(found, right):
    found, right = (torch.cat([x.flatten() for x in lists]) for lists in (found, right))
    assert right.norm() > 0
    assert (found - right).norm() < 1e-4 * right.norm()


def interrupt_at(monkeypatch, step, sent=signal.SIGINT):
    """Ctrl-C in the middle of a step."""
    original, count = trainer.training_step, iter(range(1, 10**6))

    def interrupted(*args):
        if next(count) == step:
            signal.raise_signal(sent)
        return original(*args)

    monkeypatch.setattr(trainer, "training_step", interrupted)


# recipes


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_trains_and_leaves_a_model_with_its_card(name, photographs, first_stages, tmp_path):
    recipe = RECIPES[name]
    start = {"start_from": first_stages} if recipe.start_from else {}
    model, history = run(name, tmp_path / "run", photographs, **start)
    steps = getattr(TINY, recipe.steps)
    written = {f"{saved}.{end}" for saved in {name, recipe.keeps or name} for end in ("json", "safetensors")}
    assert set(visible_files(tmp_path / "run")) == written | {"state.pt"}
    assert [row["step"] for row in history] == list(range(0 if recipe.ablation else 2, steps + 1, 2))
    branches = build_model(name, TINY).branches
    terms = recipe.make_loss(TINY, branches).weights
    kinds = ["adv", "critic"] if recipe.adversarial else []
    expected = {f"{kind}_{b}" for kind in kinds for b in branches} | {f"val_{b}" for b in branches} | {"step"}
    seen = {k for k in history[-1] if k.startswith(("grad_", "cos_")) or k in ("self_match", "disparity")}
    assert bool(seen) == recipe.ablation
    assert expected <= set(history[-1]) - seen <= expected | set(terms)
    assert all(math.isfinite(v) for row in history for v in row.values())

    loaded = load_model(name, "smoke", tmp_path / "run")
    assert not differ(weights(loaded), weights(model))
    card = loaded.card
    assert card["steps"] == steps and card["recipe"]["start_from"] == recipe.start_from and card["data"]["images"] == 3
    assert card["recipe"]["weights"] == terms
    if recipe.start_from:
        first = load_model(recipe.start_from, "smoke", first_stages)
        assert card["started_from"] == {"model": recipe.start_from, "sha256": first.card["sha256"]}
        moved = any(p.requires_grad for p in build_model(name, TINY).get_submodule(recipe.part).parameters())
        assert differ(weights(first), weights(model.get_submodule(recipe.part))) == moved


def test_a_card_says_which_vgg_was_used_and_what_was_trained_with_a_random_one_cannot_be_measured(
    monkeypatch, photographs, first_stages, tmp_path
):
    model, _ = run("srntt", tmp_path / "weights/smoke", photographs, start_from=first_stages, in_tables=False)
    assert model.card["vgg"]["weights"].startswith("random") and "Simonyan" in model.card["vgg"]["licence"]
    assert model.card["vgg"]["stored"] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"]
    assert model.card["vgg"]["layers_of_the_loss"] == ["relu1_1", "relu2_1", "relu3_1"]
    assert model.card["in_tables"] is False
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(ValueError, match="srntt was trained with random VGG features"):
        evaluate("srntt", "motorcycle", profile="smoke", progress=False)
    assert run("sisr", tmp_path / "plain", photographs)[0].card["vgg"] is None


def test_training_without_vgg_weights_stops_before_anything_is_written(monkeypatch, photographs, tmp_path):
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", str(tmp_path / "nowhere.pth"))
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth: no VGG19 weights here. Set E2ENT2_VGG_WEIGHTS"):
        run("enhancenet", tmp_path / "run", photographs)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["stereosr", "passrnet"])
def test_stereo_methods_learn_from_crops_that_look_like_a_rectified_pair(name):
    profile = RECIPES[name].crops(PAPER)
    assert (profile.stereo, profile.max_offset, profile.unrelated) == (True, 64, 0)
    assert RECIPES["srntt"].crops(PAPER) == PAPER


def test_a_critic_with_a_penalty_learns_from_it_too():
    recipe = RECIPES["srntt"]
    fabric, players = some_players(recipe, "srntt")
    critic, batch = copy.deepcopy(players.critics[0].net.module), a_batch()
    model = copy.deepcopy(players.generator.net.module)
    losses = training_step(fabric, players, batch, recipe, TINY)
    with torch.no_grad():
        fake = trainer.forward(model, batch).sr
    penalty = 10 * gradient_penalty(critic, batch.hr, fake, seed=0)
    loss = critic(fake).mean() - critic(batch.hr).mean() + penalty
    torch.testing.assert_close(losses["critic_ref"], loss.detach())
    assert_close_together(gradients(players.critics[0]), torch.autograd.grad(loss, list(critic.parameters())))


def test_the_recipes_are_the_rows_of_the_tables():
    assert not RECIPES["sisr"].adversarial and RECIPES["sisr"].start_from is None
    assert RECIPES["sisr-gan"].adversarial == "ragan" and RECIPES["sisr-gan"].start_from == "sisr-pretrained"
    assert RECIPES["e2ent2-mse"].rec == "mse" and not RECIPES["e2ent2-mse"].adversarial
    assert RECIPES["e2ent2-mse-related"] == replace(RECIPES["e2ent2-mse"], unrelated=0.0)
    assert RECIPES["e2ent2-mse-related"].crops(TINY) == replace(TINY, unrelated=0.0) != TINY
    for name in ("e2ent2-mse", "e2ent2-mse-subcell"):
        gate = RECIPES[f"{name}-gated"]
        assert (gate.start_from, gate.part, gate.rec, gate.adversarial) == (name, "inner", "mse", None)
        assert gate.crops(TINY) == replace(TINY, unrelated=0.8)
    start = {"start_from": "sisr-pretrained", "part": "sisr", "start_synthesis": True}
    assert RECIPES["e2ent2"] == Recipe(steps="steps_joint", rec="l1", adversarial="ragan", **start)
    ablation = replace(RECIPES["e2ent2"], steps="steps_ablation", ablation=True)
    for name in ("ablation", "alpha-100", "alpha-010", "alpha-001", "error-sum", "noresidual"):
        assert RECIPES[f"e2ent2-{name}"] == RECIPES["feature-presisr"] == ablation
    assert RECIPES["e2ent2-plain-gan"] == replace(ablation, adversarial="gan")
    assert RECIPES["feature-vgg"] == Recipe(steps="steps_ablation", adversarial="ragan", ablation=True)
    assert {*RECIPES, *MADE_BY} == set(MODELS)
    assert {name: r.keeps for name, r in RECIPES.items() if r.keeps} == {"sisr": "sisr-pretrained"}


def test_an_ablation_ends_with_its_last_weights_and_the_look_at_it_changes_nothing(
    monkeypatch, photographs, first_stages, tmp_path
):
    profile = replace(TINY, steps_ablation=4)
    options = {"start_from": first_stages}
    looked, history = run("e2ent2-ablation", tmp_path / "a", photographs, profile, **options)
    assert [row["step"] for row in history] == [0, 2, 4]
    assert history[0]["val_ref"] == pytest.approx(history[0]["val_sisr"], abs=0.01)  # ζ starts as the SISR branch
    assert history[0]["grad_ref"] == 0 < history[-1]["grad_ref"]  # which takes nothing of F yet
    state = torch.load(tmp_path / "a/state.pt", weights_only=True)
    last = {k.removeprefix("_forward_module."): v for k, v in state["players"]["0"][0].items()}
    assert not differ(weights(looked), {k.removeprefix("module."): v for k, v in last.items()})
    assert looked.card["selected_step"] == 4 and looked.card["selection"].startswith("none: the last step")
    monkeypatch.setattr(trainer, "probe", lambda *_: {})
    blind, _ = run("e2ent2-ablation", tmp_path / "b", photographs, profile, **options)
    assert not differ(weights(looked), weights(blind))


def test_an_interrupted_ablation_ends_as_an_unbroken_one(monkeypatch, photographs, first_stages, tmp_path):
    profile = replace(TINY, steps_ablation=4)
    whole, history = run("e2ent2-alpha-010", tmp_path / "a", photographs, profile, start_from=first_stages)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt_at(patched, 3)
        run("e2ent2-alpha-010", tmp_path / "b", photographs, profile, start_from=first_stages)
    resumed, again = run("e2ent2-alpha-010", tmp_path / "b", photographs, profile, start_from=first_stages, resume=True)
    assert not differ(weights(whole), weights(resumed)) and again == history


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_models_that_are_compared_have_had_as_many_steps(profile):
    assert profile.steps_sisr == profile.steps_pretraining + profile.steps_joint
    assert profile.steps_gan == profile.steps_joint  # Ours-SISR and E2ENT² both start from sisr-pretrained
    assert profile.steps_single == 2 * profile.steps_srgan


def test_sisr_saves_its_weights_on_the_way_also_over_an_interruption(monkeypatch, photographs, first_stage, tmp_path):
    still = replace(TINY, steps_sisr=TINY.steps_pretraining, schedule="constant")
    plain = replace(TINY, schedule="constant")
    kept = {}
    for name, profile in (("ends there", still), ("goes on", plain)):
        run("sisr", tmp_path / name, photographs, profile)
        kept[name] = weights(load_model("sisr-pretrained", "smoke", tmp_path / name))
    assert not differ(*kept.values())
    card = json.loads((tmp_path / "goes on/sisr-pretrained.json").read_text(encoding="utf-8"))
    assert card["model"] == "sisr-pretrained" and card["steps"] == card["selected_step"] == TINY.steps_pretraining
    assert max(row["step"] for row in card["history"]) == TINY.steps_pretraining
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt_at(patched, TINY.steps_pretraining + 1)
        run("sisr", tmp_path / "broken", photographs, plain)
    run("sisr", tmp_path / "broken", photographs, plain, resume=True)
    assert not differ(kept["goes on"], weights(load_model("sisr-pretrained", "smoke", tmp_path / "broken")))


def test_what_is_saved_on_the_way_is_not_trained_by_itself(photographs, tmp_path):
    with pytest.raises(ValueError, match="sisr-pretrained is saved on the way to sisr; train that"):
        run("sisr-pretrained", tmp_path / "run", photographs)
    assert not (tmp_path / "run").exists()


def test_the_second_stage_starts_from_the_first(photographs, first_stage, tmp_path):
    still = replace(TINY, lr=0.0)
    model, _ = run("e2ent2", tmp_path, photographs, still, start_from=first_stage)
    assert not differ(weights(load_model("sisr-pretrained", "smoke", first_stage)), weights(model.sisr))


def test_the_second_stage_finds_the_first_in_runs(monkeypatch, photographs, tmp_path):
    monkeypatch.chdir(tmp_path)
    run("sisr", None, photographs)
    assert (tmp_path / "runs/sisr-smoke/sisr.safetensors").is_file()
    model, _ = run("sisr-gan", None, photographs)
    card = json.loads((tmp_path / "runs/sisr-smoke/sisr-pretrained.json").read_text(encoding="utf-8"))
    assert model.card["started_from"]["sha256"] == card["sha256"]


def test_a_missing_first_stage_names_the_command_that_makes_it(photographs, tmp_path):
    with pytest.raises(FileNotFoundError, match="e2ent2 train sisr --profile smoke"):
        run("e2ent2", tmp_path / "run", photographs, start_from=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_is_refused(photographs, tmp_path):
    with pytest.raises(ValueError, match="unknown model 'e3'"):
        run("e3", tmp_path, photographs)


# one step


def test_sisr_training_lowers_the_loss_on_a_crop():
    recipe = RECIPES["sisr"]
    profile = replace(TINY, lr=2e-3)
    fabric, players = some_players(recipe, "sisr", profile)
    batch = a_batch(profile, 1)
    losses = [training_step(fabric, players, batch, recipe, profile)["rec_sisr"].item() for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["e2ent2", "e2ent2-mse", "sisr-gan"])
def test_the_generators_gradient_is_that_of_the_weighted_losses(name):
    recipe, profile = RECIPES[name], replace(TINY, weight_adv=0.5, weight_sisr=0.3, weight_rec=0.7)
    fabric, players = some_players(recipe, name, profile)
    model, batch = copy.deepcopy(players.generator.net.module), a_batch()
    losses = training_step(fabric, players, batch, recipe, profile)
    critics = [player.net.module for player in players.critics]  # as they are after their own step

    images = trained_images(trainer.forward(model, batch), model.branches)
    expected, total = {}, 0
    for i, (branch, image) in enumerate(images.items()):
        weight = 0.3 if branch == "sisr" and len(images) == 2 else 1
        expected[f"rec_{branch}"] = rec = reconstruction_loss(image, batch.hr, recipe.rec)
        total = total + weight * 0.7 * rec
        if critics:
            expected[f"adv_{branch}"] = adv = generator_loss(critics[i](batch.hr), critics[i](image))
            total = total + weight * 0.5 * adv
    for key, value in expected.items():
        torch.testing.assert_close(losses[key], value.detach())
    right = torch.autograd.grad(total, list(model.parameters()))
    assert_close_together(gradients(players.generator), right)


def test_each_critic_learns_from_its_branch_alone_and_the_generators_step_leaves_it_be():
    recipe, profile = RECIPES["e2ent2"], replace(TINY, weight_adv=0.5)
    fabric, players = some_players(recipe, profile=profile)
    model, batch = copy.deepcopy(players.generator.net.module), a_batch()
    before = [copy.deepcopy(player.net.module) for player in players.critics]
    losses = training_step(fabric, players, batch, recipe, profile)
    images = trained_images(trainer.forward(model, batch), model.branches)
    for (branch, image), critic, player in zip(images.items(), before, players.critics):
        loss = critic_loss(critic(batch.hr), critic(image.detach()))
        torch.testing.assert_close(losses[f"critic_{branch}"], loss.detach())
        assert_close_together(gradients(player), torch.autograd.grad(loss, list(critic.parameters())))
        assert all(p.requires_grad for p in player.net.parameters())
        assert differ(weights(critic), weights(player.net.module))


def test_without_the_adversarial_loss_there_is_no_critic():
    assert some_players(RECIPES["e2ent2-mse"], "e2ent2-mse")[1].critics == []
    assert len(some_players(RECIPES["sisr-gan"], "sisr-gan")[1].critics) == 1
    assert len(some_players(RECIPES["e2ent2"], "e2ent2")[1].critics) == 2


def test_a_step_in_mixed_precision_is_finite_and_near_the_exact_one():
    recipe, batch = RECIPES["e2ent2"], a_batch()
    found = []
    for precision in ("32-true", "bf16-mixed"):
        profile = replace(TINY, precision=precision)
        fabric, players = some_players(recipe, profile=profile)
        found.append(training_step(fabric, players, batch, recipe, profile))
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in players.generator.net.parameters())
    for key, exact in found[0].items():
        torch.testing.assert_close(found[1][key], exact, rtol=0.05, atol=0.01)


# the schedule


def test_the_learning_rate_is_constant_at_paper_size_and_half_a_cosine_at_compact():
    assert {learning_rate(PAPER, step, 100) for step in range(100)} == {1e-4}
    profile = replace(PAPER, schedule="cosine", lr=4e-4)
    rates = [learning_rate(profile, step, 100) for step in range(101)]
    assert rates[0] == 4e-4
    assert rates[50] == pytest.approx(2e-4)
    assert rates[25] == pytest.approx(4e-4 * (0.5 + 0.5 * math.sqrt(0.5)))
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates == sorted(rates, reverse=True)


def test_a_gate_is_trained_and_the_network_behind_it_is_not(photographs, first_stage, tmp_path):
    whole, _ = run("e2ent2-mse", tmp_path / "whole", photographs, start_from=first_stage)
    gated, _ = run("e2ent2-mse-gated", tmp_path / "gated", photographs, start_from=tmp_path / "whole")
    assert not differ(whole.state_dict(), gated.inner.state_dict())
    assert (gated.gate != 0).all()
    assert load_model("e2ent2-mse-gated", "smoke", tmp_path / "gated").card["started_from"]["model"] == "e2ent2-mse"


def test_the_schedule_reaches_every_optimizer(monkeypatch, photographs, first_stage, tmp_path):
    seen, original = [], trainer.training_step

    def watched(fabric, players, *rest):
        seen.append([g["lr"] for p in (players.generator, *players.critics) for g in p.adam.param_groups])
        return original(fabric, players, *rest)

    monkeypatch.setattr(trainer, "training_step", watched)
    profile = replace(TINY, schedule="cosine", steps_joint=4)
    run("e2ent2", tmp_path, photographs, profile, start_from=first_stage)
    np.testing.assert_allclose(seen, [[learning_rate(profile, step, 4)] * 3 for step in range(4)])


# the run: saved, cut short, resumed


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [3, 4])  # between two validations, and at one
def test_a_run_cut_short_and_resumed_ends_as_an_unbroken_one(monkeypatch, photographs, tmp_path, step, sent):
    model, history = run("sisr", tmp_path / "unbroken", photographs)
    before = signal.getsignal(sent)
    with monkeypatch.context() as patch:
        interrupt_at(patch, step, sent)
        with pytest.raises(KeyboardInterrupt, match=f"step {step} of 6.*--resume"):
            run("sisr", tmp_path / "broken", photographs)
    assert signal.getsignal(sent) is before
    assert not (tmp_path / "broken/sisr.safetensors").exists()
    assert torch.load(tmp_path / "broken/state.pt", weights_only=True)["step"] == step
    resumed, resumed_history = run("sisr", tmp_path / "broken", photographs, resume=True)
    assert not differ(weights(resumed), weights(model))
    assert resumed_history == history


def test_a_joint_run_with_critics_resumes_too(monkeypatch, photographs, first_stage, tmp_path):
    profile = replace(TINY, steps_joint=4)
    start = {"start_from": first_stage}
    run("e2ent2", tmp_path / "unbroken", photographs, profile, **start)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run("e2ent2", tmp_path / "broken", photographs, profile, **start)
    run("e2ent2", tmp_path / "broken", photographs, profile, resume=True, **start)
    states = [torch.load(tmp_path / which / "state.pt", weights_only=True) for which in ("unbroken", "broken")]
    for player in "012":  # the generator and both critics, with Adam's memory
        torch.testing.assert_close(states[1]["players"][player], states[0]["players"][player], rtol=0, atol=0)


def test_a_run_interrupted_in_its_last_step_is_finished(monkeypatch, photographs, tmp_path):
    interrupt_at(monkeypatch, 6)
    _, history = run("sisr", tmp_path, photographs)
    assert history[-1]["step"] == 6


def test_a_finished_run_resumed_gives_the_same_model_again(photographs, tmp_path):
    model, history = run("sisr", tmp_path, photographs)
    again, same = run("sisr", tmp_path, photographs, resume=True)
    assert same == history
    assert not differ(weights(again), weights(model))


def test_resume_without_a_run_starts_one(photographs, tmp_path):
    _, history = run("sisr", tmp_path / "new", photographs, resume=True)
    assert [row["step"] for row in history] == [2, 4, 6]


def test_a_run_is_not_overwritten_without_resume(photographs, first_stage):
    before = (first_stage / "state.pt").read_bytes()
    with pytest.raises(FileExistsError, match="--resume"):
        run("sisr", first_stage, photographs)
    assert (first_stage / "state.pt").read_bytes() == before


def test_resume_with_other_photographs_is_refused(photographs, tmp_path):
    run("sisr", tmp_path / "run", photographs)
    other = tmp_path / "other"
    other.mkdir()
    for seed in range(3):
        Image.fromarray(texture(seed + 10)).save(other / f"{seed}.png")
    with pytest.raises(ValueError, match="other photographs"):
        run("sisr", tmp_path / "run", other, resume=True)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(photographs, tmp_path):
    (one, first), (two, second), (other, _) = (
        run("sisr", tmp_path / str(i), photographs, seed=seed) for i, seed in enumerate((5, 5, 6))
    )
    assert first == second
    assert not differ(weights(one), weights(two))
    assert differ(weights(one), weights(other))


def test_the_seed_also_chooses_the_first_weights(photographs, tmp_path):
    still = replace(TINY, lr=0.0, steps_sisr=1)
    one, other = (run("sisr", tmp_path / str(seed), photographs, still, seed=seed)[0] for seed in (5, 6))
    assert differ(weights(one), weights(other))


def test_the_checkpoint_is_the_step_with_the_best_validation(monkeypatch, photographs, tmp_path):
    scores, seen = iter([20.0, 30.0, 25.0]), []

    def scripted(model, crops):
        seen.append(weights(model))
        return {"val_sisr": next(scores)}

    monkeypatch.setattr(trainer, "validate", scripted)
    model, _ = run("sisr", tmp_path, photographs)
    assert model.card["selected_step"] == 4
    assert not differ(weights(model), seen[1])
    assert differ(weights(model), seen[2])


def test_a_joint_model_is_chosen_by_its_refsr_branch(monkeypatch, photographs, first_stage, tmp_path):
    scores = iter([{"val_sisr": 30.0, "val_ref": 20.0}, {"val_sisr": 20.0, "val_ref": 30.0}])
    monkeypatch.setattr(trainer, "validate", lambda *_: next(scores))
    profile = replace(TINY, steps_joint=4)
    model, _ = run("e2ent2", tmp_path, photographs, profile, start_from=first_stage)
    assert model.card["selected_step"] == 4


def test_the_state_holds_no_code(photographs, first_stage):
    state = torch.load(first_stage / "state.pt", weights_only=True)  # raises for anything but data
    assert state["step"] == 6 and len(state["history"]) == 3 and set(state["players"]) == {"0"}


# placement


class FakeFabric(SimpleNamespace):
    """Fabric as it looks to one of several processes."""

    made = None
    world_size = 2

    def __init__(self, **options):
        super().__init__()
        FakeFabric.made = options

    def launch(self):
        pass


def test_a_batch_that_the_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(trainer, "Fabric", FakeFabric)
    with pytest.raises(ValueError, match=r"batch of 3 .* 2 processes"):
        make_fabric(replace(TINY, batch=3), "cpu", 2)
    make_fabric(replace(TINY, batch=4), "cpu", 2)


def test_under_torchrun_the_processes_it_started_are_used(monkeypatch):
    monkeypatch.setattr(trainer, "Fabric", FakeFabric)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    make_fabric(TINY, "cpu", "auto")
    assert FakeFabric.made["devices"] == 4 and FakeFabric.made["num_nodes"] == 2
