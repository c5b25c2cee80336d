"""Learning from a teacher: the loss by hand, whose images the teacher sees, and a run that is cut off and goes on."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from training_cases import (
    CPU,
    RESNET,
    SETTINGS,
    VIT,
    DieAt,
    Killed,
    StopAt,
    carry_out,
    folder_of,
    make_config,
    prepared,
    same,
)

from harness.data.augmentation import augment
from harness.data.splits import prepare
from harness.models import build
from harness.spec import Augmentation, Distillation, InvalidInput, Recipe, ResNetSpec
from harness.training import checkpoint, loop, state
from harness.training.loop import loss_of, teacher_config, train_teacher

TEACHER = Distillation(teacher=RESNET, learning_rate=2e-2, weight_decay=0.01, weight=0.7)
MIXED = Augmentation(shift=1, mixup=0.2, cutmix=1.0)
STUDENT = replace(VIT, dropout=0.1, distillation_token=True)
DISTILLED = make_config(
    STUDENT,
    optimizer="muon",
    ema_decay=0.9,
    accumulate=2,
    label_smoothing=0.1,
    augmentation=MIXED,
    distillation=TEACHER,
)
WITHOUT_TOKEN = replace(DISTILLED, model=VIT)
OFTEN = replace(SETTINGS, checkpoint_seconds=0)


class Memory:
    """A keeper of teachers without a disk."""

    def __init__(self):
        self.states = []

    def save_teacher(self, state, placement):
        self.states.append(copy.deepcopy(state))

    def restore_teacher(self, use, placement):
        return use(self.states[-1]) if self.states else None


def teacher_of(config, digits, **options):
    return train_teacher(config, digits, CPU, keeper=options.pop("keeper", Memory()), **options)


# --- the loss ---------------------------------------------------------------------------------------------------------


def cross_entropy(logits, targets):
    return -(targets * logits.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_loss_is_the_weighted_sum_of_labels_and_the_teachers_classes(weight, smoothing, mixed, heads):
    torch.manual_seed(0)
    logits = torch.randn(6, heads, 5)
    labels, taught = torch.randint(5, (6,)), torch.randint(5, (6,))
    targets = torch.rand(6, 5).softmax(1) if mixed else labels
    soft = targets if mixed else torch.eye(5)[labels]
    soft = (1 - smoothing) * soft + smoothing / 5
    recipe = Recipe(updates=1, label_smoothing=smoothing, distillation=replace(TEACHER, weight=weight))
    expected = (1 - weight) * cross_entropy(logits[:, 0], soft) + weight * cross_entropy(
        logits[:, -1], torch.eye(5)[taught]
    )
    found = loss_of(logits.squeeze(1), targets, taught, recipe)
    torch.testing.assert_close(found, expected)


def test_without_a_teacher_the_loss_is_the_cross_entropy_with_the_labels():
    logits, labels = torch.randn(6, 5), torch.randint(5, (6,))
    found = loss_of(logits, labels, None, Recipe(updates=1))
    torch.testing.assert_close(found, cross_entropy(logits, torch.eye(5)[labels]))


def test_the_teacher_answers_for_the_very_images_that_the_student_sees(digits, monkeypatch):
    """The first update by hand: parts of a batch, mixed images, moved patches; the teacher in eval mode."""
    augmented = []

    def spy(*arguments, **named):
        augmented.append(augment(*arguments, **named))
        return augmented[-1]

    monkeypatch.setattr(loop, "augment", spy)
    config = replace(WITHOUT_TOKEN, data=replace(WITHOUT_TOKEN.data, moved_share=1.0, moved_patch=2))
    teacher = teacher_of(config, digits)
    augmented.clear()
    training = loop.prepare_training(config, digits, CPU, teacher=teacher.model)
    student, before = copy.deepcopy(training.model), copy.deepcopy(teacher.model.state_dict())
    next(iter(loop.run_updates(training)))
    (images, targets), *_ = augmented
    inputs = (
        prepare(images, training.inputs.mean, training.inputs.std)
        .flatten(2)[:, :, training.inputs.moved]
        .view(16, 1, 8, 8)
    )
    by_hand = copy.deepcopy(teacher.model).eval()
    expected = loss_of(student(inputs), targets, by_hand(inputs).argmax(1), config.recipe)
    torch.testing.assert_close(training.last_loss, expected.detach())
    assert same(teacher.model.state_dict(), before)  # running statistics too
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.model.parameters())


# --- the teacher ------------------------------------------------------------------------------------------------------


def test_the_teacher_is_trained_as_the_run_but_for_its_own_rates(digits):
    own = teacher_config(replace(DISTILLED, test_shifts=(1,)))
    recipe = replace(DISTILLED.recipe, distillation=None, learning_rate=2e-2, weight_decay=0.01)
    assert own == replace(DISTILLED, phase="tune", model=RESNET, recipe=recipe)
    teacher = teacher_of(DISTILLED, digits)
    training = loop.prepare_training(own, digits, CPU, weights="teacher")
    list(loop.run_updates(training))
    assert same(teacher.model.state_dict(), training.average.state_dict())
    assert teacher.validation_accuracy == loop.evaluate(training, digits.validation).accuracy


def test_it_sees_the_images_of_its_run_and_starts_from_weights_of_its_own(digits, monkeypatch):
    seen = []

    def spy(*arguments, **named):
        seen.append(augment(*arguments, **named))
        return seen[-1]

    monkeypatch.setattr(loop, "augment", spy)
    config = replace(DISTILLED, model=VIT)
    teacher = teacher_of(config, digits)
    loop.train(config, digits, CPU, emit=lambda event, **fields: None, teacher=teacher)
    assert len(seen) == 24
    assert all(all(map(torch.equal, *pair)) for pair in zip(seen[:12], seen[12:], strict=True))
    own = teacher_config(config)
    drawn, alike = (
        loop.prepare_training(own, digits, CPU, weights=name).model for name in ("teacher", "initialisation")
    )
    assert not torch.equal(drawn.conv1.weight, alike.conv1.weight)


def test_a_kept_teacher_is_the_same_teacher(digits):
    keeper = Memory()
    fresh = teacher_of(DISTILLED, digits, keeper=keeper)
    kept = teacher_of(DISTILLED, digits, keeper=keeper, heartbeat=lambda update: pytest.fail("trained again"))
    assert len(keeper.states) == 1
    assert same(fresh.model.state_dict(), kept.model.state_dict())
    assert (fresh.validation_accuracy, fresh.seconds) == (kept.validation_accuracy, kept.seconds)
    assert not kept.model.training


def test_the_teachers_draws_are_no_part_of_the_students(digits):
    """With all the weight on the labels the student is the one that has no teacher."""
    config = replace(DISTILLED, model=replace(VIT, dropout=0.1))
    plain = replace(config, recipe=replace(config.recipe, distillation=None))
    labels_only = replace(config, recipe=replace(config.recipe, distillation=replace(TEACHER, weight=0.0)))
    teacher = teacher_of(labels_only, digits)
    one = loop.train(plain, digits, CPU, emit=lambda event, **fields: None)
    other = loop.train(labels_only, digits, CPU, emit=lambda event, **fields: None, teacher=teacher)
    for (name, found), expected in zip(other.model.named_parameters(), one.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=5e-3, atol=5e-3, msg=name)  # Muon rounds to bf16


def test_an_image_too_small_for_the_teacher_is_refused(digits):
    large = replace(TEACHER, teacher=ResNetSpec(depth=18, stem="imagenet"))
    config = replace(DISTILLED, recipe=replace(DISTILLED.recipe, distillation=large))
    with pytest.raises(InvalidInput, match=r"image_size .*ResNet-18"):
        teacher_of(config, digits)


def test_a_recipe_with_distillation_is_not_trained_without_a_teacher(digits):
    with pytest.raises(AssertionError, match="a teacher is trained where the recipe asks for one"):
        prepared(WITHOUT_TOKEN, digits)


# --- a whole run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return {
            config: carry_out(config, tmp_path_factory.mktemp("undisturbed"), patch)
            for config in (DISTILLED, WITHOUT_TOKEN)
        }


@pytest.mark.parametrize("config", [DISTILLED, WITHOUT_TOKEN], ids=["token", "one head"])
def test_a_run_leaves_the_students_record(undisturbed, config, digits):
    done = undisturbed[config]
    assert done.result.status == "completed"
    assert [event["event"] for event in done.journal] == ["taught"] + ["evaluated"] * 3 + ["finished"]
    assert done.journal[0]["validation_accuracy"] == teacher_of(config, digits).validation_accuracy
    student = build(config.model, image_size=8, channels=1, classes=10)
    assert done.result.params == sum(parameter.numel() for parameter in student.parameters())
    assert done.result.updates == 12
    names = {path.name for path in done.folder.path.iterdir()}
    assert names == {"config.json", "journal.jsonl", "result.json", "predictions.npz", "log.txt", "model"}


class TeacherUpdates:
    """Counts updates of teachers: heartbeats before the run's own first one."""

    def __init__(self):
        self.beats = 0

    def __call__(self, update):
        self.beats += update == 0


