/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

struct word next_word(const char **text)
{
	struct word word;

	while (is_blank(**text))
		(*text)++;
	word.start = *text;
	while (**text && !is_blank(**text))
		(*text)++;
	word.length = *text - word.start;
	return word;
}

struct word cut(struct word *word, char separator)
{
	struct word before = *word;
	u32 i = 0;

	while (i < word->length && word->start[i] != separator)
		i++;
	before.length = i;
	if (i < word->length)
		i++;
	word->start += i;
	word->length -= i;
	return before;
}

int word_is(struct word word, const char *name)
{
	u32 i;

	for (i = 0; i < word.length; i++)
		if (name[i] == 0 || name[i] != word.start[i])
			return 0;
	return name[i] == 0;
}

static u32 digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 99;
}

int parse_number(struct word word, u32 *value)
{
	u64 sum = 0;
	u32 base = 10;
	u32 i = 0;

	if (word.length > 2 && word.start[0] == '0' && word.start[1] == 'x') {
		base = 16;
		i = 2;
	}
	if (i == word.length)
		return 0;
	for (; i < word.length; i++) {
		u32 digit = digit_value(word.start[i]);

		if (digit >= base)
			return 0;
		sum = sum * base + digit;
		if (sum >> 32)
			return 0;
	}
	*value = sum;
	return 1;
}
