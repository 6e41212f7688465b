/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * Exits by reason, and how long each keeps its vCPU out of the guest.
 *
 * The time runs from kvm_exit to the next kvm_entry of the same thread. It
 * also ends where a signal takes the vCPU out of KVM_RUN (a VMM that pauses
 * its guest, or wants the thread for itself): what follows is not handling.
 */
#define KVM_ISA_VMX 1
#define KVM_ISA_SVM 2
#define KVM_ISA_ARM64 3

/* The class of each (isa, exit slot), from kvmexporter/tables/exit_reasons.py. */
BPF_ARRAY(exit_classes, u32, 4 * EXIT_SLOTS);

static __always_inline u32 exit_slot(u32 isa, u32 code)
{
	u32 slot = UNKNOWN_EXIT_SLOT;

	if (isa == KVM_ISA_SVM) {
#define RANGE(first_code, first_slot, count) \
		if (code - (first_code) < (count)) \
			slot = code - (first_code) + (first_slot);
		SVM_SLOT_RANGES
#undef RANGE
	} else if (code < UNKNOWN_EXIT_SLOT) {
		slot = code;
	}
	return slot & (EXIT_SLOTS - 1);
}

#ifdef __aarch64__
/* As arm64_exit_code() in kvmexporter/tables/exit_reasons.py. */
static __always_inline u32 arm64_exit_code(u32 ret, u32 esr_ec)
{
	ret &= 0x7fffffff; /* bit 31: a pending SError */
	if (ret == ARM64_EXCEPTION_TRAP)
		return esr_ec;
	if (ret == ARM64_EXCEPTION_HYP_GONE)
		return ARM64_HYP_GONE_CODE;
	return ARM64_EXCEPTION_BASE + ret;
}
#endif

static __always_inline void finish_exit(struct vcpu *v)
{
	u32 exit_class = v->exit_class, slot = v->io_slot;
	u64 ns;

	if (!v->exit_ns)
		return;
	ns = bpf_ktime_get_ns() - v->exit_ns;
	v->exit_ns = 0;
	if (exit_class < EXIT_CLASSES)
		observe(&v->handling[exit_class * HISTOGRAM_WORDS], ns);
	if (slot < IO_SLOTS)
		observe(&v->io_handling[slot * HISTOGRAM_WORDS], ns);
}

#ifdef HAVE_KVM_EXIT
/* A classic tracepoint: newer kernels hand a raw one nothing but the vCPU. */
int on_kvm_exit(struct tracepoint__kvm__kvm_exit *args)
{
	u64 now = bpf_ktime_get_ns();
	struct vcpu *v = current_vcpu();
	u32 isa, code, slot, index, *exit_class;

	if (!v)
		return 0;
	settle_io(v, IO_KERNEL);
#ifdef __aarch64__
	isa = KVM_ISA_ARM64;
	code = arm64_exit_code(args->ret, args->esr_ec);
#else
	isa = args->isa;
	code = args->exit_reason;
	if (isa == KVM_ISA_VMX)
		code &= 0xffff; /* the rest are flags */
	v->vcpu_id = args->vcpu_id;
#endif
	slot = exit_slot(isa, code);
	index = (isa & 3) * EXIT_SLOTS + slot;
	exit_class = exit_classes.lookup(&index);
	v->isa = isa;
	v->exits[slot]++;
	v->exit_class = exit_class ? *exit_class : 0;
	v->io_slot = NO_IO_SLOT;
	v->read_from_userspace = 0;
	v->exit_ns = now;
	return 0;
}
#endif

int on_kvm_entry(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();

	if (!v)
		return 0;
	settle_io(v, IO_KERNEL);
	finish_exit(v);
	return 0;
}

/* kvm_userspace_exit(reason, errno) */
int on_kvm_userspace_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u32 reason = ctx->args[0];
	int error = ctx->args[1];

	if (!v)
		return 0;
	if (error < 0) {
		settle_io(v, IO_KERNEL);
		finish_exit(v);
		if (error == -EINTR || error == -EAGAIN)
			v->userspace_restarts++;
		else
			v->userspace_errors++;
		return 0;
	}
	settle_io_at_userspace_exit(v, reason);
	if (reason >= USERSPACE_EXIT_SLOTS)
		reason = UNKNOWN_USERSPACE_EXIT_SLOT;
	v->userspace_exits[reason]++;
	return 0;
}
