/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * What a vCPU does besides I/O: MSRs, hypercalls, interrupts taken, halts.
 */

#define MSR_TSC_DEADLINE 0x6e0

/* From kvmexporter/tables/msrs.py: comparisons, which cost less than a look-up. */
static __always_inline u32 msr_slot(u32 msr)
{
	switch (msr) {
#define MSR(index, slot) case index: return slot;
	MSRS
#undef MSR
	default:
		return MSR_SLOTS - 1;
	}
}

/* kvm_msr(write, ecx, data, exception) */
int on_kvm_msr(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u32 write = ctx->args[0] != 0, msr = ctx->args[1], cell;

	if (!v)
		return 0;
	settle_io(v, IO_KERNEL);
	cell = msr_slot(msr) * 2 + write;
	verify_again(cell);
	if (cell < MSR_SLOTS * 2)
		v->msrs[cell]++;
	/* 0 disarms the timer, and a write that faults does nothing. */
	if (msr == MSR_TSC_DEADLINE && write && ctx->args[2] && !(ctx->args[3] & 0xff))
		v->timer_arms[TIMER_TSC_DEADLINE]++;
	return 0;
}

/* kvm_hypercall(nr, a0, a1, a2, a3) */
int on_kvm_hypercall(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u64 nr = ctx->args[0];

	if (!v)
		return 0;
	if (nr >= HYPERCALL_SLOTS)
		nr = HYPERCALL_SLOTS - 1;
	v->hypercalls[nr]++;
	return 0;
}

/* kvm_inj_virq(vector, soft, reinjected) */
int on_kvm_inj_virq(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u32 kind = INTERRUPT_EXTERNAL;

	if (!v)
		return 0;
	if (ctx->args[2] & 0xff)
		kind = INTERRUPT_REINJECTED;
	else if (ctx->args[1] & 0xff)
		kind = INTERRUPT_SOFTWARE;
	v->interrupts[kind]++;
	return 0;
}

int on_kvm_inj_exception(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();

	if (!v)
		return 0;
	v->interrupts[INTERRUPT_EXCEPTION]++;
	return 0;
}

/* kvm_vcpu_wakeup(ns, waited, valid) */
int on_kvm_vcpu_wakeup(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = current_vcpu();
	u32 outcome = HALT_POLL;

	if (!v)
		return 0;
	if (!(ctx->args[2] & 0xff))
		outcome = HALT_INVALID;
	else if (ctx->args[1] & 0xff)
		outcome = HALT_WAIT;
	v->halts[outcome]++;
	observe(v->halt_time, ctx->args[0]);
	return 0;
}
