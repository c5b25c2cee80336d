"""The study's question answered in a sentence or two, the verdict first, and the line of numbers below it."""

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.cells import FEW_SHOT
from harness.analysis.estimate import FEWEST_IMAGES, FEWEST_SEEDS, LEVEL
from harness.analysis.evidence import BY_IMAGE, SHIFTED, Evidence
from harness.analysis.judging import judge
from harness.analysis.learning import Cautions
from harness.analysis.selection import chosen, level_with_best
from harness.analysis.shipped_claims import axis_of
from harness.analysis.wording import compared, form, listed, seeds_told
from harness.spec import (
    METRICS,
    Answer,
    Better,
    Claim,
    CostGrows,
    Crosses,
    Equivalent,
    Estimate,
    GainsMore,
    GapShrinks,
    InvalidInput,
    Judgement,
    Monotone,
    ResolvedStudy,
    find_study,
    study_names,
)
from harness.spec.formats import MINUS, confidence, counted, magnitude, plain
from harness.spec.verdicts import Verdict

WIRING_TEST = "Wiring test: no conclusion."

_HEADS: Mapping[Verdict, str] = {
    "reproduced": "Yes",
    "contradicted": "No",
    "supported": "Supported",
    "not supported": "No",
    "inconclusive": "Not shown",
    "outside the range measured": "Not within the range measured",
}
_HOLDS = ("reproduced", "supported")
_FAILS = ("contradicted", "not supported")
_MOST_WORDS, _MOST_NUMBERS = 12, 2  # of a reason that stands in an answer


@dataclass(frozen=True)
class Answered:
    """What the top of a report says."""

    text: str
    numbers: str  # the line below: n, intervals, test images, compute
    conclusive: bool = True  # whether any verdict is to be read
    finding: str = ""  # the first sentence, without its full stop
    arms: tuple[str, ...] = ()  # what it is about
    effect: Estimate | None = None  # its estimate, a difference of accuracies as a fraction; None of anything else


def answer(evidence: Evidence, cautions: Cautions) -> Answered:
    """What the study marks as its answer, else the verdict on its first claim, else how its best arm compares.

    Each sentence follows from one judgement, that of the table of claims. `cautions`: the cells that did not learn.
    """
    if why := _wiring(evidence):
        return Answered(WIRING_TEST, why, conclusive=False)
    study = evidence.study
    marked, claims = marked_answers(study)
    sentences = [_sentence(*each, evidence) for each in zip(marked, claims, strict=True)] or [_best(evidence)]
    pairs = [_pair(claim) for claim in claims]
    arms = tuple(dict.fromkeys(arm for pair in pairs for arm in pair))
    metrics = [getattr(claim, "metric", None) for claim in claims]
    numbers = _numbers(evidence, arms, cautions, metrics)
    finding, effect = sentences[0].removesuffix("."), _effect(claims[0], evidence) if claims else None
    return Answered(" ".join(sentences), numbers, finding=finding, arms=arms, effect=effect)


def _effect(claim: Claim, evidence: Evidence) -> Estimate | None:
    """What an answer rests on, as it says it, where that is a difference in points with an interval."""
    unit = form(getattr(claim, "metric", None) or "")[1]
    if not unit.startswith("points") or isinstance(claim, CostGrows | GapShrinks):  # slopes are per 10x images
        return None
    found = _measured(claim, judge(claim, evidence), evidence)
    return found if all(map(math.isfinite, (found.value, found.ci_low, found.ci_high))) else None


def effect_of(study: ResolvedStudy) -> tuple[str, str]:
    """What the effect of a study's answer is the difference of (`ViT − ResNet`), and in which unit it is told.

    The difference is empty where the judgement, not the claim, says between which arms it is.
    """
    _, claims = marked_answers(study)
    difference, unit = "", form("test_accuracy")[1]
    for claim in claims[:1]:
        unit = form(getattr(claim, "metric", None) or "test_accuracy")[1]
        match claim:
            case GainsMore():
                gains = ((claim.arm, claim.start), (claim.other, claim.other_start))
                difference = f" {MINUS} ".join(f"({arm} {MINUS} {start})" for arm, start in gains)
            case Better():
                difference = f"{claim.arm} {MINUS} {claim.than}"
            case Equivalent():
                difference = f"{claim.arm} {MINUS} {claim.to}"
            case Crosses():
                difference = f"{claim.follower} {MINUS} {claim.leader}"
    return difference, unit


