"""What a user is told: the value, the rule, what would be valid; for specifications, studies and study files."""

from dataclasses import FrozenInstanceError, replace

import pytest

from harness.spec import (
    Arm,
    Augmentation,
    Better,
    Choice,
    CostGrows,
    DataSpec,
    Equivalent,
    InvalidInput,
    LogUniform,
    Monotone,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    Scale,
    Search,
    Study,
    SwinSpec,
    Uniform,
    ViTSpec,
    find_study,
    study_names,
)
from harness.spec.checks import nearest, replace_at

SAID = {"statement": "It holds.", "source": "Fig. 1"}
RECIPE = Recipe(updates=10)
VIT = ViTSpec(patch_size=4, width=32, depth=2, heads=2)
SMALL, LARGE = Arm("small", VIT, level=2), Arm("large", replace(VIT, patch_size=2), level=4)


def vit(**changes):
    return ViTSpec(**{"patch_size": 4, "width": 32, "depth": 2, "heads": 2} | changes)


def swin(**changes):
    return SwinSpec(**{"patch_size": 2, "width": 8, "depths": (1, 1), "heads": (2, 2)} | changes)


def study(**changes):
    content = {
        "name": "patch_size",
        "scale": "smoke",
        "question": "Do they?",
        "source": "arXiv",
        "factor": "patch_size",
        "data": DataSpec(source="digits"),
        "recipe": RECIPE,
        "baseline": Arm("ResNet-8", ResNetSpec(depth=8)),
        "arms": (SMALL, LARGE),
    }
    return ResolvedStudy(**content | changes)


