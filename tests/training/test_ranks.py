"""Processes that train together: what they compute over the whole batch."""

import threading

import pytest
import torch
from torch import nn

from harness.spec import InvalidInput
from harness.training import ranks

CPU = torch.device("cpu")


class Exchange:
    """`all_reduce` between threads in the place of processes."""

    def __init__(self, size):
        self.size, self.barrier, self.given = size, threading.Barrier(size, timeout=30), {}

    def all_reduce(self, value):
        self.given[threading.get_ident()] = value.clone()
        self.barrier.wait()
        summed = torch.stack(list(self.given.values())).sum(0)
        self.barrier.wait()
        value.copy_(summed)

    def in_each(self, function):
        """What `function(rank)` gives in each of them."""
        found = [None] * self.size

        def call(rank):
            found[rank] = function(rank)

        threads = [threading.Thread(target=call, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


@pytest.fixture
def exchange(monkeypatch):
    made = Exchange(2)
    monkeypatch.setattr(ranks.dist, "all_reduce", made.all_reduce)
    monkeypatch.setattr(ranks.dist, "get_world_size", lambda: made.size)
    return made


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, (8, 5)), (nn.BatchNorm1d, (8, 5, 3)), (nn.BatchNorm2d, (8, 5, 4, 4))]
)
@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}])
def test_batch_norm_is_that_of_the_whole_batch(exchange, kind, shape, settings):
    torch.manual_seed(0)
    whole, images = kind(5, **settings), 3 + 2 * torch.randn(2, *shape)
    weights = torch.randn(shape)  # of the loss, so that its gradient is not 0
    parts = [nn.Sequential(kind(5, **settings)) for _ in range(2)]
    for model in (whole, *parts):
        for parameter in model.parameters():
            nn.init.constant_(parameter, 1.5)

    def trained(model, steps, part):
        for step in steps:
            inputs = step[part].clone().requires_grad_()
            output = model(inputs)
            (output * weights[part]).sum().backward()
        return output.detach(), inputs.grad

    output, gradient = trained(whole, images, slice(None))
    synchronised = [ranks.synchronise(part, CPU) for part in parts]
    halves = (slice(0, 4), slice(4, 8))
    found = exchange.in_each(lambda rank: trained(synchronised[rank], images, halves[rank]))
    torch.testing.assert_close(torch.cat([made[0] for made in found]), output)
    torch.testing.assert_close(torch.cat([made[1] for made in found]), gradient)
    for name, parameter in whole.named_parameters():
        own = [dict(part[0].named_parameters())[name].grad for part in synchronised]
        torch.testing.assert_close(own[0] + own[1], parameter.grad)
    for part in synchronised:
        assert part[0].state_dict().keys() == whole.state_dict().keys()
        for name, kept in whole.state_dict().items():
            torch.testing.assert_close(part[0].state_dict()[name], kept)
        torch.testing.assert_close(part.eval()(images[0]), whole.eval()(images[0]))


def test_a_layer_that_looks_at_a_batch_in_its_own_way_is_refused():
    class Own(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).relu()

    with pytest.raises(InvalidInput, match=r"The model has Own.*nn\.BatchNorm2d"):
        ranks.check_layers(nn.Sequential(nn.Conv2d(3, 8, 3), Own(8)))
    ranks.check_layers(nn.Sequential(nn.BatchNorm2d(3), nn.LayerNorm(3), nn.InstanceNorm2d(3)))


def test_a_process_alone_has_what_it_gives():
    value = torch.tensor(3.0)
    assert ranks.ALONE.mean(value) is value
    assert ranks.ALONE.shared(value) is value
    assert ranks.ALONE.gathered(5) == [5]
    assert ranks.ALONE.decided(True, False) == [True, False]
