#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Init of the lab's host, second part, on the assembled root: the mounts and modules that the tests
# expect, then the command.  Its output goes to a virtio port, its exit code into the results.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
word() { sed -n "s/.*lab\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
results=$(word results)

mkdir -p /dev/pts /dev/shm /dev/hugepages
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tracefs nodev /sys/kernel/tracing
mount -t debugfs nodev /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mkdir -p "$results"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none results "$results" || busybox poweroff -f
ip link set lo up
hostname lab

modprobe -a kvm-amd vhost_net tun

# udev is not run; these are the links that programs ask for.
for node in /sys/class/virtio-ports/*; do
    [ "$(cat "$node/name")" = kvmexporter.output ] && output=/dev/${node##*/}
done
. "$results/environment"
echo "lab: host ready after $(cut -d' ' -f1 /proc/uptime) s, clocksource" \
    "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" >/dev/console
# SIGINT first: pytest then cleans up and says where it was.
timeout --signal=INT --kill-after=20 "$KVMEXPORTER_LAB_SECONDS" \
    /bin/sh "$results/command" </dev/null >"$output" 2>&1
code=$?
echo "lab: command ended with $code after $(cut -d' ' -f1 /proc/uptime) s" >/dev/console
echo $code >"$results/exit-code"
sync
busybox poweroff -f
