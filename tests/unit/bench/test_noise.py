# SPDX-License-Identifier: Apache-2.0
"""What is said of a median's noise."""

import random
import statistics

from tests.bench.noise import median_interval, words


def test_once_tells_no_noise() -> None:
    """Neither zero nor anything else."""
    assert median_interval([1.4]) is None
    assert words(median_interval([1.4])) == ""


def test_two_are_their_range() -> None:
    assert median_interval([1.0, 1.2]) == (1.0, 1.2)


def test_the_same_says_the_same() -> None:
    """It is drawn with a seed; equal values have no noise at all."""
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    assert median_interval(values) == median_interval(list(values))
    assert median_interval([0.5] * 9) == (0.5, 0.5)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    """About 95 of 100 times, of 18 values with a median of zero."""
    chosen = random.Random(7)
    held = 0
    for _ in range(100):
        low, high = median_interval([chosen.gauss(0, 1) for _ in range(18)]) or (1, 1)
        held += low <= 0 <= high
    assert 88 <= held <= 100


def test_one_outlier_moves_it_little() -> None:
    values = [1.0 + number / 1000 for number in range(17)]
    low, high = median_interval([*values, 50.0]) or (0, 0)
    assert 1.0 <= low <= statistics.median(values) <= high < 1.02


def test_words() -> None:
    """In brackets, in the unit and with the digits of what they follow."""
    assert words((0.0141, 0.0159), 100, 1) == " (1.4 to 1.6)"
    assert words((15.4, 19.2)) == " (15 to 19)"
