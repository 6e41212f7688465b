#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Init of the lab's host, first part: put together the root file system and hand over to it.
#   lowest   the development host's own files, over 9p, read-only
#   above    the kernel's layer (modules, headers) and the lab's packages, both read-only
#   top      memory, so that nothing written in the lab reaches the development host
# The results directory alone is shared for writing (host-start.sh mounts it).
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || echo "lab: $module does not load"
done </modules/order

options=ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose
layers=
for tag in packages kernel root; do
    mkdir -p /layers/$tag
    if ! mount -t 9p -o $options $tag /layers/$tag; then
        echo "lab: cannot mount the layer $tag"
        poweroff -f
    fi
    layers=$layers:/layers/$tag
done
mkdir -p /layers/top /new
mount -t tmpfs -o mode=755,size=75% top /layers/top
mkdir /layers/top/upper /layers/top/work
if ! mount -t overlay -o "lowerdir=${layers#:},upperdir=/layers/top/upper,workdir=/layers/top/work" \
    lab /new; then
    echo "lab: cannot put the layers together"
    poweroff -f
fi
for directory in proc sys dev; do
    mkdir -p /new/$directory
    mount --move /$directory /new/$directory
done
start=$(sed 's/.*lab\.start=\([^ ]*\).*/\1/' /new/proc/cmdline)
exec switch_root /new /bin/sh "$start"
