/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio 1.0 PCI devices: enough of a driver to kick their queues. */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "cpu.h"

#define VIRTIO_MAX_DEVICES 4
#define VIRTIO_MAX_QUEUES 4

/* Called for each PCI device of virtio's vendor; the n-th with the modern capabilities becomes
 * device n. */
void virtio_found(u32 device);

/* All of these fail() when there is no such device or queue. */
void virtio_check(u32 index, u32 queue);
/* Reset, features, empty queues, DRIVER_OK. */
void virtio_initialise(u32 index);
void virtio_reset(u32 index);
/* One 16-bit write of the queue's number to its notify address. */
void virtio_kick(u32 index, u32 queue);

#endif
