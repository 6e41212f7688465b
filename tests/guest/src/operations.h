/* SPDX-License-Identifier: Apache-2.0 */
/* The operations: what a command can ask for. The one table is in operations.c. */
#ifndef GUEST_OPERATIONS_H
#define GUEST_OPERATIONS_H

#include "cpu.h"

#define OPERATION_ARGUMENTS 2

/* What the text "name=count:argument:argument" means; absent arguments are 0. */
struct request {
	u32 count;
	u32 number; /* of the repetition, from 0 */
	u32 arguments[OPERATION_ARGUMENTS];
};

struct operation {
	const char *name;
	/* Does it once. Calls fail() when it cannot. */
	void (*once)(const struct request *request);
	/* Finds out, without causing any event, whether it can be done; may be absent. */
	void (*prepare)(const struct request *request);
};

extern const struct operation operations[];
extern const u32 operation_count;

/* Device and port operations: ports.c, windows.c. Of the processor: processor.c. */
#define OPERATION(name) void name(const struct request *request)
OPERATION(serial_read);
OPERATION(serial_write);
OPERATION(rtc_read);
OPERATION(rtc_write);
OPERATION(pmtimer_read);
OPERATION(need_pmtimer);
OPERATION(pit_read);
OPERATION(pit_write);
OPERATION(pic_read);
OPERATION(pic_write);
OPERATION(port_sweep);
OPERATION(start_port_sweep);

OPERATION(hpet_read);
OPERATION(hpet_write);
OPERATION(ioapic_read);
OPERATION(ioapic_write);
OPERATION(e1000_read);
OPERATION(e1000_write);
OPERATION(e1000_write_coalesced);
OPERATION(need_e1000);
OPERATION(virtio_init_once);
OPERATION(virtio_reset_once);
OPERATION(need_virtio_device);
OPERATION(virtio_notify);
OPERATION(need_virtio_queue);
OPERATION(mmio_random);
OPERATION(start_mmio_random);

OPERATION(msr_read);
OPERATION(msr_write);
OPERATION(tsc_deadline);
OPERATION(need_tsc_deadline);
OPERATION(timer);
OPERATION(need_timer);
OPERATION(hlt);
OPERATION(need_pit);
OPERATION(cpuid_once);
OPERATION(vmcall);
OPERATION(spin);
#undef OPERATION

/* The physical address behind the last byte of RAM below 4 GiB, from the boot loader. */
extern u32 ram_end;

/* What the operations must know beforehand, because finding out makes events. */
void processor_start(void);
void windows_start(void);

#endif
