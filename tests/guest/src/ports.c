/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on I/O ports. */
#include "failure.h"
#include "interrupts.h"
#include "operations.h"
#include "pci.h"

#define SERIAL_SCRATCH 0x3ff /* a byte of memory in the UART: nothing is transmitted */
#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define CMOS_UNUSED 0x7f /* beyond everything that firmware or QEMU keep in the CMOS memory */
#define PORTS 0x10000

#define UNUSED __attribute__((unused)) const struct request *request

void serial_read(UNUSED)
{
	inb(SERIAL_SCRATCH);
}

void serial_write(UNUSED)
{
	outb(SERIAL_SCRATCH, 0x5a);
}

void rtc_read(UNUSED)
{
	outb(RTC_INDEX, CMOS_UNUSED);
	inb(RTC_DATA);
}

void rtc_write(UNUSED)
{
	outb(RTC_INDEX, CMOS_UNUSED);
	outb(RTC_DATA, 0);
}

void need_pmtimer(UNUSED)
{
	if (!pm_timer_port)
		fail("the machine has no PIIX4 or ICH9 power management timer");
}

void pmtimer_read(UNUSED)
{
	inl(pm_timer_port);
}

/* Channel 2 drives the speaker, whose gate is closed: counting there is noticed by nobody. */
void pit_read(UNUSED)
{
	inb(PIT_CHANNEL2_PORT);
}

void pit_write(UNUSED)
{
	outb(PIT_CHANNEL2_PORT, 0xff);
}

void pic_read(UNUSED)
{
	inb(PIC_MASK_PORT);
}

void pic_write(UNUSED)
{
	outb(PIC_MASK_PORT, PIC_MASK_ALL_BUT_IRQ0);
}

/* Byte reads of these may do more than tell a value: the keyboard controller gives up its byte and
 * rules the reset line, port 92h and CF9h reset, B2h/B3h call the firmware, and the power
 * management block (found at start-up, 64 ports) switches the machine off. */
static const struct {
	u16 first, last;
} swept_round[] = {{0x60, 0x60}, {0x62, 0x64}, {0x92, 0x92}, {0xb2, 0xb3}, {0xcf9, 0xcf9}};

static u32 sweep_port;

static int may_sweep(u32 port)
{
	u32 i;

	if (pm_base_port && port >= pm_base_port && port < pm_base_port + 0x40u)
		return 0;
	for (i = 0; i < sizeof(swept_round) / sizeof(swept_round[0]); i++)
		if (port >= swept_round[i].first && port <= swept_round[i].last)
			return 0;
	return 1;
}

void start_port_sweep(UNUSED)
{
	sweep_port = 0;
}

void port_sweep(UNUSED)
{
	while (sweep_port < PORTS && !may_sweep(sweep_port))
		sweep_port++;
	if (sweep_port >= PORTS)
		fail("the port sweep has come to the last port");
	inb(sweep_port++);
}
