"""Everything of an update and of an evaluation happens on the device that trains, and no update waits for it.

There may be no such device here: torch's fake tensors have one all the same. They hold no numbers, but refuse to be
mixed with tensors of another device, which is what goes wrong on a real one.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode
from training_cases import RECIPE, RESNET, VIT

from harness.data import sending, splits
from harness.data.photographs import Reading
from harness.data.splits import Batches, Inputs, Split, StreamedSplit
from harness.models import build, family_of
from harness.spec import Augmentation, Distillation
from harness.training import evaluation, loop, state
from harness.training.checkpoint import _made_by
from harness.training.device import Placement, has_fast_bf16
from harness.training.evaluation import evaluate_shifted
from harness.training.optimizer import build_optimizers
from harness.training.stability import Watch

CUDA = torch.device("cuda", 0)
MODELS = {
    "vit": replace(VIT, dropout=0.1, stochastic_depth=0.1),
    "positions": replace(VIT, patch_size=2, position="sincos_2d", pool="mean"),
    "relative": replace(VIT, patch_size=2, position="relative"),
    "hybrid": replace(VIT, stem="hybrid"),
    "resnet": RESNET,
}
AUGMENTATIONS = {
    "plain": Augmentation(),
    "all": Augmentation(shift=1, flip=True, erase=0.5, mixup=0.2, cutmix=1.0),
}


@pytest.fixture
def fake(monkeypatch):
    """A mode in which tensors are fake; a number taken from one is a symbol."""
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: None)  # autograd's threads want a real device
    monkeypatch.setattr("harness.models.vit._truncated_normal", lambda parameter, sd: None)  # looks at what it drew
    with FakeTensorMode(shape_env=ShapeEnv()):
        yield


def moved(model):
    """What `Module.to` does with real tensors: parameters and buffers, and nothing else, go to the device."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(parameter.detach().to(CUDA)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(CUDA))
    return model


def fake_training(spec, augmentation, **changes):
    """A training as `prepare_training` makes it on a CUDA device, built by hand: fake tensors know no values."""
    placement = Placement(device=CUDA, autocast_dtype=None)  # autocast wants a real device
    model = moved(build(spec, image_size=8, channels=1, classes=10))
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8, device=CUDA)
    split = Split(images, torch.zeros(40, dtype=torch.long, device=CUDA))
    training = state.Training(
        recipe=replace(RECIPE, augmentation=augmentation, accumulate=3, label_smoothing=0.1),
        placement=placement,
        model=model,
        average=None,
        optimizers=[],
        watch=Watch(model, family_of(spec).inside(model, spec), CUDA, hears_blocks=True, updates=100),
        batches=Batches(split, range_of(40), 16, seed=0),
        inputs=on_the_device(),
        classes=10,
        patch_sizes=torch.Generator(),
        augmentation=None,  # no generator of a device that is not there; the draws fall to the global one
        learning_rates=[0.1] * 12,
        images_per_pass=1000,
        loss_sum=torch.zeros((), device=CUDA),
        last_loss=torch.zeros((), device=CUDA),
    )
    return replace(training, **changes), split


def on_the_device():
    return Inputs(mean=torch.zeros(1, device=CUDA), std=torch.ones(1, device=CUDA), moved=None)


class range_of:  # noqa: N801
    """Indices that list themselves, as fake ones cannot."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def tolist(self):
        return list(range(self.n))


def first_batch(training):
    return next(training.batches.between(0, 1))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_an_update_up_to_its_loss_stays_on_its_device(spec, augmentation):
    training, _ = fake_training(spec, augmentation)
    images, labels = first_batch(training)
    assert images.device == labels.device == CUDA
    loss = loop._update(training, images, labels)
    assert loss.device == training.loss_sum.device == CUDA


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_an_evaluation_stays_on_its_device_until_its_end(spec):
    training, split = fake_training(spec, Augmentation())
    found = loop.evaluate(training, split)
    assert found.labels.device == found.predicted.device == torch.device("cpu")
    assert found.predicted.shape == (40,)


class AsApples(TorchDispatchMode):
    """Refuses numbers of float64 on the device, as a GPU of Apple's does."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and (made.device.type, made.dtype) == ("cuda", torch.float64):
            raise TypeError(f"{function}: the MPS framework doesn't support float64")
        return made


@pytest.fixture
def apples(fake, monkeypatch):
    """A device that lacks what Apple's GPUs lack; torch has no fake one that it could do more than a sum on."""
    monkeypatch.setattr("torch.nn.utils.clip_grad._has_foreach_support", lambda tensors, device: False)
    monkeypatch.setattr("torch.nn.utils.clip_grad._device_has_foreach_support", lambda device: False)
    with AsApples():
        yield


@pytest.mark.usefixtures("apples")
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_updates_and_evaluations_do_without_what_apples_gpus_lack(spec, augmentation):
    training, split = fake_training(spec, augmentation)
    training.recipe = replace(training.recipe, clip_norm=1.0)
    for parameter in training.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert loop._update(training, *first_batch(training)).device == CUDA
    assert loop.evaluate(training, split).predicted.shape == (40,)


