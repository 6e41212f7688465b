/* SPDX-License-Identifier: Apache-2.0 */
/* Multiboot entry, segment set-up, interrupt stubs and the jump out of a failed operation. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00000002 /* memory sizes, please */

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.globl _start
_start:
	cli
	cld
	movl $stack_top, %esp
	lgdt gdt_pointer
	ljmp $0x08, $1f
1:	movl $0x10, %ecx
	movw %cx, %ds
	movw %cx, %es
	movw %cx, %fs
	movw %cx, %gs
	movw %cx, %ss
	pushl %ebx /* multiboot information */
	pushl %eax /* boot loader magic */
	call guest_main
2:	cli
	hlt
	jmp 2b

/* int checkpoint(struct checkpoint *): 0 now, 1 when restore() comes back here. */
	.globl checkpoint
checkpoint:
	movl 4(%esp), %eax
	movl (%esp), %ecx
	movl %ebx, 0(%eax)
	movl %esi, 4(%eax)
	movl %edi, 8(%eax)
	movl %ebp, 12(%eax)
	movl %esp, 16(%eax)
	movl %ecx, 20(%eax)
	xorl %eax, %eax
	ret

/* void restore(struct checkpoint *) */
	.globl restore
restore:
	movl 4(%esp), %edx
	movl 0(%edx), %ebx
	movl 4(%edx), %esi
	movl 8(%edx), %edi
	movl 12(%edx), %ebp
	movl 16(%edx), %esp
	movl 20(%edx), %ecx
	movl %ecx, (%esp)
	movl $1, %eax
	ret

/* One stub for each of the 256 vectors, 16 bytes apart. The stack is made alike for all: those
 * exceptions for which the CPU pushes no error code get a zero. */
	.balign 16
	.globl vector_stubs
vector_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	.if (vector != 8) && (vector != 17) && (vector != 21) && (vector < 10 || vector > 14)
	pushl $0
	.endif
	pushl $vector
	jmp vector_common
	.set vector, vector + 1
	.endr

vector_common:
	pushal
	cld
	pushl %esp
	call interrupt_dispatch
	addl $4, %esp
	popal
	addl $8, %esp
	/* Not IRET: KVM's instruction emulator does not know it in protected mode, and where that
	 * emulator runs the guest, the guest would stand still. Neither privilege nor segments
	 * change here, so the flags and a near return say the same. */
	pushl 8(%esp)
	popfl
	ret $8

	.section .rodata
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9a000000ffff /* 0x08: flat code */
	.quad 0x00cf92000000ffff /* 0x10: flat data */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.bss
	.balign 16
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
