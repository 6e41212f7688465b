/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * From an address to its I/O slot, and what a write to it makes of the VM.
 *
 * A vCPU touches few places again and again, so its record keeps the regions of the
 * last ones for as long as the generation is the same: a byte each for slot, flags,
 * first kick and queues. An address that was never seen is 0.
 */
_Static_assert(IO_SLOTS <= 256 && KICK_SLOTS <= 128, "a region is kept in four bytes");
#define SEEN_PORT (1ULL << 63)
#define SEEN_PAGE (1ULL << 62)
#define SLOT_OF(seen) ((seen) & 0xff)
#define FLAGS_OF(seen) ((seen) >> 8 & 0xff)
#define FIRST_KICK_OF(seen) ((seen) >> 16 & 0xff)
#define QUEUES_OF(seen) ((seen) >> 24)

static __always_inline void forget_seen(struct vcpu *v, u64 generation)
{
	u32 tgid = v->tgid, *index = vm_indexes.lookup(&tgid), i;

	v->vm_index = index ? *index : 0;
	v->vm_generation = generation;
#pragma unroll
	for (i = 0; i < SEEN_REGIONS; i++)
		v->seen_at[i] = 0;
}

/* The region at an address, which `gpa` is if it is no port; 0 if there is none. */
static __always_inline u32 region_at(struct vcpu *v, u64 address, u64 gpa)
{
	struct region_generation *generation;
	u32 place = v->vm_index, i = address & (SEEN_REGIONS - 1), seen;
	struct region *region;
	bool split = false;
	u64 now;

	generation = region_generations.lookup(&place);
	if (!generation)
		return 0;
	now = *(volatile u64 *)generation;
	if (v->vm_generation == now && v->seen_at[i] == address)
		return v->seen[i];
	if (v->vm_generation != now)
		forget_seen(v, now);
	region = address & SEEN_PORT ? find_region(v, SPACE_PORT, address & ~SEEN_PORT)
				     : find_page(v, gpa, &split);
	if (!region || !region_holds(region, v->vm_index))
		return 0;
	seen = (region->slot & 0xff) | (region->flags & 0xff) << 8 |
	       (region->first_kick & 0xff) << 16 | region->queues << 24;
	/* Not of the whole page, or of an epoch that no generation tells. */
	if (split || region->flags & REGION_STARTS)
		return seen;
	v->seen[i] = seen;
	v->seen_at[i] = address;
	return seen;
}

/* The guest may have moved its PCI devices. */
static __always_inline void move_pci(struct vcpu *v)
{
	struct region_generation *generation;
	struct vm_epoch *now;
	u32 place = v->vm_index;

	now = vm_epochs.lookup(&place);
	generation = region_generations.lookup(&place);
	if (!now || !generation)
		return;
	__sync_fetch_and_add(&now->pci, 1);
	__sync_fetch_and_add(&generation->moved, 1);
}

/* The guest may have started a virtio device, and with it its vhost. */
static __always_inline void move_virtio(struct vcpu *v)
{
	u32 place = v->vm_index;
	struct vm_epoch *now = vm_epochs.lookup(&place);

	if (now)
		__sync_fetch_and_add(&now->virtio, 1);
}

static __always_inline void count_kick(struct vcpu *v, u32 kick)
{
	verify_again(kick);
	if (kick < KICK_SLOTS)
		v->kicks[kick]++;
}

static __always_inline u32 port_slot(struct vcpu *v, u32 port, bool write)
{
	u32 seen = region_at(v, SEEN_PORT | port, 0);

	if (!SLOT_OF(seen))
		note_unknown(v, SPACE_PORT, port);
	if (!write)
		return SLOT_OF(seen);
	if (seen >> 8) { /* it has flags or queues */
		if (QUEUES_OF(seen))
			count_kick(v, FIRST_KICK_OF(seen));
		if (FLAGS_OF(seen) & REGION_VIRTIO_STATUS)
			move_virtio(v);
	}
	if ((port & ~3) == PCI_CONFIG_DATA)
		move_pci(v);
	return SLOT_OF(seen);
}

static __always_inline u32 mmio_slot(struct vcpu *v, u64 gpa, bool write)
{
	u32 seen = region_at(v, SEEN_PAGE | gpa >> PAGE_SHIFT_4K, gpa), queue;

	if (!seen)
		note_unknown(v, SPACE_PAGE, gpa >> PAGE_SHIFT_4K);
	if (!(write && seen >> 8))
		return SLOT_OF(seen);
	if (QUEUES_OF(seen)) {
		queue = (gpa & 0xfff) >> 2;
		if (queue >= QUEUES_OF(seen))
			queue = QUEUES_OF(seen) - 1;
		count_kick(v, FIRST_KICK_OF(seen) + queue);
	}
	if (FLAGS_OF(seen) & REGION_PCI_CONFIG)
		move_pci(v);
	if ((FLAGS_OF(seen) & REGION_VIRTIO_STATUS) ||
	    ((FLAGS_OF(seen) & REGION_VIRTIO_COMMON) && (gpa & 0xfff) == VIRTIO_PCI_DEVICE_STATUS))
		move_virtio(v);
	return SLOT_OF(seen);
}