def marked_answers(study: ResolvedStudy) -> tuple[tuple[Answer, ...], list[Claim]]:
    """What answers the question, with the claims that are judged for it.

    Words can be mended without training: of a shipped study they are those that it has today, where its arms and claims
    are still those that they speak of, else those that it was run with.
    """
    for answers in (getattr(_shipped(study), "answer", ()), study.answer):
        with contextlib.suppress(InvalidInput):  # arms or claims were changed after the study was resolved
            if answers:
                return answers, [each.claim_of(study) for each in answers]
    return tuple(map(_as_stated, study.claims[:1])), list(study.claims[:1])


def reworded(study: ResolvedStudy) -> str:
    """A sentence where the answer is not the one that the study was run with; empty where it is."""
    is_another = bool(study.answer) and marked_answers(study)[0] != study.answer
    return "What answers the question was chosen, or put into other words, after the study had been run." * is_another


def main_figure(study: ResolvedStudy) -> str:
    """The name of the figure that stands beside the answer; empty where the study names none."""
    return getattr(_shipped(study), "figure", "") or study.figure


def unit_of_levels(study: ResolvedStudy) -> str:
    """What the factor's levels are measured in; empty where the study names none."""
    return getattr(_shipped(study), "unit", "") or study.unit


def _shipped(study: ResolvedStudy) -> ResolvedStudy | None:
    """The study of that name as it is shipped now, if any."""
    with contextlib.suppress(InvalidInput):  # a scale is gone
        if study.name in study_names():
            return find_study(study.name)[1].resolve(study.name, study.scale)
    return None


def _as_stated(claim: Claim) -> Answer:
    """The answer where none is marked; what stands in braces is no part to fill in."""
    return Answer(says=claim.statement.replace("{", "(").replace("}", ")"), claim=claim.statement)


def _wiring(evidence: Evidence) -> str:
    """Why the study is no more than a test of the wiring, as a sentence; empty where it is one."""
    if evidence.study.scale == "smoke":
        return "Scale smoke shows that everything works; its numbers mean nothing."
    images = _test_images(evidence)
    return f"There are {counted(images, 'test image')}; a verdict needs {FEWEST_IMAGES}." * (0 < images < FEWEST_IMAGES)


def _test_images(evidence: Evidence) -> int:
    """Of a run, the fewest; 0 where no predictions tell."""
    rows = (row for cell in evidence.rows for row in evidence.predictions(cell) if row is not None)
    return min(map(len, rows), default=0)


def _sentence(marked: Answer, claim: Claim, evidence: Evidence) -> str:
    found = judge(claim, evidence)
    measured = _measured(claim, found, evidence)
    if not math.isfinite(measured.value) and ("{" in marked.says or found.verdict == "inconclusive"):
        return f"Not shown: {_why(found)}."
    metric = getattr(claim, "metric", None) or ""
    says = marked.says.replace("{cost}", _cost(claim, evidence))
    for word, other in (("more", "less"), ("larger", "smaller")):
        ratio = f"a factor of {plain(found.estimate)}" if isinstance(claim, CostGrows) else ""
        says = says.replace(f"{{{word}}}", ratio or compared(metric, measured, (word, other)))
    head = _head(marked, claim, found, measured, evidence)
    return f"{head[0].upper()}{head[1:]}: {_begun(says).rstrip('.')}."


