/* SPDX-License-Identifier: Apache-2.0 */
#include "pci.h"
#include "virtio.h"

#define PCI_ADDRESS_PORT 0xcf8
#define PCI_DATA_PORT 0xcfc
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 0x2
#define PCI_COMMAND_MASTER 0x4
#define PCI_CLASS_REVISION 0x08
#define PCI_HEADER_TYPE 0x0c /* third byte of this word */
#define PCI_BAR0 0x10
#define PCI_BRIDGE_MEMORY 0x20
#define PCI_BRIDGE_PREFETCH 0x24

#define ID(vendor, device) ((vendor) | (u32)(device) << 16)
#define ID_E1000 ID(0x8086, 0x100e)
#define ID_PIIX4_PM ID(0x8086, 0x7113)
#define ID_ICH9_LPC ID(0x8086, 0x2918)
#define VENDOR_VIRTIO 0x1af4
#define PM_BASE_REGISTER 0x40 /* the same in PIIX4 and ICH9 */
#define PM_TIMER_OFFSET 8

struct window pci_windows[PCI_MAX_WINDOWS];
u32 pci_window_count;
u32 e1000_bar0;
u16 pm_timer_port;
u16 pm_base_port;

/* `device` is bus << 16 | slot << 11 | function << 8, as in the address port. */
u32 pci_read32(u32 device, u32 offset)
{
	outl(PCI_ADDRESS_PORT, 0x80000000 | device | offset);
	return inl(PCI_DATA_PORT);
}

static void pci_write32(u32 device, u32 offset, u32 value)
{
	outl(PCI_ADDRESS_PORT, 0x80000000 | device | offset);
	outl(PCI_DATA_PORT, value);
}

u8 pci_read8(u32 device, u32 offset)
{
	return pci_read32(device, offset & ~3) >> (8 * (offset & 3));
}

u32 pci_memory_bar(u32 device, u32 bar)
{
	u32 low = pci_read32(device, PCI_BAR0 + 4 * bar);

	if (low & 1)
		return 0;
	if ((low & 6) == 4 && bar < 5 && pci_read32(device, PCI_BAR0 + 4 * bar + 4))
		return 0;
	return low & ~15;
}

/* The status half is write-one-to-clear: zeros leave it alone. */
static void add_command(u32 device, u32 bits)
{
	pci_write32(device, PCI_COMMAND, (pci_read32(device, PCI_COMMAND) & 0xffff) | bits);
}

void pci_enable_bus_master(u32 device)
{
	add_command(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void add_window(u32 start, u32 last)
{
	if (start && last >= start && pci_window_count < PCI_MAX_WINDOWS)
		pci_windows[pci_window_count++] = (struct window){start, last + 1};
}

static void add_bars(u32 device)
{
	u32 bar;

	for (bar = 0; bar < 6; bar++) {
		u32 offset = PCI_BAR0 + 4 * bar;
		u32 low = pci_read32(device, offset);
		u32 address = pci_memory_bar(device, bar);
		u32 size;

		if (address) {
			pci_write32(device, offset, ~0u);
			size = ~(pci_read32(device, offset) & ~15) + 1;
			pci_write32(device, offset, low);
			add_window(address, address + size - 1);
		}
		if ((low & 7) == 4)
			bar++;
	}
}

static void add_bridge(u32 device)
{
	u32 memory = pci_read32(device, PCI_BRIDGE_MEMORY);
	u32 prefetch = pci_read32(device, PCI_BRIDGE_PREFETCH);

	add_window((memory & 0xfff0) << 16, memory | 0xfffff);
	add_window((prefetch & 0xfff0) << 16, prefetch | 0xfffff);
}

static void visit(u32 device, u32 id, u32 header)
{
	if ((header & 0x7f) == 1)
		add_bridge(device);
	else
		add_bars(device);
	if (id == ID_E1000 && !e1000_bar0) {
		e1000_bar0 = pci_memory_bar(device, 0);
		add_command(device, PCI_COMMAND_MEMORY);
	}
	if (id == ID_PIIX4_PM || id == ID_ICH9_LPC) {
		pm_base_port = pci_read32(device, PM_BASE_REGISTER) & 0xff80;
		pm_timer_port = pm_base_port ? pm_base_port + PM_TIMER_OFFSET : 0;
	}
	if ((id & 0xffff) == VENDOR_VIRTIO)
		virtio_found(device);
}

void pci_start(void)
{
	u32 slot, function;

	for (slot = 0; slot < 32; slot++) {
		for (function = 0; function < 8; function++) {
			u32 device = slot << 11 | function << 8;
			u32 id = pci_read32(device, 0);
			u32 header;

			if ((id & 0xffff) == 0xffff) {
				if (function == 0)
					break;
				continue;
			}
			header = pci_read32(device, PCI_HEADER_TYPE) >> 16;
			visit(device, id, header);
			if (function == 0 && !(header & 0x80))
				break;
		}
	}
}
