# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, in one clear line each. Imports nothing."""


class KvmExporterError(Exception):
    """Something failed; the message says what, where and what to do.

    Attributes:
        exit_code: what the process ends with when nothing can go on.
    """

    exit_code = 1


class UsageError(KvmExporterError):
    """The user asked for something that cannot be: a flag, a value, a name."""

    exit_code = 2


class Unavailable(KvmExporterError):  # noqa: N818 - a state, not a mistake
    """A source is not there on this system: absent, not broken.

    Args:
        reason: what is missing.
        remedy: what would provide it.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}: {remedy}")
        self.reason = reason
        self.remedy = remedy