@pytest.mark.parametrize("update", [1, 4, 7, 12])
def test_a_stopped_student_goes_on_with_its_teacher(tmp_path, monkeypatch, undisturbed, update):
    stop = StopAt(update)
    with pytest.raises(state.Interrupted):
        carry_out(DISTILLED, tmp_path, monkeypatch, heartbeat=stop.heartbeat, stop=stop)
    assert (folder_of(DISTILLED, tmp_path).path / "teacher.pt").exists()
    beats = TeacherUpdates()
    done = carry_out(DISTILLED, tmp_path, monkeypatch, heartbeat=beats)
    assert beats.beats == 0
    assert done.everything == undisturbed[DISTILLED].everything
    assert not list(done.folder.path.glob("teacher.*"))


@pytest.mark.parametrize(("beat", "trained_again"), [(1, True), (12, True), (13, True), (14, False), (20, False)])
def test_a_killed_run_trains_its_teacher_again_only_where_it_was_not_kept(
    tmp_path, monkeypatch, undisturbed, beat, trained_again
):
    """12 updates and the evaluation of the teacher come first, then the student."""
    with pytest.raises(Killed):
        carry_out(DISTILLED, tmp_path, monkeypatch, OFTEN, heartbeat=DieAt(beat))
    beats = TeacherUpdates()
    done = carry_out(DISTILLED, tmp_path, monkeypatch, heartbeat=beats)
    assert beats.beats == (13 if trained_again else 0)
    assert done.everything == undisturbed[DISTILLED].everything


