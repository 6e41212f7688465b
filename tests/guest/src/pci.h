/* SPDX-License-Identifier: Apache-2.0 */
/* What lies on PCI bus 0. Found once at start-up: configuration space is read by port accesses,
 * each of which is an exit, so no operation may do it. */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include "cpu.h"

#define PCI_MAX_WINDOWS 64

/* A range of physical addresses below 4 GiB, [start, end). */
struct window {
	u32 start, end;
};

extern struct window pci_windows[PCI_MAX_WINDOWS];
extern u32 pci_window_count;

/* 0 when the machine has none. */
extern u32 e1000_bar0;
extern u16 pm_timer_port;
extern u16 pm_base_port;

u32 pci_read32(u32 device, u32 offset);
u8 pci_read8(u32 device, u32 offset);
/* Address of a memory BAR, or 0 (an I/O BAR, unset, or above 4 GiB). */
u32 pci_memory_bar(u32 device, u32 bar);
void pci_enable_bus_master(u32 device);
void pci_start(void);

#endif
