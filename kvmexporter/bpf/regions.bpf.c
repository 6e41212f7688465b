/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * Which I/O slot an address belongs to.
 *
 * A guest chooses the addresses it touches, so it must not choose what is kept:
 * user space alone fills this table, from what the VMM says of its devices. What
 * is not in it is slot 0.
 *
 * A guest may move its PCI devices, and start a virtio device's vhost. Both show
 * as writes to PCI configuration space or to a device's status, each of which
 * makes the VM's epoch move on. What depends on it is slot 0 again from there on,
 * until user space has asked the VMM anew and confirmed the epoch: a device's
 * count may start late, it may not be another's.
 */
enum region_space { SPACE_PORT, SPACE_PAGE, SPACE_LARGE_PAGE, SPACE_CHUNK };
#define PAGE_SHIFT_4K 12
#define PAGE_SHIFT_2M 21
#define CHUNK_SHIFT 4

/* region.flags */
#define REGION_SPLIT 1		/* devices share this page: look up the chunk */
#define REGION_MOVES 2		/* void until the epoch of PCI is confirmed */
#define REGION_STARTS 4		/* void until the epoch of virtio is confirmed */
#define REGION_PCI_CONFIG 8	/* memory-mapped PCI configuration space */
#define REGION_VIRTIO_COMMON 16	/* a virtio device's common configuration */
#define REGION_VIRTIO_STATUS 32	/* a virtio device's status, by itself */

#define PCI_CONFIG_DATA 0xcfc	/* four ports */
#define VIRTIO_PCI_DEVICE_STATUS 20

struct region_key {
	u64 page;		/* a port, or a guest physical address shifted */
	u32 tgid;
	u32 space;
};
struct region {
	u32 slot;
	u32 flags;
	u32 first_kick;		/* in kicks[], of a virtio notify window */
	u32 queues;		/* notified through this window, 0 if it is none */
};
BPF_F_TABLE("hash", struct region_key, struct region, regions, MAX_REGIONS, BPF_F_NO_PREALLOC);

/* VM (tgid) to its place in the arrays below; 0: not known yet. */
BPF_HASH(vm_indexes, u32, u32, MAX_VMS);

struct vm_epoch {
	u32 pci;
	u32 virtio;
};
BPF_ARRAY(vm_epochs, struct vm_epoch, MAX_VMS);		/* written here */
BPF_ARRAY(vm_confirmed, struct vm_epoch, MAX_VMS);	/* written by user space */

/* Differs from all before it whenever what is known of a VM's regions may be another:
 * user space has told something (a number that it never uses again, and 0 above it),
 * or the epoch of PCI has moved. That of place 0 moves when a VM gets a place. */
struct region_generation {
	u32 told;
	u32 moved;
};
BPF_ARRAY(region_generations, struct region_generation, MAX_VMS);

/* Addresses that belong to no region, a sample for people to look at. */
BPF_TABLE("lru_hash", struct region_key, u64, unknown_addresses, MAX_UNKNOWN);

static __always_inline struct region *find_region(struct vcpu *v, u32 space, u64 page)
{
	struct region_key key = { .page = page, .tgid = v->tgid, .space = space };

	return regions.lookup(&key);
}

static __always_inline void note_unknown(struct vcpu *v, u32 space, u64 page)
{
	struct region_key key = { .page = page, .tgid = v->tgid, .space = space };
	u64 one = 1, *count = unknown_addresses.lookup(&key);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		unknown_addresses.update(&key, &one);
}

static __always_inline bool region_holds(struct region *region, u32 index)
{
	struct vm_epoch *now, *confirmed;

	if (!(region->flags & (REGION_MOVES | REGION_STARTS)))
		return true;
	now = vm_epochs.lookup(&index);
	confirmed = vm_confirmed.lookup(&index);
	if (!now || !confirmed)
		return false;
	if ((region->flags & REGION_MOVES) && now->pci != confirmed->pci)
		return false;
	return !(region->flags & REGION_STARTS) || now->virtio == confirmed->virtio;
}

static __always_inline struct region *find_page(struct vcpu *v, u64 gpa, bool *split)
{
	struct region *region = find_region(v, SPACE_PAGE, gpa >> PAGE_SHIFT_4K);

	if (!region)
		return find_region(v, SPACE_LARGE_PAGE, gpa >> PAGE_SHIFT_2M);
	*split = region->flags & REGION_SPLIT;
	return *split ? find_region(v, SPACE_CHUNK, gpa >> CHUNK_SHIFT) : region;
}