def test_a_stop_is_heard_while_the_teacher_is_trained(tmp_path, monkeypatch, undisturbed):
    beats = TeacherUpdates()
    with pytest.raises(state.Interrupted):
        carry_out(DISTILLED, tmp_path, monkeypatch, heartbeat=beats, stop=lambda: beats.beats == 5)
    assert beats.beats == 5
    folder = folder_of(DISTILLED, tmp_path)
    assert folder.result() is None
    assert folder.journal() == []
    assert carry_out(DISTILLED, tmp_path, monkeypatch).everything == undisturbed[DISTILLED].everything


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def of_other_code(path):
    manifest = path.with_suffix(".json")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"made_by": content["made_by"] | {"code": "0" * 16}}))


def of_another_model(path):
    state = torch.load(path, weights_only=True)
    state["model"].popitem()
    torch.save(state, path)
    manifest = path.with_suffix(".json")
    digest = checkpoint.sha256(path.read_bytes())
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"sha256": digest}))


DAMAGES = {
    "a bit flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "manifest lost": lambda path: path.with_suffix(".json").unlink(),
    "manifest of a list": lambda path: path.with_suffix(".json").write_text("[]"),
    "other code": of_other_code,
    "another model": of_another_model,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_teacher_is_set_aside_and_trained_again(tmp_path, monkeypatch, undisturbed, damage):
    stop = StopAt(5)
    with pytest.raises(state.Interrupted):
        carry_out(DISTILLED, tmp_path, monkeypatch, heartbeat=stop.heartbeat, stop=stop)
    damage(folder_of(DISTILLED, tmp_path).path / "teacher.pt")
    beats = TeacherUpdates()
    done = carry_out(DISTILLED, tmp_path, monkeypatch, heartbeat=beats)
    assert beats.beats == 13
    assert "teacher.pt cannot be used and was set aside; the teacher is trained again." in done.log
    assert "Resumed after update 5" in done.log
    assert (done.folder.path / "damaged" / "teacher.pt.0").exists()
    assert done.everything == undisturbed[DISTILLED].everything


def test_a_teacher_that_diverges_is_named(tmp_path, monkeypatch, digits):
    hot = replace(TEACHER, learning_rate=1e30)
    recipe = replace(make_config(optimizer="sgd", warmup=0.0).recipe, distillation=hot)
    config = replace(make_config(), recipe=recipe)
    with pytest.raises(state.Diverged, match="the teacher diverged"):
        teacher_of(config, digits)
    done = carry_out(config, tmp_path, monkeypatch)
    assert done.result.status == "diverged"
    assert done.result.reason.startswith("the teacher diverged: the ")
    assert (done.result.updates, done.result.images_seen) == (0, 0)
    assert [event["event"] for event in done.journal] == ["finished"]


def test_a_student_that_diverges_is_not_its_teacher(tmp_path, monkeypatch):
    recipe = replace(make_config(optimizer="sgd", warmup=0.0, learning_rate=1e30).recipe, distillation=TEACHER)
    done = carry_out(replace(make_config(), recipe=recipe), tmp_path, monkeypatch)
    assert done.result.status == "diverged"
    assert "teacher" not in done.result.reason
    assert done.result.updates > 0


def test_bf16_and_the_teacher(tmp_path, monkeypatch):
    config = replace(WITHOUT_TOKEN, recipe=replace(WITHOUT_TOKEN.recipe, precision="bf16"))
    stop = StopAt(5)
    with pytest.raises(state.Interrupted):
        carry_out(config, tmp_path / "stopped", monkeypatch, heartbeat=stop.heartbeat, stop=stop)
    resumed = carry_out(config, tmp_path / "stopped", monkeypatch)
    assert resumed.everything == carry_out(config, tmp_path / "whole", monkeypatch).everything
    assert isinstance(resumed.training.teacher, nn.Module)
