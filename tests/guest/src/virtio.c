/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"
#include "failure.h"
#include "pci.h"

#define PCI_STATUS_CAPABILITIES 0x100000 /* in the word at 0x04 */
#define PCI_CAPABILITY_POINTER 0x34
#define CAPABILITY_VENDOR 0x09
#define CFG_COMMON 1
#define CFG_NOTIFY 2

#define DEVICE_FEATURE_SELECT 0x00
#define DEVICE_FEATURE 0x04
#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE 0x0c
#define NUM_QUEUES 0x12
#define DEVICE_STATUS 0x14
#define QUEUE_SELECT 0x16
#define QUEUE_SIZE 0x18
#define QUEUE_ENABLE 0x1c
#define QUEUE_NOTIFY_OFF 0x1e
#define QUEUE_DESC 0x20
#define QUEUE_DRIVER 0x28
#define QUEUE_DEVICE 0x30

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8
#define FEATURE_VERSION_1 1 /* bit 32: bit 0 of the second word */

#define QUEUE_LENGTH 8
#define AVAIL_NO_INTERRUPT 1
#define RESET_POLLS 1000

static struct {
	u32 pci;
	u32 common;
	u32 queues;
	u32 notify[VIRTIO_MAX_QUEUES];
} devices[VIRTIO_MAX_DEVICES];
static u32 device_count;

/* Split virtqueues, always empty: a kick finds nothing to do. */
static struct queue_memory {
	u8 descriptors[16 * QUEUE_LENGTH];
	struct {
		u16 flags, index, ring[QUEUE_LENGTH], used_event;
	} avail __attribute__((aligned(256)));
	struct {
		u16 flags, index;
		u32 ring[2 * QUEUE_LENGTH];
		u16 avail_event;
	} used __attribute__((aligned(256)));
} queue_memory[VIRTIO_MAX_DEVICES][VIRTIO_MAX_QUEUES] __attribute__((aligned(4096)));

static void read_notify_addresses(u32 index, u32 notify, u32 multiplier)
{
	u32 queue;

	devices[index].queues = read16(devices[index].common + NUM_QUEUES);
	if (devices[index].queues > VIRTIO_MAX_QUEUES)
		devices[index].queues = VIRTIO_MAX_QUEUES;
	for (queue = 0; queue < devices[index].queues; queue++) {
		write16(devices[index].common + QUEUE_SELECT, queue);
		devices[index].notify[queue] =
			notify + multiplier * read16(devices[index].common + QUEUE_NOTIFY_OFF);
	}
}

void virtio_found(u32 device)
{
	u32 common = 0, notify = 0, multiplier = 0;
	u32 at;

	if (device_count == VIRTIO_MAX_DEVICES ||
	    !(pci_read32(device, 0x04) & PCI_STATUS_CAPABILITIES))
		return;
	at = pci_read8(device, PCI_CAPABILITY_POINTER) & ~3;
	for (; at; at = pci_read8(device, at + 1) & ~3) {
		u32 address;

		if (pci_read8(device, at) != CAPABILITY_VENDOR)
			continue;
		address = pci_memory_bar(device, pci_read8(device, at + 4));
		if (!address)
			continue;
		address += pci_read32(device, at + 8);
		switch (pci_read8(device, at + 3)) {
		case CFG_COMMON:
			common = address;
			break;
		case CFG_NOTIFY:
			notify = address;
			multiplier = pci_read32(device, at + 16);
			break;
		}
	}
	if (!common || !notify)
		return;
	pci_enable_bus_master(device);
	devices[device_count].pci = device;
	devices[device_count].common = common;
	virtio_reset(device_count); /* the firmware leaves disks running */
	read_notify_addresses(device_count, notify, multiplier);
	device_count++;
}

void virtio_check(u32 index, u32 queue)
{
	if (index >= device_count)
		fail_number("no virtio 1.0 PCI device of this number: ", index);
	if (queue >= devices[index].queues)
		fail_number("the virtio device has no queue of this number: ", queue);
}

void virtio_reset(u32 index)
{
	u32 common = devices[index].common;
	u32 polls;

	write8(common + DEVICE_STATUS, 0);
	for (polls = 0; read8(common + DEVICE_STATUS); polls++)
		if (polls == RESET_POLLS)
			fail("the virtio device does not finish its reset");
}

static void enable_queue(u32 index, u32 queue)
{
	u32 common = devices[index].common;
	struct queue_memory *memory = &queue_memory[index][queue];

	write16(common + QUEUE_SELECT, queue);
	memory->avail.flags = AVAIL_NO_INTERRUPT;
	memory->avail.index = 0;
	memory->used.index = 0;
	write16(common + QUEUE_SIZE, QUEUE_LENGTH);
	write32(common + QUEUE_DESC, (u32)memory->descriptors);
	write32(common + QUEUE_DESC + 4, 0);
	write32(common + QUEUE_DRIVER, (u32)&memory->avail);
	write32(common + QUEUE_DRIVER + 4, 0);
	write32(common + QUEUE_DEVICE, (u32)&memory->used);
	write32(common + QUEUE_DEVICE + 4, 0);
	write16(common + QUEUE_ENABLE, 1);
}

void virtio_initialise(u32 index)
{
	u32 common = devices[index].common;
	u32 queue;

	virtio_reset(index);
	write8(common + DEVICE_STATUS, STATUS_ACKNOWLEDGE);
	write8(common + DEVICE_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	write32(common + DEVICE_FEATURE_SELECT, 1);
	if (!(read32(common + DEVICE_FEATURE) & FEATURE_VERSION_1))
		fail("the virtio device does not offer VIRTIO_F_VERSION_1");
	write32(common + DRIVER_FEATURE_SELECT, 0);
	write32(common + DRIVER_FEATURE, 0);
	write32(common + DRIVER_FEATURE_SELECT, 1);
	write32(common + DRIVER_FEATURE, FEATURE_VERSION_1);
	write8(common + DEVICE_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (!(read8(common + DEVICE_STATUS) & STATUS_FEATURES_OK))
		fail("the virtio device refuses VIRTIO_F_VERSION_1 alone");
	for (queue = 0; queue < devices[index].queues; queue++)
		enable_queue(index, queue);
	write8(common + DEVICE_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |
					       STATUS_DRIVER_OK);
}

void virtio_kick(u32 index, u32 queue)
{
	write16(devices[index].notify[queue], queue);
}
