# SPDX-License-Identifier: Apache-2.0
"""What a flag's text is made into; what is refused is in test_main.py and test_config.py."""

import sys

import pytest

from kvmexporter.cli import values
from kvmexporter.errors import UsageError
from kvmexporter.model.ignored import Ignored
from kvmexporter.views.listening import Address


def test_an_account_by_name_or_number() -> None:
    """Either is the same account; a digit that is none is no number."""
    assert values.account("nobody").pw_name == "nobody"
    assert values.account(str(values.account("nobody").pw_uid)).pw_name == "nobody"
    with pytest.raises(UsageError, match="no such user"):
        values.account("²")


def test_an_interpreter_by_path_or_name() -> None:
    """What has no slash is looked for as a shell would."""
    assert values.interpreter(sys.executable) == sys.executable
    assert values.interpreter("sh") == "sh"
    for text in ("no-such-program", "/", ""):
        with pytest.raises(UsageError, match="there is no such program"):
            values.interpreter(text)


def test_the_others() -> None:
    """As their own modules read them."""
    assert values.ignored("host-clock-stepped:web") == Ignored("host-clock-stepped", "web")
    assert values.address(":9942") == Address("", 9942)
    assert values.telemetry_path("/") == "/"


def test_what_has_been_read_stays() -> None:
    """Click reads a default as it reads a text, and leaves alone what is read."""
    read = values.Parsed(values.address)
    assert read.convert(Address("", 1), None, None) == Address("", 1)