MESSAGES = {
    "two budgets": (
        lambda: Recipe(updates=1, epochs=1),
        "A recipe's budget is given as updates=1, epochs=1.0. Set one, and the others to None.",
    ),
    "no updates": (lambda: Recipe(updates=0), "recipe.updates is 0; it must be 1 or more."),
    "wrong type": (
        lambda: Recipe(updates=1.5),
        "recipe.updates is 1.5 (float); it must be int or None.",
    ),
    "a bool is no number": (lambda: Recipe(updates=True), "recipe.updates is True (bool); it must be int or None."),
    "unknown optimiser": (
        lambda: Recipe(updates=1, optimizer="lion"),
        "recipe.optimizer is 'lion' (str); it must be one of 'adamw', 'adam', 'sgd', 'muon', 'schedule_free'.",
    ),
    "NaN": (
        lambda: Recipe(updates=1, learning_rate=float("nan")),
        "recipe.learning_rate is nan; it must be above 0 and finite.",
    ),
    "more parts than images": (
        lambda: Recipe(updates=1, batch_size=4, accumulate=5),
        "recipe.accumulate is 5; it must lie in [1, 4].",
    ),
    "warm-up": (lambda: Recipe(updates=1, warmup=1.5), "recipe.warmup is 1.5; it must lie in [0, 1]."),
    "erase": (lambda: Augmentation(erase=2), "augmentation.erase is 2.0; it must lie in [0, 1]."),
    "heads": (
        lambda: vit(heads=5),
        "ViTSpec is of width 32 with 5 heads; heads must divide width. Valid: [1, 2, 4, 8, 16, 32].",
    ),
    "patches": (
        lambda: VIT.check_image(30),
        "patch_size 4 does not divide image_size 30. Valid: [1, 2, 3, 5, 6, 10, 15, 30].",
    ),
    "stem": (
        lambda: vit(patch_size=7, stem="conv"),
        "ViTSpec.patch_size is 7; with stem 'conv', which halves the image at each stage, it must be a power of "
        "two above 1.",
    ),
    "sines": (
        lambda: vit(width=30, position="sincos_2d"),
        "ViTSpec.width is 30; position 'sincos_2d' needs a multiple of 4.",
    ),
    "last norm of post-norm": (
        lambda: vit(norm="post", pool_norm="after"),
        "ViTSpec.pool_norm is 'after'; post-norm blocks have no choice: leave it 'before'.",
    ),
    "residual of post-norm": (
        lambda: vit(norm="post", residual="branch"),
        "ViTSpec.residual is 'branch'; post-norm blocks have no choice: leave it 'full'.",
    ),
    "unknown pool": (
        lambda: vit(pool="max"),
        "ViTSpec.pool is 'max' (str); it must be one of 'cls', 'mean', 'all', 'map'.",
    ),
    "distillation without a class token": (
        lambda: vit(pool="mean", distillation_token=True),
        "ViTSpec.pool is 'mean'; a distillation token needs a class token: pool 'cls'.",
    ),
    "distillation among all": (
        lambda: vit(pool="all", distillation_token=True),
        "ViTSpec.pool is 'all'; a distillation token needs a class token: pool 'cls'.",
    ),
    "projection dropout": (
        lambda: vit(projection_dropout=1),
        "ViTSpec.projection_dropout is 1.0; it must lie in [0, 0.999].",
    ),
    "deviation of positions": (lambda: vit(position_sd=-1), "ViTSpec.position_sd is -1.0; it must be 0 or more."),
    "deviation of tokens": (
        lambda: vit(class_token_sd=float("nan")),
        "ViTSpec.class_token_sd is nan; it must be 0 or more and finite.",
    ),
    "stages of a Swin": (
        lambda: swin(heads=(2,)),
        "SwinSpec has depths (1, 1), heads (2,); both need a number per stage.",
    ),
    "no stages of a Swin": (
        lambda: swin(depths=(), heads=()),
        "SwinSpec has depths (), heads (); both need a number per stage.",
    ),
    "blocks of a Swin's stage": (
        lambda: swin(depths=(1, 0)),
        "SwinSpec.depths is 0; it must be 1 or more.",
    ),
    "heads of a Swin's stage": (
        lambda: swin(heads=(2, 5)),
        "SwinSpec: stage 2 is of width 16 with 5 heads; heads must divide width. Valid: [1, 2, 4, 8, 16].",
    ),
    "no heads in a Swin's stage": (
        lambda: swin(heads=(0, 2)),
        "SwinSpec.heads is 0; it must be 1 or more.",
    ),
    "one block of a Swin": (
        lambda: swin(depths=(1,), heads=(2,)),
        "SwinSpec.depths is (1,); torchvision's Swin needs two blocks or more in all.",
    ),
    "Swin's MLP": (
        lambda: swin(mlp_ratio=0.1),
        "SwinSpec.mlp_ratio is 0.1; set it to 0.125 or more.",
    ),
    "Swin's window": (lambda: swin(window=0), "SwinSpec.window is 0; it must be 1 or more."),
    "Swin's patches": (
        lambda: swin().check_image(9),
        "patch_size 2 does not divide image_size 9. Valid: [1, 3, 9].",
    ),
    "preset": (
        lambda: ViTSpec.preset("XL", patch_size=16),
        "ViT size is 'XL'; it must be one of 'Ti', 'S', 'B', 'L', 'H'.",
    ),
    "ResNet depth": (
        lambda: ResNetSpec(depth=9),
        "ResNetSpec.depth is 9; it must be one of 8, 14, 20, 18, 34, 50.",
    ),
    "ResNet width": (
        lambda: ResNetSpec(depth=18, width=32),
        "ResNetSpec.width is 32; ResNet-18 has a fixed width: leave it out, or use a depth of (8, 14, 20).",
    ),
    "ResNet image": (
        lambda: ResNetSpec(depth=50, stem="imagenet").check_image(28),
        "image_size (for ResNet-50, stem 'imagenet') is 28; it must be 32 or more.",
    ),
    "source": (
        lambda: DataSpec(source="mnist"),
        "data.source is 'mnist'. Did you mean 'fashion_mnist'? Valid: fashion_mnist, cifar10, cifar100, digits, "
        "imagefolder:PATH, imagenet:PATH, npz:PATH, npy:PATH, csv:PATH, torchvision:NAME, huggingface:NAME, "
        "python:MODULE:FUNCTION, classes:FIRST-LAST:SOURCE, scattered, cued.",
    ),
    "path": (
        lambda: DataSpec(source="cifar10:/data"),
        "data.source is 'cifar10:/data'; it must be of the form cifar10. PATCHBENCH_DATA names the folder of files "
        "that it looks for.",
    ),
    "no path": (
        lambda: DataSpec(source="imagefolder:"),
        "data.source is 'imagefolder:'; it must be of the form imagefolder:PATH.",
    ),
    "range": (
        lambda: LogUniform(low=1, high=0.1),
        "LogUniform has low 1.0 and high 0.1; low must be below high.",
    ),
    "log of zero": (lambda: LogUniform(low=0, high=1), "LogUniform.low is 0.0; it must be above 0."),
    "empty range": (lambda: Uniform(low=1, high=1), "Uniform has low 1.0 and high 1.0; low must be below high."),
    "one choice": (lambda: Choice(values=(1,)), "Choice has the values (1,); it needs at least two, each given once."),
    "trials": (lambda: Search(trials=-1), "search.trials is -1; it must be 0 or more."),
    "arm's change": (
        lambda: Arm("a", VIT, changes={"learning_rate": 1}),
        "Arm 'a' changes 'learning_rate'; name a field as recipe.FIELD or data.FIELD.",
    ),
    "arm's name": (
        lambda: Arm(" ", VIT),
        "Arm name is ' '; it must be printable, without blanks at its ends.",
    ),
    "a blank at an end": (
        lambda: Arm("ViT/4 ", VIT),
        "Arm name is 'ViT/4 '; it must be printable, without blanks at its ends.",
    ),
    "a blank at a series' start": (
        lambda: Arm("ViT/4", VIT, series=" ViT"),
        "Arm series is ' ViT'; it must be printable, without blanks at its ends.",
    ),
    "unprintable": (
        lambda: Arm("a\nb", VIT),
        "Arm name is 'a\\nb'; it must be printable, without blanks at its ends.",
    ),
    "claim's metric": (
        lambda: Better(arm="a", than="b", metric="accuracy", **SAID),
        "Better.metric is 'accuracy'; it must be one of 'test_accuracy', 'test_loss', 'validation_accuracy', "
        "'train_images_per_second', 'eval_images_per_second', 'shifted_accuracy', 'shift_agreement', "
        "'few_shot_accuracy', 'balanced_accuracy', 'top5_accuracy', 'macs_per_image', 'attention_macs_per_image', "
        "'train_seconds', 'peak_memory_bytes', 'params', None.",
    ),
    "claim's source": (
        lambda: Better(arm="a", than="b", statement="It holds.", source=" "),
        "Better.source is empty; name the paper, figure or table.",
    ),
    "claim's width": (
        lambda: Equivalent(arm="a", to="b", within=0, **SAID),
        "Equivalent.within is 0.0; it must be above 0.",
    ),
    "claim's factor": (
        lambda: CostGrows(along="depth", direction="up", factor=0.5, **SAID),
        "CostGrows.factor is 0.5; it must be 1 or more.",
    ),
    "two arms of one name": (
        lambda: study(arms=(SMALL, replace(LARGE, name="small"))),
        "Two arms are called 'small'; every arm needs a name of its own.",
    ),
    "the baseline's name": (
        lambda: study(arms=(replace(SMALL, name="ResNet-8"),)),
        "Two arms are called 'ResNet-8'; every arm needs a name of its own.",
    ),
    "equal arms": (
        lambda: study(arms=(SMALL, replace(SMALL, name="same", level=4))),
        "Arm 'same' equals arm 'small': same model, recipe and data.",
    ),
    "an arm that changes nothing": (
        lambda: study(arms=(SMALL, replace(SMALL, name="same", changes={"recipe.batch_size": 128}))),
        "Arm 'same' equals arm 'small': same model, recipe and data.",
    ),
    "claim on an unknown arm": (
        lambda: study(claims=(Better(arm="smal", than="ResNet-8", **SAID),)),
        "No arm is called 'smal'. Did you mean 'small'? Valid: ResNet-8, small, large.",
    ),
    "levels out of order": (
        lambda: study(
            arms=(SMALL, replace(LARGE, level=1), Arm("last", vit(depth=3), level=3)),
            claims=(Monotone(metric="test_accuracy", along="patch_size", direction="up", **SAID),),
        ),
        "Monotone along 'patch_size' needs arms with numeric levels in order; the levels are [2.0, 1.0, 3.0].",
    ),
    "levels that are equal": (
        lambda: study(
            arms=(SMALL, replace(LARGE, level=2)), claims=(CostGrows(along="patch_size", direction="up", **SAID),)
        ),
        "CostGrows along 'patch_size' needs arms with numeric levels in order; the levels are [2.0, 2.0].",
    ),
    "levels of text": (
        lambda: study(
            arms=(SMALL, replace(LARGE, level="large")),
            claims=(CostGrows(along="patch_size", direction="up", **SAID),),
        ),
        "CostGrows along 'patch_size' needs arms with numeric levels in order; the levels are [2.0, 'large'].",
    ),
    "claim along another factor": (
        lambda: study(claims=(Monotone(metric="test_loss", along="train_size", direction="up", arm="small", **SAID),)),
        "Monotone.along is 'train_size'; it must be one of 'patch_size'.",
    ),
    "no seeds": (lambda: study(seeds=()), "seeds is (); at least one is needed, each once."),
    "seed twice": (lambda: study(seeds=(1, 2, 1)), "seeds is (1, 2, 1); at least one is needed, each once."),
    "tuning seed": (
        lambda: study(seeds=(1_000_000,)),
        "study.seeds is 1000000; it must lie in [0, 999999].",
    ),
    "sizes": (lambda: study(train_sizes=(200, 100)), "train_sizes is (200, 100); they must ascend, each once."),
    "size": (lambda: study(train_sizes=(0, 100)), "study.train_sizes is 0; it must be 1 or more."),
    "searched field": (
        lambda: study(search=Search(space={"learning_rat": Uniform(low=0, high=1)})),
        "search tunes 'learning_rat', which arm 'ResNet-8' does not have: 'learning_rat' is not a field of "
        "Recipe. Did you mean 'learning_rate'? Valid: updates, epochs, images, least_epochs, batch_size, accumulate, "
        "optimizer, sam_radius, learning_rate, weight_decay, momentum, schedule, warmup, clip_norm, label_smoothing, "
        "ema_decay, precision, compile, evaluations, augmentation, distillation, start_from.",
    ),
    "changed field": (
        lambda: study(arms=(Arm("a", VIT, changes={"recipe.warmup": 2}),)),
        "Arm 'a' changes recipe.warmup: recipe.warmup is 2.0; it must lie in [0, 1].",
    ),
    "a field of a number": (
        lambda: replace_at(RECIPE, "warmup.share", 1),
        "'share' is not a field of float. Valid: none.",
    ),
}


