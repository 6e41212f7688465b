/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only) */
/*
 * One record per vCPU thread: what every probe writes to.
 *
 * Only the thread itself writes its record, so a probe looks it up and then
 * does plain adds; exits have their class, and I/O its region, looked up too.
 * The record starts with what is known of the vCPU, followed by nothing but
 * u64 counters, which user space adds up without knowing them.
 *
 * The sizes (EXIT_SLOTS, IO_SLOTS, ...) are macros that the loader defines
 * from kvmexporter/tables and kvmexporter/bpf/request.py.
 */
#include <linux/types.h>
#include <uapi/asm-generic/errno.h>

enum io_access { IO_PIO, IO_MMIO };
enum io_direction { IO_READ, IO_WRITE };
enum io_handler { IO_KERNEL, IO_USERSPACE };

/* The cells of one I/O slot: access * 4 + direction * 2 + handler, and fast MMIO. */
#define IO_FAST_MMIO_CELL 8
#define IO_CELLS 9
#define NO_IO_SLOT 0xffffffff

/* A power of two. */
#define SEEN_REGIONS 8
#define NO_GENERATION (~0ULL)

enum interrupt_kind { INTERRUPT_EXTERNAL, INTERRUPT_SOFTWARE, INTERRUPT_REINJECTED,
		      INTERRUPT_EXCEPTION, INTERRUPT_KINDS };
enum halt_outcome { HALT_POLL, HALT_WAIT, HALT_INVALID, HALT_OUTCOMES };
enum timer_arm { TIMER_TSC_DEADLINE, TIMER_COUNT, TIMER_ARMS };
enum hv_timer_state { HV_TIMER_HARDWARE, HV_TIMER_SOFTWARE, HV_TIMER_STATES };

/* Buckets by powers of two: the first holds up to 1024 ns, the last has no
 * upper bound; after them, the sum in nanoseconds. */
#define HISTOGRAM_FIRST_SHIFT 10
#define HISTOGRAM_WORDS (HISTOGRAM_BUCKETS + 1)

struct vcpu {
	u64 created_ns;		/* CLOCK_BOOTTIME; written last, 0 while being made */
	u64 exit_ns;		/* CLOCK_MONOTONIC of the exit being handled, else 0 */
	u32 tgid;
	u32 vcpu_id;
	u32 isa;
	u32 exit_class;		/* of the exit being handled */
	u32 io_slot;		/* that the exit being handled touched, else NO_IO_SLOT */
	u32 pending_cell;	/* 1 + index in io[] of an access whose handler is not known yet */
	u32 pending_kind;	/* and what it is, as io.bpf.c has it */
	u32 read_from_userspace; /* 1 + access: a read that userspace has just answered */
	u32 unused;
	u32 vm_index;		/* of its VM, while vm_generation is current; else 0 */
	u32 tsc_scale;		/* guest TSC cycles to ns, 24 fractional bits; 0: not known */
	u32 tid;		/* in near_vcpus: 0 when the thread has ended */
	u64 vm_generation;
	u64 seen_at[SEEN_REGIONS];	/* regions touched lately: as regions.bpf.c has it */
	u32 seen[SEEN_REGIONS];

	u64 exits[EXIT_SLOTS];
	u64 handling[EXIT_CLASSES * HISTOGRAM_WORDS];
	u64 userspace_exits[USERSPACE_EXIT_SLOTS];
	u64 userspace_restarts;
	u64 userspace_errors;
	u64 io[IO_SLOTS * IO_CELLS];
	u64 kicks[KICK_SLOTS];
	u64 msrs[MSR_SLOTS * 2];
	u64 hypercalls[HYPERCALL_SLOTS];
	u64 interrupts[INTERRUPT_KINDS];
	u64 halts[HALT_OUTCOMES];
	u64 halt_time[HISTOGRAM_WORDS];
	u64 timer_arms[TIMER_ARMS];
	u64 hv_timer[HV_TIMER_STATES];
	u64 timer_early[1];
	u64 timer_early_ns[1];
	u64 timer_lateness[HISTOGRAM_WORDS]; /* those that were early among them, as 0 */
	u64 io_handling[IO_SLOTS * HISTOGRAM_WORDS]; /* the largest, and last: most slots are not in use */
};

/* Keeps the compiler from proving a bound that the verifier cannot follow. */
#define verify_again(value) asm volatile("" : "+r"(value))

/* floor(log2(value)) for a value below 2^32; 0 for 0. */
static __always_inline u32 log2_u32(u32 value)
{
	u32 result, shift;

	result = (value > 0xffff) << 4; value >>= result;
	shift = (value > 0xff) << 3; value >>= shift; result |= shift;
	shift = (value > 0xf) << 2; value >>= shift; result |= shift;
	shift = (value > 0x3) << 1; value >>= shift; result |= shift;
	return result | (value >> 1);
}

static __always_inline void observe(u64 *histogram, u64 ns)
{
	u64 below = ns ? ns - 1 : 0; /* a bound belongs to the bucket below it */
	u32 bucket = 0;

	if (below >> 32)
		bucket = HISTOGRAM_BUCKETS - 1;
	else if (below >> HISTOGRAM_FIRST_SHIFT)
		bucket = log2_u32(below) - HISTOGRAM_FIRST_SHIFT + 1;
	verify_again(bucket);
	if (bucket < HISTOGRAM_BUCKETS)
		histogram[bucket]++;
	histogram[HISTOGRAM_BUCKETS] += ns;
}