def _head(marked: Answer, claim: Claim, found: Judgement, measured: Estimate, evidence: Evidence) -> str:
    """What stands first; a crossing may be contradicted by one the other way round, or by a follower that leads."""
    if found.verdict in _HOLDS:
        default = "yes, {at}" if isinstance(claim, Crosses) else _HEADS[found.verdict]
        return (marked.holds or default).replace("{at}", _at(claim, found, evidence))
    if found.verdict not in _FAILS:
        apart = found.verdict == "inconclusive" and measured.ci_low * measured.ci_high > 0
        if apart and isinstance(claim, Equivalent):
            return "not shown to be level"
        return "no crossing shown" if apart and isinstance(claim, Crosses) else _HEADS[found.verdict]
    leads = isinstance(claim, Crosses) and measured.value * (1 if METRICS[claim.metric] == "up" else -1) > 0
    if isinstance(claim, Crosses) and (leads or math.isfinite(found.ci_low)):
        return "the other way round" if math.isfinite(found.ci_low) else "at every point measured"
    return marked.fails or _HEADS[found.verdict]


def _at(claim: Claim, found: Judgement, evidence: Evidence) -> str:
    """Where a crossing lies: `at about 12,000 training images`, `between moved share 0 and 1`."""
    if not isinstance(claim, Crosses):
        return ""
    axis = axis_of(claim, evidence)
    if math.isnan(found.estimate):
        return f"between {axis.told(found.ci_low, found.ci_high, joined=' and ')}"
    place = float(f"{found.estimate:.2g}") if axis.sized else found.estimate
    return f"at about {axis.told(place)}"


def _measured(claim: Claim, found: Judgement, evidence: Evidence) -> Estimate:
    """The estimate of a verdict, in the metric's own direction; of a crossing the follower's lead at the last point."""
    if isinstance(claim, Crosses):
        if math.isnan(found.p_value):  # nothing could be judged
            return Estimate(math.nan)
        leader, follower = axis_of(claim, evidence).pairs[-1]
        return evidence.contrast({follower: 1.0, leader: -1.0}, claim.metric)
    sign = 1.0
    if isinstance(claim, Better | GainsMore) and METRICS[claim.metric] == "down":
        sign = -1.0
    if isinstance(claim, Monotone) and claim.direction == "down":
        sign = -1.0
    ends = sorted((sign * found.ci_low, sign * found.ci_high))
    return Estimate(sign * found.estimate, *ends)


def _why(found: Judgement) -> str:
    """Why there is no estimate, in few words."""
    if found.lost_runs:
        return (
            f"{counted(found.lost_runs, 'run')} that would decide {'has' if found.lost_runs == 1 else 'have'} no result"
        )
    reason = _begun(found.reason.rstrip("."))
    if len(reason.split()) > _MOST_WORDS or len(re.findall(r"\d+", reason)) > _MOST_NUMBERS:
        return "the claim's reason says why"
    return reason


def _begun(sentence: str) -> str:
    """A sentence as it goes on after a colon: `A ViT` becomes `a ViT`, `ResNets` stay."""
    word = sentence.split(maxsplit=1)[0] if sentence.strip() else ""
    return sentence[:1].lower() + sentence[1:] if word[1:] == word[1:].lower() else sentence


def _pair(claim: Claim) -> tuple[str, ...]:
    """The two arms whose compute is compared: those of a difference, the ends of two steps."""
    return claim.arm_names[::2] if isinstance(claim, GainsMore) else claim.arm_names[:2]


def _macs(evidence: Evidence, arm: str) -> float:
    """Multiply-accumulates of an arm per image, in all passes of an update."""
    cell = (arm, evidence.sizes[-1])
    return evidence.median(cell, "macs_per_image", evidence.rows[cell]) * evidence.passes(arm)


def _cost(claim: Claim, evidence: Evidence) -> str:
    """How much more compute per image the first arm takes: `13 times`."""
    ratio = math.nan
    if len(pair := _pair(claim)) == 2:
        one, other = (_macs(evidence, arm) for arm in pair)
        ratio = one / other if other else math.nan
    return f"{ratio:.0f} times" if ratio >= 9.95 else f"{plain(ratio, 2)} times"


