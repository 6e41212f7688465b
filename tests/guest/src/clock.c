/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring and spending time. */
#include "interrupts.h"

#define PM_TIMER_HZ 3579545
#define PM_TIMER_MASK 0xffffff
#define CALIBRATION_TICKS (PM_TIMER_HZ / 50)
#define ASSUMED_TSC_MHZ 2000
#define PIT_TICKS_PER_MS 1193
#define PIT_MAX_MSB 255

u64 tsc_hz;

void tsc_calibrate(u16 port)
{
	u32 start_ticks = inl(port);
	u64 start = rdtsc();
	u32 ticks = 0;
	u64 cycles;
	u32 i;

	for (i = 0; i < 1000000 && ticks < CALIBRATION_TICKS; i++)
		ticks = (inl(port) - start_ticks) & PM_TIMER_MASK;
	cycles = rdtsc() - start;
	if (ticks < CALIBRATION_TICKS || cycles >> 32)
		return;
	/* 64-bit division is not to be had without a run-time library; the quotient fits here. */
	{
		u32 quotient, remainder;
		u64 product = cycles * (PM_TIMER_HZ / 1000);

		__asm__("divl %4"
			: "=a"(quotient), "=d"(remainder)
			: "a"((u32)product), "d"((u32)(product >> 32)), "r"(ticks)
			: "cc");
		tsc_hz = (u64)quotient * 1000;
	}
}

static u32 tsc_mhz(void)
{
	u32 quotient, remainder;

	if (!tsc_hz)
		return ASSUMED_TSC_MHZ;
	__asm__("divl %4"
		: "=a"(quotient), "=d"(remainder)
		: "a"((u32)tsc_hz), "d"((u32)(tsc_hz >> 32)), "r"(1000000)
		: "cc");
	return quotient;
}

u64 us_to_tsc(u32 us)
{
	return (u64)us * tsc_mhz();
}

void spin_us(u32 us)
{
	u64 start = rdtsc();
	u64 cycles = us_to_tsc(us);

	while (rdtsc() - start < cycles)
		compiler_barrier();
}

void sleep_us(u32 us)
{
	if (!pit_works) {
		spin_us(us);
		return;
	}
	while (us) {
		u32 part = us < 54000 ? us : 54000;
		u32 msb = part * PIT_TICKS_PER_MS / 1000 / 256;

		pit_halt(msb == 0 ? 1 : msb > PIT_MAX_MSB ? PIT_MAX_MSB : msb);
		us -= part;
	}
}
