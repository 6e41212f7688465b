/* SPDX-License-Identifier: Apache-2.0 */
#include "interrupts.h"
#include "failure.h"

#define PIC_MASTER 0x20
#define PIC_SLAVE 0xa0
#define PIT_CHANNEL0_PORT 0x40
#define PIT_CONTROL_PORT 0x43

#define LAPIC 0xfee00000
#define LAPIC_TPR (LAPIC + 0x080)
#define LAPIC_EOI (LAPIC + 0x0b0)
#define LAPIC_SPURIOUS (LAPIC + 0x0f0)
#define LAPIC_LVT_TIMER (LAPIC + 0x320)
#define LAPIC_LVT_LINT0 (LAPIC + 0x350)
#define LVT_TSC_DEADLINE (2 << 17)
#define LVT_EXTINT 0x700

#define VECTOR_IRQ0 0x20
#define VECTOR_IRQ7 0x27
#define VECTOR_LAPIC_TIMER 0x40
#define VECTOR_SPURIOUS 0xff
#define EXCEPTIONS 32
#define VECTOR_STUB_BYTES 16

#define MAX_IDLE_WAKES 1000

#define PENDING_CYCLES (1u << 20) /* enough to take an interrupt that is due */
#define PROOF_CYCLES (1u << 30)	  /* some tenths of a second for timers set below a millisecond */

u8 pit_works;
u8 tsc_deadline_works;
u8 has_tsc_deadline;
u32 idle_wakes;

static volatile u32 pit_fired;
static volatile u32 lapic_fired;

struct interrupt_frame {
	u32 registers[8];
	u32 vector, error_code, eip, cs, eflags;
};

extern const u8 vector_stubs[];

static struct gate {
	u16 offset_low, selector, type, offset_high;
} idt[256] __attribute__((aligned(8)));

void interrupt_dispatch(struct interrupt_frame *frame)
{
	switch (frame->vector) {
	case VECTOR_IRQ0: /* the PIC ends it by itself */
		pit_fired++;
		return;
	case VECTOR_LAPIC_TIMER:
		lapic_fired++;
		write32(LAPIC_EOI, 0);
		return;
	case VECTOR_IRQ7:
	case VECTOR_SPURIOUS:
		return;
	}
	if (frame->vector < EXCEPTIONS)
		fail_number(frame->vector == 13 ? "general protection fault at "
						: "CPU exception at ",
			    frame->eip);
	fail_number("unexpected interrupt, vector ", frame->vector);
}

static void load_idt(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = {sizeof(idt) - 1, (u32)idt};
	u32 i;

	for (i = 0; i < 256; i++) {
		u32 stub = (u32)vector_stubs + i * VECTOR_STUB_BYTES;

		idt[i] = (struct gate){stub, 0x08, 0x8e00, stub >> 16};
	}
	__asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
}

static void start_pic(void)
{
	outb(PIC_MASTER, 0x11); /* initialise, four words */
	outb(PIC_SLAVE, 0x11);
	outb(PIC_MASTER + 1, VECTOR_IRQ0);
	outb(PIC_SLAVE + 1, VECTOR_IRQ0 + 8);
	outb(PIC_MASTER + 1, 1 << 2);
	outb(PIC_SLAVE + 1, 2);
	outb(PIC_MASTER + 1, 0x03); /* 8086 mode, automatic end of interrupt */
	outb(PIC_SLAVE + 1, 0x01);
	outb(PIC_MASTER + 1, PIC_MASK_ALL_BUT_IRQ0);
	outb(PIC_SLAVE + 1, 0xff);
}

static void start_pit(void)
{
	outb(PIT_CONTROL_PORT, 0x20); /* channel 0, high byte only, interrupt on terminal count */
	outb(PIT_CONTROL_PORT, 0xa0); /* channel 2 alike: its single-byte writes are complete */
}

static void start_lapic(void)
{
	write32(LAPIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
	write32(LAPIC_TPR, 0);
	write32(LAPIC_LVT_LINT0, LVT_EXTINT);
	has_tsc_deadline = (cpuid(1, 0).ecx >> 24) & 1;
	if (has_tsc_deadline) {
		write32(LAPIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_LAPIC_TIMER);
		wrmsr(MSR_TSC_DEADLINE, 0);
	}
}

/* Spins with interrupts on until *fired moves: bounded, unlike HLT, so that a timer which does not
 * work on this host is found out here and not by a guest that sleeps for ever. */
static u8 fires_within(volatile u32 *fired, u64 cycles)
{
	u64 start = rdtsc();

	__asm__ volatile("sti" : : : "memory");
	while (!*fired && rdtsc() - start < cycles)
		compiler_barrier();
	__asm__ volatile("cli" : : : "memory");
	return *fired != 0;
}

void interrupts_start(void)
{
	load_idt();
	start_pic();
	start_pit();
	start_lapic();

	/* The firmware's last tick may still be pending: take it, so that it wakes no HLT later. */
	fires_within(&pit_fired, PENDING_CYCLES);
	pit_fired = 0;
	outb(PIT_CHANNEL0_PORT, 1);
	pit_works = fires_within(&pit_fired, PROOF_CYCLES);
	if (has_tsc_deadline) {
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100000);
		tsc_deadline_works = fires_within(&lapic_fired, PROOF_CYCLES);
	}
}

static void halt_until(volatile u32 *fired)
{
	u32 wakes = 0;

	for (;;) {
		__asm__ volatile("sti; hlt; cli" : : : "memory");
		if (*fired)
			return;
		idle_wakes++;
		if (++wakes > MAX_IDLE_WAKES)
			fail("HLT is woken by something else than the timer");
	}
}

void pit_halt(u8 msb)
{
	pit_fired = 0;
	outb(PIT_CHANNEL0_PORT, msb);
	halt_until(&pit_fired);
}

void tsc_deadline_halt(u64 cycles)
{
	lapic_fired = 0;
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + cycles);
	halt_until(&lapic_fired);
}
