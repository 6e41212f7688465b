# SPDX-License-Identifier: Apache-2.0
"""An empty program and a counting one, as peers write it, on tracepoints of KVM.

    /usr/bin/python3 attach.py empty,hash EVENT,EVENT KERNEL_HEADERS

A script of its own, for the interpreter that has bcc. It attaches each kind to each event, says
`ready`, and answers each line on its standard input with the kernel's own statistics:
`{"hash:kvm_pio": [runs, nanoseconds]}`.
"""

import json
import os
import sys
from pathlib import Path

import bcc

_PROGRAM = """
#include <linux/types.h>

struct key { u32 pid; u32 reason; };
BPF_PERCPU_HASH(counts, struct key, u64, 16384);
"""

_EMPTY = """
int empty_%(event)s(struct bpf_raw_tracepoint_args *ctx) { return 0; }
"""

_HASH = """
int hash_%(event)s(struct bpf_raw_tracepoint_args *ctx)
{
	struct key key = { .pid = bpf_get_current_pid_tgid() >> 32, .reason = %(number)d };
	u64 zero = 0, *count = counts.lookup_or_try_init(&key, &zero);

	if (count)
		(*count)++;
	return 0;
}
"""


def main(kinds: list[str], events: list[str], headers: str) -> None:
    """Attach, and answer until the standard input ends."""
    source = Path(str(headers).replace("-amd64", "-common"))
    os.environ["BCC_KERNEL_SOURCE"] = str(source if source.exists() else headers)
    trees = ("arch/x86/include/generated/uapi", "arch/x86/include/generated",
             "include/generated/uapi", "include")  # fmt: skip
    text = _PROGRAM
    for number, event in enumerate(events):
        for kind in kinds:
            text += {"empty": _EMPTY, "hash": _HASH}[kind] % {"event": event, "number": number}
    bpf = bcc.BPF(
        text=text,
        cflags=["-Wno-macro-redefined", "-Wno-unknown-attributes"]
        + [f"-I{headers}/{tree}" for tree in trees],
    )
    programs = {}
    links = []
    for event in events:
        for kind in kinds:
            function = bpf.load_func(f"{kind}_{event}", bcc.BPF.RAW_TRACEPOINT)
            # bcc itself attaches one program to each.
            link = bcc.lib.bpf_attach_raw_tracepoint(function.fd, event.encode())
            if link < 0:
                raise OSError(f"{kind} cannot be attached to {event}")
            links.append(link)
            programs[f"{kind}:{event}"] = function.fd
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps({name: _runs(fd) for name, fd in programs.items()}), flush=True)


def _runs(fd: int) -> tuple[int, int]:
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    info = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return int(info.get("run_cnt", 0)), int(info.get("run_time_ns", 0))


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2].split(","), sys.argv[3])
