/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations. What events each one makes is listed in ../README.md. */
#include "operations.h"

const struct operation operations[] = {
	/* ports that QEMU's devices serve */
	{"serial_read", serial_read, 0},
	{"serial_write", serial_write, 0},
	{"rtc_read", rtc_read, 0},
	{"rtc_write", rtc_write, 0},
	{"pmtimer_read", pmtimer_read, need_pmtimer},
	/* ports that KVM serves itself */
	{"pit_read", pit_read, 0},
	{"pit_write", pit_write, 0},
	{"pic_read", pic_read, 0},
	{"pic_write", pic_write, 0},
	/* memory-mapped devices */
	{"hpet_read", hpet_read, 0},
	{"hpet_write", hpet_write, 0},
	{"ioapic_read", ioapic_read, 0},
	{"ioapic_write", ioapic_write, 0},
	{"e1000_read", e1000_read, need_e1000},
	{"e1000_write", e1000_write, need_e1000},
	{"e1000_write_coalesced", e1000_write_coalesced, need_e1000},
	{"virtio_init", virtio_init_once, need_virtio_device},
	{"virtio_reset", virtio_reset_once, need_virtio_device},
	{"virtio_notify", virtio_notify, need_virtio_queue},
	/* the processor */
	{"msr_read", msr_read, 0},
	{"msr_write", msr_write, 0},
	{"tsc_deadline", tsc_deadline, need_tsc_deadline},
	{"timer", timer, need_timer},
	{"hlt", hlt, need_pit},
	{"cpuid", cpuid_once, 0},
	{"vmcall", vmcall, 0},
	{"spin_ms", spin, 0},
	/* what a hostile guest does */
	{"port_sweep", port_sweep, start_port_sweep},
	{"mmio_random", mmio_random, start_mmio_random},
};

const u32 operation_count = sizeof(operations) / sizeof(operations[0]);
