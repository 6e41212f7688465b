/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up and the three ways of living: mailbox, command line once, command line for ever. */
#include "command.h"
#include "failure.h"
#include "interrupts.h"
#include "mailbox.h"
#include "operations.h"
#include "pci.h"

#define MULTIBOOT_LOADER_MAGIC 0x2badb002
#define MULTIBOOT_HAS_MEMORY 0x1
#define MULTIBOOT_HAS_COMMAND_LINE 0x4
#define MULTIBOOT_LOWEST_UPPER_KIB (16 * 1024)

struct multiboot_info {
	u32 flags;
	u32 lower_kib, upper_kib;
	u32 boot_device;
	u32 command_line;
};

/* The compiler may turn loops into calls of these. */
void *memset(void *to, int value, u32 length)
{
	u8 *bytes = to;

	while (length--)
		*bytes++ = value;
	return to;
}

void *memcpy(void *to, const void *from, u32 length)
{
	u8 *out = to;
	const u8 *in = from;

	while (length--)
		*out++ = *in++;
	return to;
}

static void halt_for_good(void)
{
	mailbox->state = STATE_HALTED;
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

static void publish_names(void)
{
	u32 at = 0;
	u32 i;

	for (i = 0; i < operation_count; i++) {
		const char *name = operations[i].name;

		if (i)
			mailbox->names[at++] = ' ';
		while (*name && at < sizeof(mailbox->names) - 2)
			mailbox->names[at++] = *name++;
	}
	mailbox->names[at] = 0;
}

/* Spins on memory without PAUSE: some hosts intercept PAUSE, none can intercept a read of RAM. */
static void serve_mailbox(void)
{
	mailbox->state = STATE_READY;
	for (;;) {
		u32 seq = mailbox->command_seq;

		if (seq == mailbox->done_seq)
			continue;
		mailbox->state = STATE_RUNNING;
		command_run((const char *)mailbox->command, 0);
		mailbox->state = STATE_READY;
		compiler_barrier();
		mailbox->done_seq = seq;
	}
}

/* The boot loader passes "path-of-the-kernel words...". */
static const char *skip_program_name(const char *line)
{
	next_word(&line);
	return line;
}

static void rest(u32 us)
{
	if (checkpoint(&command_checkpoint)) {
		mailbox->status = STATUS_ERROR;
		halt_for_good();
	}
	sleep_us(us);
}

static void run_command_line(const char *line)
{
	static struct settings settings = {.pace_us = 10000};

	if (command_check(line, &settings) != STATUS_OK)
		halt_for_good();
	if (settings.wait_mailbox)
		serve_mailbox();
	mailbox->state = STATE_RUNNING;
	if (settings.delay_ms)
		spin_us(settings.delay_ms * 1000);
	do {
		if (command_run(line, &settings) != STATUS_OK)
			halt_for_good();
		if (settings.repeated)
			line = settings.repeated;
		mailbox->rounds++;
		if (settings.endless && settings.pace_us)
			rest(settings.pace_us);
	} while (settings.endless);
	halt_for_good();
}

static void start_up(const struct multiboot_info *info)
{
	ram_end = 0x100000 + info->upper_kib * 1024;
	interrupts_start();
	processor_start();
	pci_start();
	windows_start();
	if (pm_timer_port)
		tsc_calibrate(pm_timer_port);
	mailbox->tsc_hz = tsc_hz;
	mailbox->version = MAILBOX_VERSION;
	publish_names();
	compiler_barrier();
	mailbox->magic = MAILBOX_MAGIC;
}

void guest_main(u32 magic, const struct multiboot_info *info)
{
	const u32 needed = MULTIBOOT_HAS_MEMORY | MULTIBOOT_HAS_COMMAND_LINE;

	if (magic != MULTIBOOT_LOADER_MAGIC || (info->flags & needed) != needed ||
	    info->upper_kib + 1024 < MULTIBOOT_LOWEST_UPPER_KIB)
		return;
	if (checkpoint(&command_checkpoint)) { /* start-up met an exception; the text is set */
		mailbox->status = STATUS_ERROR;
		mailbox->magic = MAILBOX_MAGIC;
		halt_for_good();
	}
	start_up(info);
	run_command_line(skip_program_name((const char *)info->command_line));
}
