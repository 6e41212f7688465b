# SPDX-License-Identifier: Apache-2.0
"""What somebody may have meant by a name that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_LISTED = 16


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: `; did you mean X?`, or a few choices.

    Args:
        name: what was written.
        known: what could have been.
    """
    choices = sorted(known)
    close = get_close_matches(name.lower(), choices, n=1, cutoff=0.6)
    if not close:
        by_lower = {choice.lower(): choice for choice in choices}
        close = [by_lower[one] for one in get_close_matches(name.lower(), by_lower, n=1)]
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(choices)}" if len(choices) <= _MOST_LISTED else ""