def _best(evidence: Evidence) -> str:
    """Of a study without claims: its best arm against the one it is compared with, at the largest training size."""
    size, against = evidence.sizes[-1], evidence.against
    found = {arm: evidence.difference(arm, other, size) for arm, other in against.items()}
    known = [arm for arm, paired in found.items() if math.isfinite(paired.value)]
    whole = [arm for arm in known if not evidence.absent([(arm, size), (against[arm], size)], "test_accuracy")]
    if not whole:
        planned, done = evidence.planned_runs, sum(map(len, map(evidence.completed, evidence.rows)))
        if done < planned or not found:
            return f"No answer yet: {done:,} of {counted(planned, 'run')} completed."
        return (
            f"Not shown: {counted(evidence.fewest_seeds(evidence.rows), 'seed')}, and an interval needs {FEWEST_SEEDS}."
        )
    best = max(whole, key=lambda arm: (found[arm].value, arm))
    paired = chosen(found[best], len(whole))
    head = {1: "Better", 0: "Not shown", -1: "Worse"}[paired.sign]
    who = best if len(whole) == 1 else f"the best of {counted(len(whole), 'arm')}, {best},"
    return f"{head}: {who} reaches {compared('test_accuracy', paired)} than {against[best]}."


def level_arms(evidence: Evidence) -> tuple[str, ...]:
    """The arms, the baseline too, that may be the best at the largest training size; empty where that is not told."""
    size = evidence.sizes[-1]
    whole = [arm.name for arm in evidence.study.all_arms if not evidence.absent([(arm.name, size)], "test_accuracy")]
    same_data = len({arm.changed("data", evidence.study.data) for arm in evidence.study.all_arms}) == 1
    begun = [arm.name for arm in evidence.study.all_arms if evidence.completed((arm.name, size))]
    if len(whole) < 2 or not same_data or set(begun) - set(whole):  # the best may be one that has lost runs
        return ()
    return tuple(level_with_best(whole, lambda arm, other: evidence.difference(arm, other, size)))


def best_arms(evidence: Evidence) -> str:
    """Of several arms with one baseline and one training size: the best, and which are not significantly worse."""
    against, size = evidence.against, evidence.sizes[-1]
    whole = [arm for arm in against if not evidence.absent([(arm, size), (against[arm], size)], "test_accuracy")]
    if len(whole) < 2 or len(set(against.values())) > 1 or len(evidence.sizes) > 1:
        return ""
    best = max(whole, key=lambda arm: (evidence.mean((arm, size), "test_accuracy"), arm))
    level = level_with_best(whole, lambda one, other: evidence.difference(one, other, size))
    level = [arm for arm in level if arm != best]
    told = f"Best besides the baseline: {best}; not significantly worse: {listed(level) if level else 'none'}"
    left_out = [arm for arm in against if arm not in whole]
    return f"{told}; left out, as runs have no result: {listed(left_out)}." if left_out else f"{told}."


def _numbers(evidence: Evidence, arms: tuple[str, ...], cautions: Cautions, metrics: Sequence[str | None]) -> str:
    """`n = 5 seeds, 10,000 test images; 95% intervals. Compute per image: ...`, and which arms did not learn.

    `metrics`: what the sentences are about. Of a mean over test images an interval holds their luck.
    """
    images = 0 if FEW_SHOT in metrics else _test_images(evidence)
    by_image = all(metric in (None, *BY_IMAGE, *SHIFTED) for metric in metrics)
    told = f"n = {seeds_told(evidence.study)}" + (f", {counted(images, 'test image')}" if images else "")
    searches = evidence.study.search.repeats
    over = f"{counted(searches, 'search')} each, " if searches > 1 else ""
    over += "seeds and test images" if by_image else "seeds, for fixed test images"
    of_all = f" ({confidence(LEVEL)} over all looks)" if evidence.level > LEVEL else ""
    told += f"; {confidence(evidence.level)} intervals{of_all} over {over}."
    costs = [f"{arm} {magnitude(macs)}" for arm in arms[:4] if (macs := _macs(evidence, arm)) > 0]
    if costs:
        told += f" Multiply-accumulates per image: {'; '.join(costs)}."
    unlearned = dict.fromkeys(arm for arm, _ in cautions)
    if unlearned:
        told += f" Caveat: {listed(unlearned, most=4)} apparently did not learn, or did not finish learning."
    return told
