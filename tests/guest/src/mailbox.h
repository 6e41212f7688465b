/* SPDX-License-Identifier: Apache-2.0 */
/* The page pair in guest memory through which a test on the host talks to the guest.
 * tests/guest/mailbox.py reads the same layout; the assertions below keep the two together. */
#ifndef GUEST_MAILBOX_H
#define GUEST_MAILBOX_H

#include "cpu.h"

#define MAILBOX_ADDRESS 0x200000
#define MAILBOX_MAGIC 0x4758564b /* "KVXG" */
#define MAILBOX_VERSION 1
#define MAILBOX_MAX_OPERATIONS 64

enum mailbox_state {
	STATE_BOOTING = 0,
	STATE_READY = 1,   /* spinning on command_seq */
	STATE_RUNNING = 2, /* carrying out operations */
	STATE_HALTED = 3,  /* command line done; halted for good */
};

enum mailbox_status {
	STATUS_OK = 0,
	STATUS_ERROR = 1,
};

struct mailbox {
	u32 magic; /* written last at start-up */
	u32 version;
	u32 state;
	u32 command_seq; /* the host's: moves when command[] is complete */
	u32 done_seq;	 /* the guest's: equals command_seq when the result is complete */
	u32 status;
	u64 tsc_cycles; /* spent in the operations of the last command */
	u64 tsc_hz;	/* measured against the PM timer at start-up; 0 = unknown */
	u32 operations; /* how many entries of ok_count[] the last command used */
	u32 rounds;	/* endless mode: finished rounds */
	u32 idle_wakes; /* HLTs of the last command that ended without the awaited interrupt */
	u32 reserved[3];
	u32 ok_count[MAILBOX_MAX_OPERATIONS];
	char error[192];
	char names[3584 - 512]; /* the operations this guest knows, separated by spaces */
	char padding[512];
	char command[4096];
};

#define MAILBOX_AT(field, offset)                                                                  \
	_Static_assert(__builtin_offsetof(struct mailbox, field) == (offset), #field)
MAILBOX_AT(command_seq, 0x0c);
MAILBOX_AT(done_seq, 0x10);
MAILBOX_AT(status, 0x14);
MAILBOX_AT(tsc_cycles, 0x18);
MAILBOX_AT(tsc_hz, 0x20);
MAILBOX_AT(operations, 0x28);
MAILBOX_AT(rounds, 0x2c);
MAILBOX_AT(idle_wakes, 0x30);
MAILBOX_AT(ok_count, 0x40);
MAILBOX_AT(error, 0x140);
MAILBOX_AT(names, 0x200);
MAILBOX_AT(command, 0x1000);

static volatile struct mailbox *const mailbox = (volatile struct mailbox *)MAILBOX_ADDRESS;

#endif
