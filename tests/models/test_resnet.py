import pytest
import torch
import torchvision
from torch.nn import functional as F  # noqa: N812

from harness.models import build, parameters
from harness.models.resnet import BasicBlock
from harness.spec import ResNetSpec


@pytest.mark.parametrize("depth", [18, 50])
def test_logits_equal_torchvisions(depth):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=7).eval()
    ours = build(ResNetSpec(depth=depth, stem="imagenet"), image_size=64, channels=3, classes=7).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize(
    ("spec", "image_size", "channels", "classes", "count"),
    [
        (ResNetSpec(depth=18, stem="imagenet"), 224, 3, 1000, 11_689_512),
        (ResNetSpec(depth=34, stem="imagenet"), 224, 3, 1000, 21_797_672),
        (ResNetSpec(depth=50, stem="imagenet"), 224, 3, 1000, 25_557_032),
        (ResNetSpec(depth=18), 32, 3, 10, 11_173_962),
        (ResNetSpec(depth=20), 32, 3, 10, 269_722),  # '0.27M' in table 6 of arXiv 1512.03385
    ],
)
def test_parameter_counts_are_the_published_ones(spec, image_size, channels, classes, count):
    with torch.device("meta"):
        assert parameters(build(spec, image_size=image_size, channels=channels, classes=classes)) == count


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_small_nets_have_as_many_weighted_layers_as_their_name_says(depth):
    model = build(ResNetSpec(depth=depth, width=4), image_size=8, channels=1, classes=3)
    assert sum(parameter.ndim > 1 for parameter in model.parameters()) == depth


def test_the_shortcut_takes_every_second_pixel_and_pads_channels_with_zeros():
    block = BasicBlock(2, 5, stride=2).eval()
    torch.nn.init.zeros_(block.bn2.weight)  # leaves the shortcut only
    x = torch.rand(3, 2, 7, 7)
    out = block(x)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2])
    assert out.shape == (3, 5, 4, 4)
    assert not out[:, 2:].any()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "spec", [ResNetSpec(depth=8, width=4), ResNetSpec(depth=18), ResNetSpec(depth=18, stem="imagenet")]
)
def test_every_net_trains_in_both_memory_formats(spec, channels, memory_format):
    model = build(spec, image_size=32, channels=channels, classes=3).to(memory_format=memory_format)
    images = torch.randn(4, channels, 32, 32).to(memory_format=memory_format)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_memory_format_does_not_change_the_logits():
    model = build(ResNetSpec(depth=14, width=4), image_size=16, channels=3, classes=3).eval()
    images = torch.randn(2, 3, 16, 16)
    expected = model(images)
    found = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_same_seed_gives_the_same_parameters():
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build(ResNetSpec(depth=8), image_size=8, channels=1, classes=3))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_stack_of_models_runs_under_vmap():
    models = [build(ResNetSpec(depth=8, width=4), image_size=8, channels=1, classes=3).eval() for _ in range(3)]
    parameters_, buffers = torch.func.stack_module_state(models)
    images = torch.randn(2, 1, 8, 8)

    def forward(p, b):
        return torch.func.functional_call(models[0], (p, b), (images,))

    together = torch.func.vmap(forward)(parameters_, buffers)
    torch.testing.assert_close(together, torch.stack([model(images) for model in models]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("depth", [8, 18])
def test_images_of_another_shape_are_refused(depth):
    model = build(ResNetSpec(depth=depth), image_size=8, channels=1, classes=3)
    with pytest.raises(ValueError, match=r"Expected images \(B, 1, 8, 8\) of .*; found \(2, 3, 8, 8\) "):
        model(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_all_gradients_of_a_channels_last_net_are_channels_last(precision):
    """One that is not makes each sum and product with it many times slower, which no result would show."""
    model = build(ResNetSpec(depth=14, width=8), image_size=28, channels=1, classes=10)
    model.to(memory_format=torch.channels_last)
    formats = {}

    def note(name):
        def hook(module, gradients_in, gradients_out):
            formats[name] = gradients_out[0].is_contiguous(memory_format=torch.channels_last)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.BatchNorm2d)):
            module.register_full_backward_hook(note(name))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = model(torch.randn(4, 1, 28, 28).requires_grad_())
    logits.float().square().sum().backward()
    assert len(formats) == 2 * 13
    assert all(formats.values()), formats
