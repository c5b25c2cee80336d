"""From the turns of contenders to rows."""

from collections.abc import Mapping, Sequence

import numpy as np

from harness.bench.ratios import ratio
from harness.bench.rows import Ratio, Row
from harness.bench.turns import Contender

Details = Mapping[str, str | int | float]


def throughput_rows(
    contenders: Sequence[Contender],
    seconds: Sequence[Sequence[float]],
    *,
    part: str,
    what: str,
    batch: int,
    threads: int,
    rivals: Mapping[str, Sequence[str]],
    details: Mapping[str, Details],
) -> list[Row]:
    """A row in images/s per contender, from the seconds per step of `batch` images, a list over rounds for each.

    `rivals` names, by a contender of ours, the others that it is fairly compared with: in the same precision, and in
    bf16 also with the others' fp32. `details` are by contender.
    """
    generator = np.random.default_rng(0)

    def ratios(own: int) -> list[Ratio]:
        one = contenders[own]
        return [
            ratio(seconds[own], seconds[at], to=other.name, precision=other.precision, generator=generator)
            for at, other in enumerate(contenders)
            if other.name in rivals.get(one.name, ()) and other.precision in (one.precision, "fp32")
        ]

    return [
        Row(
            part=part,
            what=what,
            contender=contender.name,
            value=batch / float(np.median(seconds[place])),
            best=batch / min(seconds[place]),
            unit="images/s",
            threads=threads,
            precision=contender.precision,
            batch=batch,
            ratios=tuple(ratios(place)),
            details={**details.get(contender.name, {}), "rounds": len(seconds[place])},
        )
        for place, contender in enumerate(contenders)
    ]
