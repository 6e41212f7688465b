# SPDX-License-Identifier: Apache-2.0
"""Our names of exit reasons against the running kernel's own, read from tracefs.

Reads the `print fmt` of `kvm_exit` and `kvm_userspace_exit` under /sys/kernel/tracing, nothing
else. Needs root, a mounted tracefs (`mount -t tracefs nodev /sys/kernel/tracing`) and the kvm
module; without them it skips, or fails if KVMEXPORTER_REQUIRE_KVM=1.

There is no table of spellings that differ between kernels: none does from 6.1 to 7.2. Should the
kernel rename a reason, the new name goes into the tables and the old one into a table here.
"""

import os
import re
from pathlib import Path

import pytest

from kvmexporter.tables.exit_reasons import Isa, exit_reason, exit_slot, slot_code
from kvmexporter.tables.userspace_exits import userspace_exit_reason

EVENTS = Path("/sys/kernel/tracing/events/kvm")

_TERM = r"-?(?:0[xX][0-9a-fA-F]+|\d+)(?:[uU]?[lL]{0,2})"
# { 0x040 + 14, "PF excp" }, { 0x80000013ull, "..." }, { 2, "KVM_EXIT_" "IO" }
_SYMBOL = re.compile(
    rf'\{{\s*(?P<code>{_TERM}(?:\s*\+\s*{_TERM})*)\s*,\s*(?P<name>"[^"]*"(?:\s*"[^"]*")*)\s*\}}'
)


def format_of(event: str) -> str:
    """Read an event's format, or say why the test cannot run."""
    path = EVENTS / event / "format"
    try:
        return path.read_text()
    except OSError as err:
        reason = f"{path}: {err.strerror}: mount tracefs there, load kvm, be root"
        if os.environ.get("KVMEXPORTER_REQUIRE_KVM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def symbols_of(fmt: str, opening: str) -> list[tuple[int, str]]:
    """Parse the `__print_symbolic` table that starts with `opening`: (code, name) pairs."""
    start = fmt.index(opening) + len(opening)
    # No printed name contains a parenthesis, so the first one that closes ends the table.
    body = fmt[start : fmt.index(")", start)]
    pairs = [(_value(m["code"]), _text(m["name"])) for m in _SYMBOL.finditer(body)]
    rest = _SYMBOL.sub("", body)
    # What the pattern does not know must not pass in silence.
    assert rest.strip(" ,") == "", f"cannot parse {rest!r}"
    return pairs


def _value(expression: str) -> int:
    return sum(int(term.strip().rstrip("uUlL"), 0) for term in expression.split("+"))


def _text(literals: str) -> str:
    return "".join(re.findall(r'"([^"]*)"', literals))


@pytest.mark.parametrize(
    ("isa", "opening", "at_least"),
    [
        (Isa.VMX, "(REC->isa == 1) ? __print_symbolic(REC->exit_reason & 0xffff, ", 60),
        (Isa.SVM, " : __print_symbolic(REC->exit_reason, ", 100),
    ],
    ids=["vmx", "svm"],
)
def test_exit_reasons_are_the_kernels(isa: Isa, opening: str, at_least: int) -> None:
    """Every (code, name) that the kernel prints for `kvm_exit` is ours, with a slot of its own."""
    if (machine := os.uname().machine) != "x86_64":
        pytest.skip(f"kvm_exit on {machine} does not print VMX and SVM exit reasons")
    pairs = symbols_of(format_of("kvm_exit"), opening)
    assert len(pairs) >= at_least
    assert [(code, exit_reason(isa, code)) for code, _ in pairs] == pairs
    for code, name in pairs:
        back = slot_code(isa, exit_slot(isa, code))
        assert back is not None
        assert exit_reason(isa, back) == name


def test_userspace_exit_reasons_are_the_kernels() -> None:
    """Every (code, name) that the kernel prints for `kvm_userspace_exit` is ours."""
    pairs = symbols_of(format_of("kvm_userspace_exit"), "__print_symbolic(REC->reason, ")
    assert len(pairs) >= 31
    assert [(code, f"KVM_EXIT_{userspace_exit_reason(code)}") for code, _ in pairs] == pairs
