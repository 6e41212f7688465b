# SPDX-License-Identifier: Apache-2.0
"""Distributions of times, as the BPF side keeps them: by powers of two of a nanosecond."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from kvmexporter.units import ns_to_seconds

_FIRST_SHIFT = 10
_SHOWN_FIRST, _SHOWN_EVERY, _SHOWN = 3, 4, 4


# Not frozen, which would make it take thrice as long: there are thousands in a scrape.
@dataclass(slots=True, unsafe_hash=True)
class Histogram:
    """A distribution of times; it does not change.

    Attributes:
        counts: observations by bucket; bucket 0 holds up to 2^10 ns, bucket k up to
            2^(10+k) ns, the last has no bound.
        sum_ns: the sum of all observations.
    """

    counts: tuple[int, ...]
    sum_ns: int

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self.counts)

    def shown_buckets(self) -> list[tuple[float, int]]:
        """The bounds that are shown, in seconds, with the observations up to each."""
        seen = list(accumulate(self.counts))
        return [(bound, seen[bucket]) for bucket, bound in shown_bounds(len(seen))]

    def quantile(self, q: float) -> float | None:
        """The value below which a share q of the observations lies, in seconds.

        Interpolated within its bucket; the last bucket gives its lower bound. None if
        nothing was observed.
        """
        rank = q * self.count
        if not self.count:
            return None
        seen = 0
        for bucket, count in enumerate(self.counts):
            if count and seen + count >= rank:
                lower = upper_bound_seconds(bucket - 1) if bucket else 0.0
                if bucket == len(self.counts) - 1:
                    return lower
                return lower + (upper_bound_seconds(bucket) - lower) * (rank - seen) / count
            seen += count
        return None

    def plus(self, other: "Histogram") -> "Histogram":
        """Both distributions together."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(counts, self.sum_ns + other.sum_ns)

    def is_part_of(self, later: "Histogram") -> bool:
        """Whether another can be the same distribution, read later."""
        return self.sum_ns <= later.sum_ns and all(
            a <= b for a, b in zip(self.counts, later.counts, strict=True)
        )

    def since(self, earlier: "Histogram") -> "Histogram":
        """What came after an earlier reading of the same distribution."""
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Histogram(counts, self.sum_ns - earlier.sum_ns)


def shown_bounds(buckets: int) -> list[tuple[int, float]]:
    """The buckets that metrics show: (bucket, its bound in seconds), infinity at last.

    Powers of sixteen from 8.192 µs: each is a series, and there are many VMs. What KVM handles
    by itself is below the first, what a VMM handles below the second, and what is above the
    last a guest cannot but notice.
    """
    places = range(_SHOWN_FIRST, _SHOWN_FIRST + _SHOWN * _SHOWN_EVERY, _SHOWN_EVERY)
    finite = [(bucket, upper_bound_seconds(bucket)) for bucket in places if bucket < buckets - 1]
    return [*finite, (buckets - 1, inf)]


def upper_bound_seconds(bucket: int) -> float:
    """The largest value that a bucket takes."""
    return ns_to_seconds(1 << (_FIRST_SHIFT + bucket))


def from_words(words: Sequence[int]) -> Histogram:
    """A histogram from the C's words: the buckets, then the sum."""
    return Histogram(tuple(words[:-1]), words[-1])
