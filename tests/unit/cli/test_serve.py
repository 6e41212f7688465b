# SPDX-License-Identifier: Apache-2.0
"""What `serve` does before it serves; the rest is in tests/kvm."""

import gc
import socket

import pytest

from tests.unit.cli.running import run


# tornado leaves the socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket.*:ResourceWarning")
def test_an_address_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    """Failed, not misused: exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = run(capsys, ["serve", "--no-bpf", "--web.listen-address", address])
    gc.collect()
    assert code == 1
    assert err.startswith(f"kvmexporter: cannot listen on {address}: ")
    assert err.count("\n") == 1