@pytest.mark.usefixtures("apples")
def test_what_apples_gpus_lack_is_refused():
    """The test above can fail: this is how."""
    with pytest.raises(TypeError, match="float64"):
        torch.zeros(1, device=CUDA).double()
    with pytest.raises(RuntimeError, match="foreach"):
        torch.nn.utils.get_total_norm([torch.zeros(1, device=CUDA)], foreach=True)


def order_on(device):
    return torch.arange(64, device=device)


@pytest.mark.usefixtures("fake")
def test_moved_patches_and_a_teacher_stay_on_the_device():
    teacher = moved(build(RESNET, image_size=8, channels=1, classes=10)).eval()
    training, split = fake_training(replace(VIT, distillation_token=True), AUGMENTATIONS["all"])
    recipe = replace(training.recipe, distillation=Distillation(teacher=RESNET, learning_rate=0.1))
    training = replace(training, recipe=recipe, teacher=teacher, inputs=replace(training.inputs, moved=order_on(CUDA)))
    loss = loop._update(training, *first_batch(training))
    assert loss.device == CUDA
    assert loop.evaluate(training, split).predicted.shape == (40,)


@pytest.mark.usefixtures("fake")
def test_the_test_of_shifted_images_stays_on_the_device_until_its_end(monkeypatch):
    monkeypatch.setattr(evaluation, "Shift", dict)  # which takes the symbols for numbers
    training, split = fake_training(VIT, Augmentation())
    found = evaluate_shifted(training, split, torch.zeros(40, dtype=torch.int64), (1, 2), lambda: None)
    assert [shift["pixels"] for shift in found] == [1, 2]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("name", ["mean", "std", "loss_sum", "moved"])
def test_a_tensor_on_another_device_is_refused(name):
    """The two tests above can fail: this is how."""
    training, _ = fake_training(VIT, Augmentation())
    here = order_on("cpu") if name == "moved" else torch.ones(() if name == "loss_sum" else 1)
    images, labels = first_batch(training)
    if name == "loss_sum":
        training = replace(training, loss_sum=here)
    else:
        training = replace(training, inputs=replace(training.inputs, **{name: here}))
    with pytest.raises(RuntimeError, match="device"):
        loop._update(training, images, labels)


@pytest.mark.usefixtures("fake")
def test_a_model_left_on_the_host_is_refused():
    training, split = fake_training(VIT, Augmentation())
    training = replace(training, model=build(VIT, image_size=8, channels=1, classes=10))
    with pytest.raises(RuntimeError, match="device"):
        loop.evaluate(training, split)


class Waits(TorchDispatchMode):
    """Notes what makes the host wait for the device: numbers read from it, and copies that are not sent ahead."""

    def __init__(self):
        super().__init__()
        self.seen, self._pinned = [], {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given, name = kwargs or {}, function.overloadpacket._qualified_op_name.partition("::")[2]
        before = args[0].device.type if args and isinstance(args[0], torch.Tensor) else ""
        made = function(*args, **given)
        after = made.device.type if isinstance(made, torch.Tensor) else ""
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal") and before == "cuda":
            self.seen.append(name)
        if name == "index" and any(at is not None and at.dtype == torch.bool for at in args[1]):
            self.seen.append("index by a mask")
        if name == "_to_copy" and {before, after} == {"cpu", "cuda"}:
            is_ahead = given.get("non_blocking") and (before == "cuda" or place(args[0]) in self._pinned)
            self.seen += [] if is_ahead else [f"a copy from {before} to {after}"]
        if name == "copy_" and args[1].device != args[0].device and args[1].numel() > 1:
            self.seen.append("a copy in place")
        if given.get("pin_memory"):
            self._pinned[place(made)] = made  # which keeps its place
        return made


def place(tensor):
    return tensor.untyped_storage()._cdata


@pytest.fixture
def waits(fake, monkeypatch):
    monkeypatch.setattr("harness.training.optimizer.has_fast_bf16", lambda device: True)
    with Waits() as found:
        yield found


@pytest.mark.parametrize(
    ("spec", "augmentation", "recipe"),
    [
        (MODELS["vit"], "all", {"optimizer": "adamw", "ema_decay": 0.9}),
        (MODELS["relative"], "plain", {"optimizer": "muon"}),
        (replace(VIT, patch_dropout=0.5, rotary=100.0), "plain", {"optimizer": "sgd", "sam_radius": 0.05}),
        (RESNET, "all", {"optimizer": "schedule_free", "schedule": "constant"}),
    ],
    ids=["vit", "relative", "patch dropout", "resnet"],
)
def test_an_update_waits_for_nothing(waits, spec, augmentation, recipe):
    """With the reading of its batch: the device is given the next update before it has done this one."""
    training, _ = fake_training(spec, AUGMENTATIONS[augmentation])
    training.recipe = replace(training.recipe, **recipe)
    training.average = fake_training(spec, Augmentation())[0].model if training.recipe.averages else None
    training.optimizers = build_optimizers(training.model, training.recipe, training.average)
    for parameter in training.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    waits.seen.clear()  # of moving the model
    loop._update(training, *first_batch(training))
    assert not waits.seen


def test_images_from_the_disk_are_sent_ahead(waits, monkeypatch):
    monkeypatch.setattr("numpy.stack", lambda arrays, out: None)  # fake tensors have no memory to write to
    monkeypatch.setattr(torch.Tensor, "numpy", lambda tensor: None)
    reading = Reading(side=8, channels=3, fit="crop", background=(0, 0, 0))
    split = StreamedSplit(
        source=None, positions=None, labels=torch.zeros(9, dtype=torch.long), reading=reading, crops=False,
        threads=1, device=CUDA, pixels=None,
    )  # fmt: skip
    images, labels = split._batch(torch.arange(4), iter(()))
    assert images.shape == (4, 3, 8, 8)
    assert images.device == labels.device == CUDA
    assert not waits.seen


def test_images_that_a_card_does_not_hold_are_sent_ahead_from_the_host(waits):
    split = Split(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), torch.zeros(9, dtype=torch.long, device=CUDA))
    ((images, labels),) = split.read([torch.arange(4)])
    assert images.shape == (4, 3, 8, 8)
    assert split.device == images.device == labels.device == CUDA
    assert not waits.seen


