/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions that C has no words for. */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

_Static_assert(sizeof(u32) == 4 && sizeof(void *) == 4, "the guest is a 32-bit program");

static inline void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline u8 inb(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline void outl(u16 port, u32 value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline u32 inl(u16 port)
{
	u32 value;
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* Device memory is touched by plain moves of the exact width: that is all that hypervisors
 * promise to decode, and one move is one event. */
static inline u32 read32(u32 address)
{
	u32 value;
	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline u16 read16(u32 address)
{
	u16 value;
	__asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline u8 read8(u32 address)
{
	u8 value;
	__asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
	return value;
}

static inline void write32(u32 address, u32 value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline void write16(u32 address, u16 value)
{
	__asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline void write8(u32 address, u8 value)
{
	__asm__ volatile("movb %0, (%1)" : : "q"(value), "r"(address) : "memory");
}

static inline u64 rdmsr(u32 index)
{
	u64 value;
	__asm__ volatile("rdmsr" : "=A"(value) : "c"(index) : "memory");
	return value;
}

static inline void wrmsr(u32 index, u64 value)
{
	__asm__ volatile("wrmsr" : : "A"(value), "c"(index) : "memory");
}

static inline u64 rdtsc(void)
{
	u64 value;
	__asm__ volatile("rdtsc" : "=A"(value) : : "memory");
	return value;
}

struct cpuid_result {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid_result cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid_result r;
	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf)
			 : "memory");
	return r;
}

static inline void compiler_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

#endif
