/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on memory-mapped devices. */
#include "failure.h"
#include "operations.h"
#include "pci.h"
#include "virtio.h"

#define HPET_CAPABILITIES 0xfed00000
#define HPET_STATUS 0xfed00020 /* writing zeros clears nothing */
#define IOAPIC_SELECT 0xfec00000
#define IOAPIC_WINDOW 0xfec00010
#define IOAPIC_VERSION 1
#define E1000_STATUS 0x0008
#define E1000_IMC 0x00d8  /* zeros mask nothing; QEMU wants to see each write of it at once */
#define E1000_RADV 0x282c /* a delay with no effect on its own; QEMU lets KVM collect its writes */

#define MMIO_FIRST_CHOICE 0x10000000
#define MMIO_END 0xfec00000 /* from here on: IOAPIC, HPET, TPM, LAPIC, firmware */
#define ECAM_START 0xb0000000 /* where firmware puts a PCI Express machine's configuration space */
#define ECAM_END 0xc0000000
#define PAGE 0x1000

#define UNUSED __attribute__((unused)) const struct request *request

void hpet_read(UNUSED)
{
	read32(HPET_CAPABILITIES);
}

void hpet_write(UNUSED)
{
	write32(HPET_STATUS, 0);
}

void ioapic_read(UNUSED)
{
	read32(IOAPIC_WINDOW);
}

void ioapic_write(UNUSED)
{
	write32(IOAPIC_SELECT, IOAPIC_VERSION);
}

void need_e1000(UNUSED)
{
	if (!e1000_bar0)
		fail("the machine has no e1000 network card");
}

void e1000_read(UNUSED)
{
	read32(e1000_bar0 + E1000_STATUS);
}

void e1000_write(UNUSED)
{
	write32(e1000_bar0 + E1000_IMC, 0);
}

void e1000_write_coalesced(UNUSED)
{
	write32(e1000_bar0 + E1000_RADV, 0);
}

void need_virtio_device(const struct request *request)
{
	virtio_check(request->arguments[0], 0);
}

void virtio_init_once(const struct request *request)
{
	virtio_initialise(request->arguments[0]);
}

void virtio_reset_once(const struct request *request)
{
	virtio_reset(request->arguments[0]);
}

void need_virtio_queue(const struct request *request)
{
	virtio_check(request->arguments[1], request->arguments[0]);
}

void virtio_notify(const struct request *request)
{
	virtio_kick(request->arguments[1], request->arguments[0]);
}

/* ioapic_read wants the version register in the window, not one with side effects. */
void windows_start(void)
{
	write32(IOAPIC_SELECT, IOAPIC_VERSION);
}

u32 ram_end;
static u32 random_state;

/* xorshift: the same addresses in every run. */
static u32 next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static int is_free(u32 address)
{
	u32 i;

	if (address < MMIO_FIRST_CHOICE || address < ram_end || address >= MMIO_END)
		return 0;
	if (address >= ECAM_START && address < ECAM_END)
		return 0;
	for (i = 0; i < pci_window_count; i++)
		if (address + PAGE > pci_windows[i].start && address < pci_windows[i].end)
			return 0;
	return 1;
}

void start_mmio_random(UNUSED)
{
	if (!random_state)
		random_state = 2463534242u;
	if (ram_end >= ECAM_START)
		fail("mmio_random needs a guest with less RAM below 4 GiB");
}

void mmio_random(UNUSED)
{
	u32 address;

	do
		address = next_random() & ~(PAGE - 1);
	while (!is_free(address));
	read32(address);
}
