#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Init of the Linux guests: load the drivers of the devices that are there, then obey commands
# that come over the second serial port (tests/lab/guests.py holds the other end):
#   host   RUN <number> <the command in base64>
#   guest  BEGIN <number> plain|gzip, its output in base64, END <number> <exit code>
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run /var/run
mount -t devpts pts /dev/pts
echo 2 >/proc/sys/kernel/printk

# One process for all of them; each look-up by itself would cost as much again as the drivers do.
load() {
    aliases=$(cat "$@" 2>/dev/null | sort -u)
    [ -z "$aliases" ] || modprobe -qa $aliases 2>/dev/null
}
load /sys/bus/pci/devices/*/modalias
# A transport is a PCI device and brings a virtio device; a controller brings disks.
load /sys/bus/virtio/devices/*/modalias
load /sys/bus/scsi/devices/*/modalias
ip link set lo up

# Addresses come from the kernel command line, since the order of the interfaces is the drivers':
# lab.net=52:54:00:01:02:00,10.77.1.2/24
for word in $(cat /proc/cmdline); do
    case $word in
    lab.net=*)
        word=${word#lab.net=}
        for interface in /sys/class/net/*; do
            [ "$(cat "$interface/address")" = "${word%%,*}" ] || continue
            ip address add "${word#*,}" dev "${interface##*/}"
            ip link set "${interface##*/}" up
        done
        ;;
    esac
done

port=/dev/virtio-ports/org.qemu.guest_agent.0
for node in /sys/class/virtio-ports/*; do
    [ -f "$node/name" ] || continue
    mkdir -p /dev/virtio-ports
    ln -sf "/dev/${node##*/}" "/dev/virtio-ports/$(cat "$node/name")"
done
[ -e $port ] && qemu-ga -d -m virtio-serial -p $port -f /run/qemu-ga.pid >/dev/null 2>&1

echo "lab: guest ready after $(cut -d' ' -f1 /proc/uptime) s" >/dev/console
stty -F /dev/ttyS1 raw -echo 115200
exec 3<>/dev/ttyS1
echo READY >&3
while IFS= read -r line <&3; do
    set -- $line
    [ "$1" = RUN ] || continue
    echo "$3" | base64 -d >/tmp/command
    sh /tmp/command </dev/null >/tmp/output 2>&1 3>&-
    code=$?
    # Every character costs exits to QEMU: a long output is worth compressing.
    form=plain
    if [ "$(stat -c %s /tmp/output)" -gt 512 ]; then
        gzip -f /tmp/output && mv /tmp/output.gz /tmp/output && form=gzip
    fi
    {
        echo "BEGIN $2 $form"
        base64 /tmp/output
        echo "END $2 $code"
    } >&3
done
echo "lab: the serial line closed" >/dev/console
poweroff -f
