/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * The VM's timers and clocks: how late timers fire, what guests arm them with,
 * and what KVM makes of the TSC.
 *
 * Timers belong to vCPU threads, and are counted in their records. What KVM does
 * to a VM's clock may run in any of its threads: that is kept by process, in
 * maps of its own, and those events come a few times in a VM's life.
 */
#define APIC_TMICT 0x380	/* the local APIC's initial count, arch/x86/include/asm/apicdef.h */
#define MAX_CYCLES (1ULL << 39)	/* minutes; more would not fit the multiplication */
#define PVCLOCK_TSC_STABLE 1	/* arch/x86/include/asm/pvclock-abi.h */

/* A VM's clock, by process. The states are 0 while nothing is known, else 1 + value. */
struct vm_clock {
	u64 created_ns;		/* CLOCK_BOOTTIME */
	u64 master_clock_changes;
	u64 pvclock_updates;
	u32 master_clock;
	u32 host_clock;
};
BPF_F_TABLE("hash", u32, struct vm_clock, vm_clocks, MAX_VMS, BPF_F_NO_PREALLOC);

/* What is added to the host's TSC for a vCPU, by process and vCPU. */
struct tsc_offset_key {
	u32 tgid;
	u32 vcpu_id;
};
struct tsc_offset {
	u64 created_ns;
	u64 offset;
	u64 writes;
};
BPF_F_TABLE("hash", struct tsc_offset_key, struct tsc_offset, tsc_offsets, MAX_VCPUS,
	    BPF_F_NO_PREALLOC);

static __always_inline struct vm_clock *current_vm_clock(void)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct vm_clock *clock = vm_clocks.lookup(&tgid), fresh = {};

	if (clock)
		return clock;
	fresh.created_ns = bpf_ktime_get_boot_ns();
	vm_clocks.insert(&tgid, &fresh);
	clock = vm_clocks.lookup(&tgid);
	if (!clock)
		count_drop(DROP_CLOCK);
	return clock;
}

/* kvm_update_master_clock(use_master_clock, host_clock, offset_matched), serialised by KVM */
int on_kvm_update_master_clock(struct bpf_raw_tracepoint_args *ctx)
{
	struct vm_clock *clock = current_vm_clock();
	u32 state = 1 + !!(ctx->args[0] & 0xff);

	if (!clock)
		return 0;
	if (clock->master_clock && clock->master_clock != state)
		clock->master_clock_changes++;
	clock->master_clock = state;
	clock->host_clock = 1 + (u32)ctx->args[1];
	return 0;
}

/* kvm_track_tsc(vcpu_id, nr_matched, online_vcpus, use_master_clock, host_clock) */
int on_kvm_track_tsc(struct bpf_raw_tracepoint_args *ctx)
{
	struct vm_clock *clock = current_vm_clock();

	if (!clock)
		return 0;
	if (!clock->master_clock)
		clock->master_clock = 1 + !!(ctx->args[3] & 0xff);
	clock->host_clock = 1 + (u32)ctx->args[4];
	return 0;
}

/* kvm_write_tsc_offset(vcpu_id, previous, next) */
int on_kvm_write_tsc_offset(struct bpf_raw_tracepoint_args *ctx)
{
	struct tsc_offset_key key = {.tgid = bpf_get_current_pid_tgid() >> 32,
				     .vcpu_id = ctx->args[0]};
	struct tsc_offset *known = tsc_offsets.lookup(&key), fresh = {};

	if (!known) {
		fresh.created_ns = bpf_ktime_get_boot_ns();
		tsc_offsets.insert(&key, &fresh);
		known = tsc_offsets.lookup(&key);
	}
	if (!known) {
		count_drop(DROP_CLOCK);
		return 0;
	}
	known->offset = ctx->args[2];
	__sync_fetch_and_add(&known->writes, 1);
	return 0;
}

#ifdef HAVE_KVM_PVCLOCK_UPDATE
/* A classic tracepoint: a raw one is handed a pointer to what it records. */
int on_kvm_pvclock_update(struct tracepoint__kvm__kvm_pvclock_update *args)
{
	struct vm_clock *clock = current_vm_clock();
	struct vcpu *v = known_vcpu();
	u32 scale = args->tsc_to_system_mul >> 8;
	int shift = (signed char)args->tsc_shift;

	if (!clock)
		return 0;
	__sync_fetch_and_add(&clock->pvclock_updates, 1);
	/* Of a VM older than these programs, nothing else tells. */
	if (!clock->master_clock)
		clock->master_clock = 1 + !!(args->flags & PVCLOCK_TSC_STABLE);
	if (v)
		v->tsc_scale = shift < 0 ? scale >> (-shift & 31) : scale << (shift & 31);
	return 0;
}
#endif

/* kvm_hv_timer_state(vcpu_id, hv_timer_in_use) */
int on_kvm_hv_timer_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = known_vcpu();

	if (!v)
		return 0;
	if ((u32)ctx->args[1])
		v->hv_timer[HV_TIMER_HARDWARE]++;
	else
		v->hv_timer[HV_TIMER_SOFTWARE]++;
	return 0;
}

/* As vcpu.tsc_scale, of the host's TSC: measured anew at each start. */
BPF_ARRAY(host_tsc_scale, u32, 1);

/* kvm_wait_lapic_expire(vcpu_id, delta): guest cycles, negative before the deadline */
int on_kvm_wait_lapic_expire(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v = known_vcpu();
	s64 delta = ctx->args[1];
	u64 cycles = delta < 0 ? -delta : delta, ns;
	u32 scale, zero = 0, *of_host = host_tsc_scale.lookup(&zero);

	if (!v || !of_host)
		return 0;
	/* The guest's own rate where its kvm-clock tells it, else that of the host's TSC. */
	scale = v->tsc_scale ? v->tsc_scale : *of_host;
	if (!scale)
		return 0;
	if (cycles > MAX_CYCLES)
		cycles = MAX_CYCLES;
	ns = cycles * scale >> 24;
	if (delta < 0) {
		v->timer_early[0]++;
		v->timer_early_ns[0] += ns;
		ns = 0;
	}
	observe(v->timer_lateness, ns);
	return 0;
}

/* kvm_apic(rw, reg, val): every way to the local APIC's registers, xAPIC, x2APIC and APICv */
int on_kvm_apic(struct bpf_raw_tracepoint_args *ctx)
{
	struct vcpu *v;

	if ((u32)ctx->args[1] != APIC_TMICT || !(u32)ctx->args[0] || !ctx->args[2])
		return 0;
	v = known_vcpu();
	if (v)
		v->timer_arms[TIMER_COUNT]++;
	return 0;
}
