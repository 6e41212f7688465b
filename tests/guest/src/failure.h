/* SPDX-License-Identifier: Apache-2.0 */
/* A failed operation ends its whole command, with a sentence that the test can show. */
#ifndef GUEST_FAILURE_H
#define GUEST_FAILURE_H

#include "cpu.h"
#include "text.h"

struct checkpoint {
	u32 registers[6];
};

int checkpoint(struct checkpoint *point) __attribute__((returns_twice));
void restore(struct checkpoint *point) __attribute__((noreturn));

/* Where fail() goes; set by whoever runs commands. */
extern struct checkpoint command_checkpoint;

void fail(const char *sentence) __attribute__((noreturn));
void fail_word(const char *sentence, struct word word) __attribute__((noreturn));
void fail_number(const char *sentence, u32 number) __attribute__((noreturn));

#endif
