/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * Where the records of vCPU threads are kept.
 *
 * Every event begins with finding its record, and a hash map's look-up is most of
 * what an event may cost. So the first threads to come have theirs in an array, at
 * the low bits of their number, where finding it is a comparison. The others, and
 * those whose place is taken, have it in a hash map.
 */

/* Preallocated, by the number of processors: those many run at a time. Here user
 * space takes out the records of threads that ended, and gives their places back. */
BPF_ARRAY(near_vcpus, struct vcpu, NEAR_VCPUS);

/* Who has a place, so that no two threads begin in it together. */
BPF_HASH(near_owners, u32, u32, NEAR_VCPUS);

/* Not preallocated: a record is 20 KB, and most hosts run few of MAX_VCPUS. */
BPF_F_TABLE("hash", u32, struct vcpu, vcpus, MAX_VCPUS, BPF_F_NO_PREALLOC);

/* Records of `vcpus` whose threads ended, until user space has added them to their VM. */
struct retired_key {
	u64 created_ns;
	u64 pid_tgid;
};
BPF_F_TABLE("hash", struct retired_key, struct vcpu, retired, MAX_RETIRED, BPF_F_NO_PREALLOC);

/* All zero: what a new record starts from, too large for the stack. */
BPF_ARRAY(blank_vcpu, struct vcpu, 1);

/* Processes whose vCPU threads were just met; user space takes them out. */
BPF_QUEUE(met, u32, MAX_MET);

enum drop { DROP_VCPU, DROP_RETIRED, DROP_CLOCK, DROPS };
BPF_ARRAY(drops, u64, DROPS);

static __always_inline void count_drop(u32 what)
{
	u64 *n = drops.lookup(&what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* An empty place, or room in the hash map. */
static __always_inline struct vcpu *new_record(u32 tid)
{
	u32 zero = 0, place = tid & (NEAR_VCPUS - 1);
	struct vcpu *blank, *v;

	if (!near_owners.insert(&place, &tid)) {
		v = near_vcpus.lookup(&place);
		if (v)
			return v;
	}
	blank = blank_vcpu.lookup(&zero);
	if (!blank)
		return 0;
	vcpus.insert(&tid, blank);
	return vcpus.lookup(&tid);
}

static __always_inline struct vcpu *new_vcpu(u64 pid_tgid)
{
	u32 tid = pid_tgid, tgid = pid_tgid >> 32;
	struct vcpu *v = new_record(tid);

	if (!v) {
		count_drop(DROP_VCPU);
		return 0;
	}
	v->tgid = tgid;
	v->tid = tid;
	v->io_slot = NO_IO_SLOT;
	v->vm_generation = NO_GENERATION;
	v->created_ns = bpf_ktime_get_boot_ns();
	met.push(&tgid, BPF_ANY);
	return v;
}

static __always_inline struct vcpu *find_vcpu(u32 tid)
{
	u32 place = tid & (NEAR_VCPUS - 1);
	struct vcpu *v = near_vcpus.lookup(&place);

	if (v && v->tid == tid)
		return v;
	return vcpus.lookup(&tid);
}

/* The record of the vCPU whose thread runs this, made at its first event. */
static __always_inline struct vcpu *current_vcpu(void)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct vcpu *v = find_vcpu(pid_tgid);

	return v ? v : new_vcpu(pid_tgid);
}

/* For what others may do to a vCPU, too: no record is made for that. */
static __always_inline struct vcpu *known_vcpu(void)
{
	return find_vcpu(bpf_get_current_pid_tgid());
}

/* A thread that ends leaves its counts behind for its VM; its tid may come again. */
int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid, place = tid & (NEAR_VCPUS - 1);
	struct vcpu *v = near_vcpus.lookup(&place);
	struct retired_key key = {};

	if (v && v->tid == tid) {
		v->tid = 0;
		return 0;
	}
	v = vcpus.lookup(&tid);
	if (!v)
		return 0;
	key.created_ns = v->created_ns;
	key.pid_tgid = pid_tgid;
	if (retired.update(&key, v))
		count_drop(DROP_RETIRED);
	vcpus.delete(&tid);
	return 0;
}
