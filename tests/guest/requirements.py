# SPDX-License-Identifier: Apache-2.0
"""What tests need of the host: skipped with a reason when absent, failed where that is forbidden.

Set KVMEXPORTER_REQUIRE_KVM=1 on hosts that are known to have KVM: then nothing is skipped there.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from tests.guest.kernel_trace import TraceError, mount_tracefs

REQUIRE_KVM = "KVMEXPORTER_REQUIRE_KVM"


def _absent(reason: str) -> NoReturn:
    if os.environ.get(REQUIRE_KVM) == "1":
        pytest.fail(f"{reason} ({REQUIRE_KVM}=1 forbids skipping)", pytrace=False)
    pytest.skip(reason)


def require_qemu() -> None:
    """Skips, or fails, the calling test where the guest cannot be built and run at all."""
    for program in ("qemu-system-x86_64", "gcc"):
        if shutil.which(program) is None:
            _absent(f"{program} is not installed")


def require_kvm() -> None:
    """Skips, or fails, the calling test where KVM guests cannot be run."""
    if not Path("/dev/kvm").exists():
        _absent("there is no /dev/kvm")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        _absent("/dev/kvm may not be opened by this user")
    require_qemu()


def require_kernel_trace() -> None:
    """Skips, or fails, the calling test where the kernel's KVM events cannot be recorded."""
    try:
        instances = mount_tracefs() / "instances"
    except TraceError as err:
        _absent(str(err))
    if not os.access(instances, os.W_OK):
        _absent("trace instances may not be made by this user")
