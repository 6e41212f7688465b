/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt descriptor table, PIC, PIT and local APIC, and waiting for their timers.
 * After interrupts_start() nothing in the guest fires by itself: the PIT is a one-shot that has
 * run out, the LAPIC timer is disarmed, interrupts are off, and only IRQ 0 is unmasked. */
#ifndef GUEST_INTERRUPTS_H
#define GUEST_INTERRUPTS_H

#include "cpu.h"

#define PIC_MASK_PORT 0x21
#define PIC_MASK_ALL_BUT_IRQ0 0xfe
#define PIT_CHANNEL2_PORT 0x42
#define MSR_TSC_DEADLINE 0x6e0

void interrupts_start(void);

/* Timers proved at start-up. */
extern u8 pit_works;
extern u8 tsc_deadline_works;
extern u8 has_tsc_deadline;

/* HLTs that ended before their interrupt had come, since the last reset by the caller. */
extern u32 idle_wakes;

/* One OUT to port 0x40 and one HLT, ended by IRQ 0, (msb * 256) / 1.193182 microseconds later. */
void pit_halt(u8 msb);
/* One WRMSR 0x6e0, one HLT, one interrupt, one LAPIC EOI. */
void tsc_deadline_halt(u64 cycles);
/* No exit at all. */
void spin_us(u32 us);
/* Sleeps in PIT one-shots: an OUT and a HLT for each 54 ms or part of it. */
void sleep_us(u32 us);

/* Cycles in so many microseconds, by the measured frequency. */
u64 us_to_tsc(u32 us);
/* Measures the TSC against the ACPI PM timer at `port` for 20 ms; makes many exits. */
void tsc_calibrate(u16 port);
extern u64 tsc_hz;

#endif
