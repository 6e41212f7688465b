# SPDX-License-Identifier: Apache-2.0
"""So many of something, in words."""


def amount(count: float, noun: str, verb: str = "") -> str:
    """A number of things, and what they do.

    Args:
        count: how many.
        noun: one of them.
        verb: what several of them do, "" if that is told elsewhere.

    Returns:
        `1 VM runs`, `2 VMs run`, `0 settings`.
    """
    is_one = count == 1
    words = f"{count:,.0f} {noun}{'' if is_one else 's'}"
    return f"{words} {verb}{'s' if is_one else ''}" if verb else words
