# SPDX-License-Identifier: Apache-2.0
"""Errors and their exit codes."""

import pytest

from kvmexporter.errors import KvmExporterError, Unavailable, UsageError


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (KvmExporterError("it broke"), 1, "it broke"),
        (UsageError("no such flag"), 2, "no such flag"),
        (Unavailable("no bcc", "install it"), 1, "no bcc: install it"),
    ],
)
def test_message_and_exit_code(error: KvmExporterError, exit_code: int, message: str) -> None:
    """0 done, 1 failed, 2 bad usage; one line each."""
    assert (error.exit_code, str(error)) == (exit_code, message)


def test_unavailable_keeps_its_parts() -> None:
    """Reason and remedy are told apart by those who show them."""
    error = Unavailable("no bcc", "install it")
    assert (error.reason, error.remedy) == ("no bcc", "install it")