@pytest.mark.parametrize(("make", "message"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_says_value_rule_and_remedy(make, message):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert str(caught.value) == message


def test_a_good_study_is_a_study():
    rising = Monotone(metric="test_accuracy", along="patch_size", direction="up", **SAID)
    assert study(claims=(rising,)).all_arms[1:] == (SMALL, LARGE)
    assert study(arms=(LARGE, SMALL), claims=(rising,)).arms == (LARGE, SMALL)  # falling levels are in order too
    assert [(arm.name, size) for arm, size in study(train_sizes=(10, 20), arms=(SMALL,)).cells] == [
        ("ResNet-8", 10), ("small", 10), ("ResNet-8", 20), ("small", 20)
    ]  # fmt: skip


def test_what_is_given_to_a_study_can_be_changed_outside_without_effect():
    changes, space = {"recipe.warmup": 0.1}, {"learning_rate": Uniform(low=0, high=1)}
    arm, search = Arm("a", VIT, changes=changes), Search(space=space, by_family={"vit": space})
    changes["recipe.warmup"] = 0.2
    space.clear()
    assert arm.changes == {"recipe.warmup": 0.1}
    assert list(search.space) == list(search.by_family["vit"]) == ["learning_rate"]
    with pytest.raises(TypeError):
        arm.changes["recipe.warmup"] = 0.3


@pytest.mark.parametrize("spec", [SMALL, study(), Search(), Uniform(low=0, high=1), Better(arm="a", than="b", **SAID)])
def test_parts_of_a_study_do_not_change(spec):
    name = next(iter(vars(spec)))
    with pytest.raises(FrozenInstanceError):
        setattr(spec, name, 1)


def test_nearest_names_the_likely_ones_first_and_always_all():
    assert (
        nearest("learning-rate", ["warmup", "learning_rate"])
        == "Did you mean 'learning_rate'? Valid: warmup, learning_rate."
    )
    assert nearest("xyz", ["warmup", "momentum"]) == "Valid: warmup, momentum."


# --- study files ------------------------------------------------------------------------------------------------------

GOOD = """from harness.spec import *
AT = Scale(
    data=DataSpec(source="digits"),
    recipe=Recipe(updates=3),
    baseline=Arm("ResNet-8", ResNetSpec(depth=8)),
    arms=(Arm("ViT", ViTSpec(patch_size=4, width=8, depth=1, heads=1)),),
)
STUDY = Study(question="Does it?", source="-", factor="depth", scales={"smoke": AT})
"""


@pytest.fixture
def study_file(tmp_path):
    def write(content, name="my_study.py"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


def test_a_users_study_is_found_by_its_path(study_file):
    name, found = find_study(str(study_file(GOOD)))
    assert name == "my_study"
    assert isinstance(found.scales["smoke"], Scale)
    assert found.resolve(name, "smoke").name == "my_study"


def test_a_users_study_is_read_anew_each_time(study_file):
    find_study(str(study_file(GOOD)))
    _, found = find_study(str(study_file(GOOD.replace("Does it?", "Does it now?"))))
    assert found.question == "Does it now?"


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("x = 1\ny = (\n", 2, "SyntaxError: '(' was never closed"),
        (
            GOOD.replace("updates=3", "updtes=3"),
            4,
            "TypeError: Recipe.__init__() got an unexpected keyword",
        ),
        (GOOD.replace("updates=3", "updates=0"), 4, "InvalidInput: recipe.updates is 0; it must be 1 or more."),
        (GOOD.replace("it?", "it."), 8, "InvalidInput: Study.question is 'Does it.'; it must end in '?'."),
        (GOOD + "import nothing_of_the_kind\n", 9, "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
    ],
    ids=["syntax", "unknown field", "impossible value", "question", "import"],
)
def test_an_error_in_a_study_file_names_file_and_line(study_file, content, line, message):
    path = study_file(content)
    with pytest.raises(InvalidInput) as caught:
        find_study(str(path))
    assert str(caught.value).startswith(f"{path}:{line}: {message}")


def test_an_error_is_placed_however_the_path_is_written(study_file, monkeypatch):
    path = study_file(GOOD.replace("updates=3", "updates=0"))
    monkeypatch.chdir(path.parent)
    with pytest.raises(InvalidInput, match=r"^my_study\.py:4: InvalidInput: recipe\.updates"):
        find_study("my_study.py")


@pytest.mark.parametrize("content", ["", "STUDY = 3\n", "study = None\n"])
def test_a_file_without_a_study_is_named(study_file, content):
    path = study_file(content)
    with pytest.raises(InvalidInput) as caught:
        find_study(str(path))
    assert str(caught.value) == f"{path} defines no STUDY; it must hold `STUDY = Study(...)`."


def test_a_study_file_that_is_not_there_is_named():
    with pytest.raises(InvalidInput, match=r"^There is no study file nowhere\.py\. Give the path of an existing"):
        find_study("nowhere.py")


def test_an_unknown_study_or_scale_names_its_neighbours():
    with pytest.raises(InvalidInput) as caught:
        find_study("patch_sise")
    assert str(caught.value).startswith("There is no study 'patch_sise'. Did you mean 'patch_size'")
    assert str(caught.value).endswith(f"Valid: {', '.join(study_names())}.")
    name, found = find_study("patch_size")
    with pytest.raises(InvalidInput, match=r"^Study 'patch_size' has no scale 'smok'\. Did you mean 'smoke'\? Valid: "):
        found.resolve(name, "smok")
    assert isinstance(found, Study)
