"""Images that cannot be made as asked are refused when a study is read, with the rule."""

from dataclasses import replace

import pytest

from harness.execution.overrides import override
from harness.spec import Arm, DataSpec, InvalidInput, Recipe, ResNetSpec, ResolvedStudy, Search, ViTSpec, canonical_json
from harness.spec.checks import check_types
from harness.spec.procedural import Cued, Scattered

STUDY = ResolvedStudy(
    name="tiny",
    scale="smoke",
    question="Does it?",
    source="a test",
    factor="patch_size",
    data=DataSpec(source="scattered"),
    recipe=Recipe(updates=8, batch_size=16, evaluations=1),
    baseline=Arm("ResNet", ResNetSpec(depth=8, width=4)),
    arms=(Arm("ViT", ViTSpec(patch_size=4, width=16, depth=1, heads=2)),),
    search=Search(),
)

REFUSED = {
    "an object larger than the image": (
        ["data.scattered.largest=17"],
        "smallest is 8 and largest 17, and images have 16 pixels (data.scattered.side); an object must not be larger",
    ),
    "sizes the wrong way round": (["data.scattered.smallest=14"], "the smallest size must not be above the largest"),
    "passes over what has no end": (
        ["data.train_size=unlimited", "recipe.epochs=3"],
        "recipe.epochs is 3.0, but data.train_size is unlimited: such a training never ends a pass. Set recipe.updates",
    ),
    "passes where no size is given": (["recipe.epochs=3"], "data.train_size is unlimited"),
    "an unlimited set that has a number of images": (
        ["data.source=digits", "data.train_size=unlimited"],
        "data.train_size is unlimited; digits has a number of images. Give a number, or a source whose images are made",
    ),
    "patches that do not divide the side": (["data.scattered.side=18"], "18"),
    "moved patches that do not": (["data.moved_share=1", "data.moved_patch=5"], "it must divide the image side of 16"),
    "another size than the images'": (
        ["data.image_size=32"],
        "data.image_size is 32, and scattered makes images of 16 pixels: leave it out, or set data.scattered.side",
    ),
    "settings of another source": (
        ["data.source=digits", "data.scattered.noise=.2"],
        "data.scattered says how the images of data.source=scattered are made; the source is digits",
    ),
    "glyphs that overlap": (
        ["data.source=cued", "data.cued.glyph=12"],
        "3 glyphs of 12 pixels, each moved by up to 1, take 14 pixels each, and a 32-pixel image has 10 for each",
    ),
    "a cue on a glyph": (
        ["data.source=cued", "data.cued.distance=6"],
        "data.cued.distance is 6; it must be 7 to 25 for glyphs of 8 pixels, a jitter of 1 and images of 32",
    ),
    "a cue outside": (["data.source=cued", "data.cued.distance=26"], "it must be 7 to 25"),
    "no such objects": (["data.scattered.objects=letters"], "Valid: digits, fashion_mnist, imagefolder:PATH."),
    "too much noise": (["data.scattered.noise=1.5"], "data.scattered.noise is 1.5"),
    "no such field": (["data.scattered.noisy=1"], "noisy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_at_load(case):
    overrides, told = REFUSED[case]
    with pytest.raises(InvalidInput) as raised:
        override(STUDY, overrides)
    assert told in str(raised.value)


def test_what_is_impossible_after_one_override_may_be_possible_after_the_next():
    found = override(STUDY, ["data.scattered.largest=28", "data.scattered.side=32", "data.train_size=unlimited"])
    assert found.data.scattered == replace(Scattered(), largest=28, side=32)
    assert found.data.known_image_size == 32


@pytest.mark.parametrize(("distance", "jitter", "side"), [(7, 1, 32), (25, 1, 32), (5, 0, 30), (25, 0, 30)])
def test_the_nearest_and_the_farthest_cue_are_allowed(distance, jitter, side):
    Cued(distance=distance, jitter=jitter, side=side).check()


def test_a_training_size_is_a_number_or_unlimited():
    check_types(DataSpec(train_size="unlimited"))
    for wrong in ("all", 0, -1, 1.5):
        with pytest.raises(InvalidInput, match=r"data\.train_size is"):
            DataSpec(train_size=wrong)


def test_other_sources_are_kept_as_before():
    assert "scattered" not in canonical_json(DataSpec())
    assert "cued" not in canonical_json(DataSpec())
    assert '"scattered":{' in canonical_json(DataSpec(source="scattered", scattered=Scattered(noise=0.2)))