def test_images_lie_on_a_card_with_room_for_much_more(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 9000))
    assert [sending.fits(size, CUDA) for size in (1000, 1001)] == [True, False]
    assert sending.fits(10**15, torch.device("cpu"))
    pixels, meta = np.arange(36, dtype=np.uint8).reshape(9, 1, 2, 2), torch.device("meta")
    for is_there in (True, False):
        monkeypatch.setattr(splits, "fits", lambda size, device, answer=is_there: answer)
        made = splits.split(pixels, np.arange(9), meta)
        assert made.device == made.labels.device == meta
        assert made.images.device.type == ("meta" if is_there else "cpu")


def test_what_makes_the_host_wait_is_seen(waits):
    """The tests above can fail: this is how."""
    numbers = torch.zeros(3, device=CUDA)
    numbers.sum().item()
    numbers[numbers > 0]
    torch.tensor([1.0, 2.0], device=CUDA)
    torch.arange(3).to(CUDA, non_blocking=True)  # from memory that is not pinned
    numbers.cpu()
    found = ["_local_scalar_dense", "index by a mask", *["a copy from cpu to cuda"] * 2, "a copy from cuda to cpu"]
    assert waits.seen == found


@pytest.fixture
def events(monkeypatch):
    """What happens, in order: updates that are given to the device, marks behind them, and waiting for such a mark."""
    found = []

    class Event:
        def __init__(self, *, blocking):
            self.number = sum(name == "marked" for name, _ in found)

        def record(self, stream):
            found.append(("marked", self.number))

        def synchronize(self):
            found.append(("waited", self.number))

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: found.append(("waited", "all")))
    return found


def test_a_loss_is_waited_for_once_the_next_update_is_under_way(waits, events, monkeypatch):
    """So that the device has always something to do; before an evaluation all is waited for."""
    training, _ = fake_training(VIT, Augmentation())
    training.recipe = replace(training.recipe, updates=4, evaluations=2)
    update = loop._update

    def given(training, *batch):
        events.append(("given", training.update + 1))
        return update(training, *batch)

    monkeypatch.setattr(loop, "_update", given)
    monkeypatch.setattr(loop, "require_finite", lambda *_: None)
    monkeypatch.setattr(Watch, "loss", lambda watch, loss: None)
    waits.seen.clear()  # of moving the model
    for _ in loop.run_updates(training):
        pass
    assert events == [
        *[("marked", 0), ("given", 1), ("waited", 0), ("marked", 1)],
        *[("given", 2), ("waited", 1), ("marked", 2), ("waited", "all")],
        *[("given", 3), ("waited", 2), ("marked", 3)],
        *[("given", 4), ("waited", 3), ("marked", 4), ("waited", "all")],
    ]
    assert waits.seen == ["_local_scalar_dense"]  # the last loss


def test_a_card_is_asked_for_what_it_can_itself(monkeypatch):
    """The first of two cards, an older one, says nothing of the second."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5) if device.index == 0 else (8, 0))
    assert [has_fast_bf16(torch.device("cuda", index)) for index in (0, 1)] == [False, True]


def test_a_state_goes_on_where_its_numbers_do(monkeypatch):
    """On a card whatever the threads of the host, but on the same card, and with the same kernels."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100" if device.index == 0 else "H100")
    one, other = (_made_by(Placement(device=torch.device("cuda", index), autocast_dtype=None)) for index in (0, 1))
    assert one != other
    strict = Placement(device=CUDA, autocast_dtype=None, deterministic=True)
    assert _made_by(strict) != one
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert _made_by(Placement(device=CUDA, autocast_dtype=None)) == one
    assert _made_by(Placement(device=torch.device("cpu"), autocast_dtype=None))["threads"] == 64


def test_a_full_card_that_cannot_even_be_asked_is_held_by_others(monkeypatch):
    def full(device):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", full)
    assert Placement(device=CUDA, autocast_dtype=None).bytes_of_others() > 0
