/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that does nothing: a process with a KVM VM, its vCPUs and a thread for each,
 * named as QEMU names them, a tap device and as many more descriptors as QEMU holds. It
 * reads nothing of its command line but `-smp N` and `ifname=TAP`, and ends with the
 * process that started it, as its tap does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#define MORE_DESCRIPTORS 24

static void *vcpu(void *number)
{
	char name[16];

	snprintf(name, sizeof(name), "CPU %ld/KVM", (long)number);
	pthread_setname_np(pthread_self(), name);
	for (;;)
		pause();
	return NULL;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void hold_tap(const char *argument)
{
	const char *name = strstr(argument, "ifname=");
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int tap;

	if (!name)
		return;
	name += strlen("ifname=");
	snprintf(request.ifr_name, IFNAMSIZ, "%.*s", (int)strcspn(name, ","), name);
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tap < 0)
		fail("/dev/net/tun");
	if (ioctl(tap, TUNSETIFF, &request))
		fail("TUNSETIFF");
}

int main(int argc, char **argv)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int kvm, vm, vcpus = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 1; i + 1 < argc; i++) {
		if (!strcmp(argv[i], "-smp"))
			vcpus = atoi(argv[i + 1]);
		hold_tap(argv[i]);
	}
	for (int i = 0; i < MORE_DESCRIPTORS; i++)
		if (open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
			fail("/dev/null");
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		fail("/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		fail("KVM_CREATE_VM");
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 << 10);
	for (long number = 0; number < vcpus; number++) {
		if (ioctl(vm, KVM_CREATE_VCPU, number) < 0)
			fail("KVM_CREATE_VCPU");
		if (pthread_create(&thread, &attributes, vcpu, (void *)number))
			fail("pthread_create");
	}
	if (write(STDOUT_FILENO, ".", 1) != 1)
		fail("write");
	for (;;)
		pause();
}
