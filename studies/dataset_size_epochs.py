"""How many training images does a vision transformer need to catch up with a ResNet, at equal epochs?

Source: arXiv 2010.11929, section 4.3 and Fig. 4. The images and models of `dataset_size`, as they are, in the other
protocol of the literature: every size gets the same number of passes over its images, so that a smaller set is also
seen in fewer updates (500 images at scale laptop in 117; the largest size in as many as there). What is lost with less
data here is lost to both: fewer images and less training. Trials are half as long as the training at their size.

Expected: the ResNet leads everywhere, and by more than at equal updates where updates are few, because the vision
transformer needs more of them.

Cost: smoke 30 s, laptop 9 min on 2 cores; `make study NAME=dataset_size_epochs [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Study
from studies import _recipes as r
from studies.dataset_size import ANSWER, GPU, LAPTOP, PAPER, SMOKE, SOURCE

STUDY = Study(
    question="How many training images does a vision transformer need to catch up with a ResNet, at equal epochs?",
    source=SOURCE,
    factor="architecture",
    group="data and bias",
    answer=ANSWER,
    scales={
        "smoke": replace(SMOKE, recipe=replace(r.SMOKE, updates=None, epochs=10.0), minutes=0.5),
        "laptop": replace(
            LAPTOP,
            recipe=replace(LAPTOP.recipe, updates=None, epochs=15.0),
            search=replace(LAPTOP.search, updates=None, share=0.5),
            minutes=9,
        ),
        "gpu": replace(GPU, recipe=r.GPU, minutes=387),
        "paper": replace(PAPER, recipe=r.PAPER),
    },
    changes_after_first_look=r.at_laptop(
        "Scale laptop was first run on images of 28 px, augmented, with larger models, 8 passes and 250 to 16,000 "
        "images. Now it has the images and models of `dataset_size`, and 15 passes, those of its largest size."
    ),
)
