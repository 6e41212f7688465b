/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: as much as a command of words and numbers needs. */
#ifndef GUEST_TEXT_H
#define GUEST_TEXT_H

#include "cpu.h"

/* A piece of a longer text, not terminated. */
struct word {
	const char *start;
	u32 length;
};

/* Takes the next blank-separated word off *text; length 0 at the end. */
struct word next_word(const char **text);
/* Cuts `word` at the first `separator`: what stood before it is returned, `word` keeps the rest. */
struct word cut(struct word *word, char separator);
int word_is(struct word word, const char *name);
/* Decimal or 0x-prefixed number below 2^32; 0 when it is no such number. */
int parse_number(struct word word, u32 *value);

#endif
