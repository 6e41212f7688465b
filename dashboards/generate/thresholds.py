# SPDX-License-Identifier: Apache-2.0
"""Where good ends: the numbers that alerts fire at and panels draw, each once, with its reason."""

from typing import Final

# Clocks

HOST_CLOCKSOURCES: Final = "tsc|arch_sys_counter|hyperv_clocksource_tsc_page"
"""Read from the processor's counter, as a regular expression: on x86 these, Hyper-V's page for a
host that is its guest, are what KVM bases a master clock on (gtod_is_based_on_tsc in x86.c)."""

CLOCK_OFFSET_SECONDS: Final = 0.05
"""What distributed databases are commonly set to bear; a disciplined clock has a hundredth."""

CLOCK_MAX_ERROR_SECONDS: Final = 0.5
"""The kernel adds 0.5 ms a second while nobody disciplines the clock: a quarter of an hour."""

CLOCK_DRIFT_RATIO: Final = 100e-6
"""A plain quartz is within 100 ppm, and NTP can correct 500; kvm-clock shows next to none."""

CLOCK_ADJUSTMENT_RATIO: Final = 500e-6
"""As far as the kernel lets NTP correct a clock's rate."""

CLOCK_READ_SECONDS: Final = 1e-6
"""A clock read in the vDSO takes tens of nanoseconds; one that enters the kernel, a microsecond."""

TIMER_LATENESS_SECONDS: Final = 0.0021
"""Two periods of a 1000 Hz tick, and just beyond a bucket's bound: no interpolation adds to it."""

APIC_TIMER_ARMS: Final = 10
"""A second: the guest's ticks run on it, not just a calibration at boot."""

TSC_OFFSET_WRITES_PER_HOUR: Final = 5
"""For each vCPU: a boot writes a few, a migration one; who keeps writing fights its clock."""

# Balloons

BALLOON_SHORT_SECONDS: Final = 600
"""A willing guest gives gigabytes in seconds; minutes mean that it cannot."""

BALLOON_INFLATED: Final = 0.95
"""Of a guest's memory: with less than this left to it, the balloon is inflated."""

SWAP_BYTES: Final = 1 << 20
"""A second, in and out together: more than tidying up."""

AVAILABLE: Final = 0.05
"""Of the memory that the guest has: with less to be had, a burst ends in the OOM killer."""

STATS_AGE_SECONDS: Final = 300
"""Beyond this, a guest's own numbers say nothing about now."""

# Exits, a second and vCPU where nothing else is said

EXITS: Final = 50_000
"""At some 2 µs each, a tenth of the vCPU's time is gone."""

EXITS_TIMES_USUAL: Final = 4
"""A storm is also several times what this VM does every day: busy is no storm."""

DEVICE_EXITS: Final = 20_000
"""Of one device. The legacy timer's worst polling stays below; a driver that spins does not."""

USERSPACE_EXITS: Final = 10_000
"""An exit to the VMM costs some 10 µs: a tenth of the vCPU's time."""

INTERRUPTS: Final = 30_000
"""Injected. A NIC with interrupt moderation stays below 20,000."""

EXIT_HANDLING_SECONDS: Final = 0.0021
"""The 99th percentile, idle time left out; just beyond a bucket's bound, as for timers."""

EXIT_HANDLING_LEAST: Final = 100
"""Exits a second of the VM below which a percentile says nothing."""

EMULATED_ACCESSES: Final = 100
"""A second and device, handled by the VMM: the device is in use, not just probed at boot."""

EMULATED_DRIVERS: Final = (
    "e1000.*|rtl8139|pcnet|ne2k.*|vmxnet3|i8255.*|tulip|.*ide|.*ide-.*|.*ahci|ahci.*|lsi.*|megasas.*"
    "|am53c974|dc390|nvme|sysbus-fdc|isa-fdc"
)
"""NICs and disks for which virtio would do, by QEMU's names, as a regular expression."""

# CPU, as a share of one CPU

STEAL: Final = 0.1
"""Of a vCPU's time, ready to run and waiting for a CPU of the host."""

VHOST_WORKER: Final = 0.9
"""Of a worker's CPU: a queue behind it grows."""

HALT_POLLING: Final = 0.2
"""Of a vCPU's time, spent polling for events that did not come."""

# The exporter

VM_FACTS_AGE_SECONDS: Final = 600
"""A VMM is asked once a minute and more often when its guest moves devices."""

BPF_MAP_FILL: Final = 0.8
"""Of a map's entries; beyond 1, events are dropped."""

SCRAPE_SECONDS: Final = 5.0
"""Half of Prometheus's default time-out of ten seconds."""

SERIES_OF_A_VM: Final = 75
SERIES_OF_A_DEVICE: Final = 15
"""The budget of a VM's series: with five devices, 150."""
