/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"
#include "failure.h"
#include "interrupts.h"
#include "mailbox.h"
#include "operations.h"
#include "text.h"

static u32 number_of(struct word word)
{
	u32 value;

	if (!parse_number(word, &value))
		fail_word("not a number: ", word);
	return value;
}

static int take_setting(struct word name, struct word value, const char *rest,
			struct settings *settings)
{
	if (!settings)
		return 0;
	if (word_is(name, "mailbox"))
		settings->wait_mailbox = 1;
	else if (word_is(name, "endless"))
		settings->endless = 1;
	else if (word_is(name, "pace_us"))
		settings->pace_us = number_of(value);
	else if (word_is(name, "delay_ms"))
		settings->delay_ms = number_of(value);
	else if (word_is(name, "then"))
		settings->repeated = rest;
	else
		return 0;
	return 1;
}

static const struct operation *find_operation(struct word name)
{
	u32 i;

	for (i = 0; i < operation_count; i++)
		if (word_is(name, operations[i].name))
			return &operations[i];
	fail_word("unknown operation: ", name);
}

static struct request parse_request(struct word rest)
{
	struct request request = {0};
	u32 i;

	request.count = number_of(cut(&rest, ':'));
	for (i = 0; i < OPERATION_ARGUMENTS && rest.length; i++)
		request.arguments[i] = number_of(cut(&rest, ':'));
	if (rest.length)
		fail_word("too many arguments: ", rest);
	return request;
}

static void run_operation(const struct operation *operation, struct request *request, u32 slot)
{
	if (operation->prepare)
		operation->prepare(request);
	for (request->number = 0; request->number < request->count; request->number++) {
		operation->once(request);
		mailbox->ok_count[slot] = request->number + 1;
	}
}

/* Goes through the text; `run` tells whether to do what it says. */
static void walk(const char *text, struct settings *settings, int run)
{
	u32 slot = 0;

	for (;;) {
		struct word rest = next_word(&text);
		const struct operation *operation;
		struct request request;
		struct word name;

		if (!rest.length)
			break;
		name = cut(&rest, '=');
		if (take_setting(name, rest, text, settings))
			continue;
		operation = find_operation(name);
		request = parse_request(rest);
		if (slot == MAILBOX_MAX_OPERATIONS)
			fail("too many operations in one command");
		if (run)
			run_operation(operation, &request, slot);
		else
			mailbox->ok_count[slot] = 0;
		slot++;
		mailbox->operations = slot;
	}
}

u32 command_check(const char *text, struct settings *settings)
{
	mailbox->operations = 0;
	mailbox->tsc_cycles = 0;
	mailbox->error[0] = 0;
	if (checkpoint(&command_checkpoint)) {
		mailbox->status = STATUS_ERROR;
		return STATUS_ERROR;
	}
	walk(text, settings, 0);
	mailbox->status = STATUS_OK;
	return STATUS_OK;
}

u32 command_run(const char *text, struct settings *settings)
{
	static u64 start;

	if (command_check(text, settings) != STATUS_OK)
		return STATUS_ERROR;
	idle_wakes = 0;
	start = rdtsc();
	if (checkpoint(&command_checkpoint)) {
		__asm__ volatile("cli" : : : "memory"); /* it may have failed while halted */
		mailbox->status = STATUS_ERROR;
	} else {
		walk(text, settings, 1);
		mailbox->status = STATUS_OK;
	}
	mailbox->tsc_cycles = rdtsc() - start;
	mailbox->idle_wakes = idle_wakes;
	return mailbox->status;
}
