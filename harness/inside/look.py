"""All that is looked at in one model, on some test images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.inside.attention import attended, attention_distances, attention_maps, distances, half_share, rollout
from harness.inside.effective_field import half_side, squared_gradients
from harness.inside.embedding import mean_similarities, position_similarity, principal_components
from harness.inside.robustness import SHARES, blackened, blackening_grid, shuffled, shuffling_grids
from harness.inside.similarity import LEAST, block_grams, cka
from harness.models.family import Inside
from harness.records.insides import AttentionSeen, FiltersSeen, InsideArm, PositionsSeen, SimilaritySeen

BATCH = 64  # images of a pass, and of a minibatch of CKA
_FIELD_IMAGES = 64  # whose gradients make a receptive field
_SHOWN = 3  # images with their rollout
_WIDEST = 64  # of what is drawn, pixels
_COMPONENTS = 16
_TILES = 7  # per side, patches whose similarity to all others is drawn


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A model to look into, in eval mode on the CPU, and what it is shown."""

    arm: str
    digest: str  # of its run
    model: nn.Module
    inside: Inside
    prepare: Callable[[Tensor], Tensor]  # from images in 0..255 to inputs (B, C, r, r)
    images: Tensor  # uint8 (n, C, r, r)
    labels: Tensor  # int64 (n,)

    @property
    def side(self) -> int:
        return int(self.images.shape[-1])

    @property
    def grid(self) -> int | None:
        """Patches per side, where there are any."""
        return None if self.inside.patch_size is None else self.side // self.inside.patch_size


def look_into(subject: Subject) -> InsideArm:
    """What there is to see in a model, but for its similarity to others; leaves torch's generators as they are."""
    (field, middle, half), grid = _field(subject), blackening_grid(subject.side)
    return InsideArm(
        arm=subject.arm,
        digest=subject.digest,
        images=len(subject.images),
        side=subject.side,
        shuffled=tuple((k, _accuracy(subject, shuffled, k)) for k in shuffling_grids(subject.side)),
        blackened=tuple((share, _accuracy(subject, blackened, grid, share)) for share in SHARES),
        black_side=subject.side // grid,
        field=field,
        middle=middle,
        half_side=half,
        attention=_attention(subject),
        filters=_filters(subject.inside),
        positions=_positions(subject.inside),
    )


def compare(subject: Subject, images: Tensor, other: Subject) -> SimilaritySeen | None:
    """CKA of a model's blocks with another's. `images` are that one's, as large as the first model takes them.

    None for fewer images than it takes.
    """
    first, second = _grams(subject, images), _grams(other, other.images)
    if first is None or second is None:
        return None
    return SimilaritySeen(other=other.arm, digest=other.digest, cka=_plain(cka(first, second)))


def _grams(subject: Subject, images: Tensor) -> Tensor | None:
    """Gram matrices of each block for minibatches of one size, float64 (M, L, n, n)."""
    size = min(BATCH, len(images))
    whole = [part for part in torch.split(images, size) if len(part) == size >= LEAST]
    found = [block_grams(subject.model, subject.inside.blocks, subject.prepare(part)) for part in whole]
    return torch.stack(found) if found else None


def _accuracy(subject: Subject, change: Callable[..., Tensor], *how: Any) -> float:
    """Accuracy on images that are changed, in the same way for every model."""
    generator, right = torch.Generator().manual_seed(0), 0
    parts = zip(torch.split(subject.images, BATCH), torch.split(subject.labels, BATCH), strict=True)
    for images, labels in parts:
        with torch.inference_mode():
            logits = subject.model(subject.prepare(change(images, *how, generator)))
        right += int((logits.argmax(1) == labels).sum())
    return right / len(subject.images)


def _field(subject: Subject) -> tuple[Any, float, float]:
    """The effective receptive field as it is drawn, its middle, and the side of the square that holds half of it."""
    generator, block, squares, at = torch.Generator().manual_seed(0), subject.inside.blocks[-1], torch.zeros(()), 0.0
    for images in torch.split(subject.images[:_FIELD_IMAGES], BATCH // 4):
        inputs = subject.prepare(images)
        found, at = squared_gradients(subject.model, block, inputs, subject.grid, generator)
        squares = squares + found
    field = squares.sqrt()
    drawn = _small(field[None])[0]
    return _plain(drawn / drawn.max().clamp_min(1e-300)), at, half_side(field, at)


def _attention(subject: Subject) -> AttentionSeen | None:
    inside, grid = subject.inside, subject.grid
    if grid is None or inside.patch_size is None:
        return None
    apart, reached = list[Tensor](), list[Tensor]()
    for images in torch.split(subject.images, BATCH // 2):
        maps = attention_maps(subject.model, inside, subject.prepare(images))
        apart.append(torch.stack([attention_distances(weights, grid, inside.patch_size) for weights in maps], dim=1))
        reached.append(attended(rollout(maps), inside.pooled, grid))
    flow, labels = torch.cat(reached), subject.labels.tolist()
    first = sorted(labels.index(label) for label in set(labels))[:_SHOWN]  # one of each class
    return AttentionSeen(
        distances=_plain(torch.cat(apart).mean(0)),
        even=float(distances(grid, inside.patch_size).mean()),
        rollout=_plain(flow[first]),
        images=_plain(_small(subject.images[first].double()).permute(0, 2, 3, 1).round()),
        half_share=half_share(flow),
    )


def distances_seen(subject: Subject) -> Any:
    """How far each head of each block attends, (L, H), pixels of the image: the mean over the images."""
    assert subject.grid is not None
    assert subject.inside.patch_size is not None
    found = list[Tensor]()
    for images in torch.split(subject.images, BATCH // 2):
        maps = attention_maps(subject.model, subject.inside, subject.prepare(images))
        found.append(
            torch.stack([attention_distances(each, subject.grid, subject.inside.patch_size) for each in maps], 1)
        )
    return _plain(torch.cat(found).mean(0))


def _filters(inside: Inside) -> FiltersSeen | None:
    if inside.filters is None:
        return None
    components, shares = principal_components(inside.filters.detach(), _COMPONENTS)
    return FiltersSeen(components=_plain(components), shares=_plain(shares))


def _positions(inside: Inside) -> PositionsSeen | None:
    if inside.positions is None or len(inside.positions) < 2:
        return None
    cosines = position_similarity(inside.positions.detach())
    beside, in_line, elsewhere = mean_similarities(cosines)
    grid = round(len(cosines) ** 0.5)
    line = (torch.arange(min(grid, _TILES)) * grid + grid // 2) // min(grid, _TILES)
    tiles = (line[:, None] * grid + line).flatten()
    maps = _small(cosines[tiles].view(-1, grid, grid), 16)
    maps = maps.reshape(len(line), len(line), *maps.shape[1:])
    return PositionsSeen(maps=_plain(maps), beside=beside, in_line=in_line, elsewhere=elsewhere)


def _small(images: Tensor, most: int = _WIDEST) -> Tensor:
    """Images (..., h, w), averaged over neighbouring pixels to at most `most` by `most`."""
    return F.adaptive_avg_pool2d(images, (min(most, images.shape[-2]), min(most, images.shape[-1])))


def _plain(numbers: Tensor) -> Any:
    """As nested tuples."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return frozen(numbers.tolist())
