/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of the processor itself. */
#include "failure.h"
#include "interrupts.h"
#include "operations.h"

#define MSR_UCODE_REV 0x8b /* no hypervisor passes it through, and it ignores guests' writes */
#define FAR_FUTURE_CYCLES (1ull << 43) /* most of an hour; more would overflow in some timers */
#define TIMER_DEFAULT_US 1000
#define HLT_PIT_MSB 5 /* about 1.07 ms */
#define KVM_HC_VAPIC_POLL_IRQ 1

#define UNUSED __attribute__((unused)) const struct request *request

void msr_read(UNUSED)
{
	rdmsr(MSR_UCODE_REV);
}

void msr_write(UNUSED)
{
	wrmsr(MSR_UCODE_REV, 0);
}

void need_tsc_deadline(UNUSED)
{
	if (!has_tsc_deadline)
		fail("the CPU model has no TSC-deadline timer");
}

void tsc_deadline(UNUSED)
{
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + FAR_FUTURE_CYCLES);
}

void need_timer(UNUSED)
{
	need_tsc_deadline(request);
	if (!tsc_deadline_works)
		fail("the TSC-deadline timer did not fire at start-up");
}

void timer(const struct request *request)
{
	u32 us = request->arguments[0];

	tsc_deadline_halt(us_to_tsc(us ? us : TIMER_DEFAULT_US));
}

void need_pit(UNUSED)
{
	if (!pit_works)
		fail("the PIT did not fire at start-up");
}

void hlt(UNUSED)
{
	pit_halt(HLT_PIT_MSB);
}

void cpuid_once(UNUSED)
{
	cpuid(0, 0);
}

static u8 use_vmmcall;

/* The wrong one of the two is not refused but rewritten by the host, which makes events of its own.
 * Asked once at start-up, because CPUID makes an event as well. */
void processor_start(void)
{
	u32 vendor = cpuid(0, 0).ebx;

	use_vmmcall = vendor == 0x68747541 /* Auth(enticAMD) */ || vendor == 0x6f677948 /* Hygo(nGenuine) */;
}

void vmcall(UNUSED)
{
	u32 result;

	if (use_vmmcall)
		__asm__ volatile("vmmcall"
				 : "=a"(result)
				 : "a"(KVM_HC_VAPIC_POLL_IRQ)
				 : "memory");
	else
		__asm__ volatile("vmcall"
				 : "=a"(result)
				 : "a"(KVM_HC_VAPIC_POLL_IRQ)
				 : "memory");
	if (result)
		fail_number("the hypercall was answered with ", result);
}

void spin(UNUSED)
{
	spin_us(1000);
}
