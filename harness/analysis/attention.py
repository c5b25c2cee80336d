"""What was seen of attention in models of several training sizes."""

from statistics import fmean

from harness.records.insides import AttentionAtSize
from harness.spec import Estimate


def change_of_distance(few: AttentionAtSize, many: AttentionAtSize) -> Estimate:
    """By how much farther the heads in the lower half of the blocks attend with many training images, pixels.

    The 95 % interval is over heads of one model each (Welch's t): other seeds are not in it.
    """
    from scipy import stats

    interval = stats.ttest_ind(many.lower, few.lower, equal_var=False).confidence_interval()
    return Estimate(fmean(many.lower) - fmean(few.lower), float(interval.low), float(interval.high))
