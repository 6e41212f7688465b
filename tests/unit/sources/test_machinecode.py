# SPDX-License-Identifier: Apache-2.0
"""Code of our own, run."""

import ctypes
import platform
import struct

import pytest

from kvmexporter.sources import machinecode


def test_code_runs() -> None:
    """A function that returns 97 does."""
    address = machinecode.load(bytes.fromhex("b861000000c3"))  # mov eax, 97; ret
    assert (address is not None) == (platform.machine() == "x86_64")
    if address is not None:
        assert ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 97


def test_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets no code that it cannot run."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machinecode.load(b"\xc3") is None


def test_a_process_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel of 64 bits, it gets none either."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(struct, "calcsize", {"P": 4}.__getitem__)
    assert machinecode.load(b"\xc3") is None


def test_no_anonymous_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that may not make them does without."""

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr("os.memfd_create", refuse)
    assert machinecode.load(b"\xc3") is None
