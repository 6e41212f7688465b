/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: "name=count[:argument[:argument]] ...", carried out from left to right. */
#ifndef GUEST_COMMAND_H
#define GUEST_COMMAND_H

#include "cpu.h"

/* Words that are settings of the command line, not operations. */
struct settings {
	u32 wait_mailbox; /* "mailbox" */
	u32 endless;	  /* "endless" */
	u32 pace_us;	  /* "pace_us=": pause after each endless round */
	u32 delay_ms;	  /* "delay_ms=": pause before the first operation */
	const char *repeated; /* what follows "then": all that later rounds do */
};

/* Checks the whole text, then runs it and fills the mailbox's result fields, STATUS_ERROR and the
 * error text included. `settings` may be 0: then settings are unknown words. Returns the status. */
u32 command_run(const char *text, struct settings *settings);
/* The checking alone, for the settings in it. */
u32 command_check(const char *text, struct settings *settings);

#endif
