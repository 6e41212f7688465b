/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"
#include "mailbox.h"

struct checkpoint command_checkpoint;

static u32 append(u32 at, const char *text, u32 length)
{
	u32 i;

	for (i = 0; i < length && text[i] && at < sizeof(mailbox->error) - 1; i++)
		mailbox->error[at++] = text[i];
	mailbox->error[at] = 0;
	return at;
}

void fail(const char *sentence)
{
	append(0, sentence, ~0u);
	restore(&command_checkpoint);
}

void fail_word(const char *sentence, struct word word)
{
	append(append(0, sentence, ~0u), word.start, word.length);
	restore(&command_checkpoint);
}

void fail_number(const char *sentence, u32 number)
{
	char digits[11] = "0x";
	u32 i;

	for (i = 0; i < 8; i++)
		digits[2 + i] = "0123456789abcdef"[(number >> (28 - 4 * i)) & 15];
	append(append(0, sentence, ~0u), digits, 10);
	restore(&command_checkpoint);
}
