# SPDX-License-Identifier: Apache-2.0
"""/proc/PID/net/unix as a file."""

from pathlib import Path


def write_sockets(path: Path, *sockets: tuple[str, str]) -> None:
    """Write it anew, with these sockets: (state, path)."""
    lines = ["Num       RefCount Protocol Flags    Type St Inode Path"]
    for number, (state, bound) in enumerate(sockets):
        flags = "00010000" if state == "01" else "00000000"
        line = f"0000000000000000: 00000002 00000000 {flags} 0001 {state} {4200 + number}"
        lines.append(f"{line} {bound}".rstrip())
    path.write_text("\n".join(lines) + "\n")
