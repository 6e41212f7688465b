/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * Port and memory-mapped I/O: which region, which direction, who handled it.
 *
 * KVM traces an access before it knows who will handle it, so an access waits
 * in pending_cell until the thread's next event tells: its own userspace exit
 * means userspace, anything else means the kernel did it. Nothing is counted
 * before that, so that no counter ever has to be taken back.
 *
 *   OUT              kvm_pio, [kvm_userspace_exit IO]
 *   IN               [kvm_userspace_exit IO,] kvm_pio
 *   MMIO write       kvm_mmio type 2, [kvm_userspace_exit MMIO]
 *   MMIO read        [kvm_mmio type 0, kvm_userspace_exit MMIO,] kvm_mmio type 1
 *   ...on arm64      kvm_mmio type 0, [kvm_userspace_exit MMIO,] kvm_mmio type 1
 *   eventfd write    kvm_fast_mmio (VMX with EPT misconfiguration), else as an MMIO write
 */
#define KVM_EXIT_IO 2
#define KVM_EXIT_MMIO 6

/* The access that waits: the userspace exit that would be its own, and its direction. */
#define PENDING(reason, write) ((reason) << 1 | (write))
#define PENDING_WRITE 1

static __always_inline void settle_io(struct vcpu *v, u32 handler)
{
	u32 cell = v->pending_cell;

	if (!cell)
		return;
	v->pending_cell = 0;
	cell += handler - 1;
	verify_again(cell);
	if (cell < IO_SLOTS * IO_CELLS)
		v->io[cell]++;
}

static __always_inline void settle_io_at_userspace_exit(struct vcpu *v, u32 reason)
{
	if (v->pending_cell && v->pending_kind >> 1 == reason) {
		settle_io(v, IO_USERSPACE);
		if (!(v->pending_kind & PENDING_WRITE))
			v->read_from_userspace = 1 + IO_MMIO;
		return;
	}
	settle_io(v, IO_KERNEL);
	/* An IN shows itself only when userspace has answered it. */
	if (reason == KVM_EXIT_IO)
		v->read_from_userspace = 1 + IO_PIO;
}

static __always_inline u32 first_cell(struct vcpu *v, u32 slot, u32 access, u32 direction)
{
	if (slot >= IO_SLOTS)
		slot = 0;
	v->io_slot = slot;
	return slot * IO_CELLS + access * 4 + direction * 2;
}

static __always_inline void count_io(struct vcpu *v, u32 cell)
{
	verify_again(cell);
	if (cell < IO_SLOTS * IO_CELLS)
		v->io[cell]++;
}

/* kvm_pio(rw, port, size, count, data) */
int on_kvm_pio(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u32 write, cell;

	if (!v)
		return 0;
	settle_io(v, IO_KERNEL);
	write = ctx->args[0] != 0;
	cell = first_cell(v, port_slot(v, ctx->args[1], write), IO_PIO, write);
	if (write) {
		v->pending_cell = cell + 1;
		v->pending_kind = PENDING(KVM_EXIT_IO, IO_WRITE);
	} else {
		count_io(v, cell + (v->read_from_userspace == 1 + IO_PIO));
	}
	v->read_from_userspace = 0;
	return 0;
}

/* kvm_mmio(type, len, gpa, data); type 0: read not satisfied, 1: read, 2: write */
int on_kvm_mmio(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u32 type = ctx->args[0];
	bool write = type == 2;
	u32 cell;

	if (!v)
		return 0;
	if (type == 1) {
		if (v->read_from_userspace == 1 + IO_MMIO) {
			v->read_from_userspace = 0;
			return 0;
		}
		if (v->pending_cell && v->pending_kind == PENDING(KVM_EXIT_MMIO, IO_READ)) {
			settle_io(v, IO_KERNEL);
			return 0;
		}
	}
	settle_io(v, IO_KERNEL);
	cell = first_cell(v, mmio_slot(v, ctx->args[2], write), IO_MMIO, write);
	if (type == 1) {
		count_io(v, cell);
	} else {
		v->pending_cell = cell + 1;
		v->pending_kind = PENDING(KVM_EXIT_MMIO, write);
	}
	v->read_from_userspace = 0;
	return 0;
}

/* kvm_fast_mmio(gpa) */
int on_kvm_fast_mmio(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u32 slot;

	if (!v)
		return 0;
	settle_io(v, IO_KERNEL);
	slot = mmio_slot(v, ctx->args[0], true);
	count_io(v, first_cell(v, slot, IO_PIO, IO_READ) + IO_FAST_MMIO_CELL);
	return 0;
}

/* Where guests run in KVM's instruction emulator, no kvm_entry says that an
 * access is done with; the next instruction does. */
int on_kvm_emulate_insn(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = known_vcpu();

	if (!v)
		return 0;
	settle_io(v, IO_KERNEL);
	v->read_from_userspace = 0;
	return 0;
}
