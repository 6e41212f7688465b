#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Init of the Intel host: the CD below, memory on top, the command, and its results onto the disk.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || echo "lab: $module does not load"
done </modules/order
tries=0
until mount -t iso9660 -o ro /dev/sr0 /layers 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -gt 100 ] && echo "lab: no CD" && poweroff -f
    sleep 0.1
done
mkdir /top && mount -t tmpfs -o mode=755,size=75% top /top && mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/layers/root,upperdir=/top/upper,workdir=/top/work lab /new || poweroff -f
for directory in bin sbin lib lib64; do
    mkdir -p "/new/usr/$directory"
    ln -s "usr/$directory" "/new/$directory"
done
mkdir -p /new/tmp /new/run /new/var/tmp /new/root /new/lab /new/results
for directory in proc sys dev; do
    mkdir -p /new/$directory
    mount --move /$directory /new/$directory
done
cp /layers/lab/* /new/lab
cp /bin/busybox /new/bin/busybox
cat >/new/lab/start <<'END'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
/bin/busybox --install -s /bin 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tracefs nodev /sys/kernel/tracing
mount -t debugfs nodev /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
hostname lab
. /lab/environment
modprobe kvm-intel
modprobe vhost_net
modprobe tun
echo "lab: host ready after $(cut -d' ' -f1 /proc/uptime) s, clocksource" \
    "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" >/dev/console
mkdir -p "$KVMEXPORTER_LAB_RESULTS"
stty -F /dev/ttyS1 115200 raw -echo 2>/dev/null
cd "$(sed -n 's/.*lab\.tree=\([^ ]*\).*/\1/p' /proc/cmdline)"
timeout -s INT -k 20 "$KVMEXPORTER_LAB_SECONDS" /bin/sh /lab/command </dev/null >/dev/ttyS1 2>&1
code=$?
echo "lab: command ended with $code after $(cut -d' ' -f1 /proc/uptime) s" >/dev/console
echo $code >"$KVMEXPORTER_LAB_RESULTS/exit-code"
tar -C "$KVMEXPORTER_LAB_RESULTS" -cf /dev/sda .
sync
poweroff -f
END
exec switch_root /new /bin/busybox sh /lab/start
