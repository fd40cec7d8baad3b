"""What redis-cli shows while a person types: the syntax that the server tells it.

Types the start of commands into an interactive redis-cli on a terminal of its own, without ever
sending one, and prints the hint that appeared: one JSON line each.

Usage: hints.py PORT
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

TYPED = ["SETBIT ", "BITCOUNT ", "BITFIELD ", "BITOP ", "EXPIRE "]
DEADLINE_SECS = 20


def read_until(terminal, pattern):
    """What the terminal showed, once it matches; fails at the deadline."""
    shown = b""
    deadline = time.monotonic() + DEADLINE_SECS
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536)
            if re.search(pattern, shown):
                return shown
    raise SystemExit(f"no {pattern!r} in {shown!r}")


def main():
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    cli = subprocess.Popen(
        ["redis-cli", "-p", sys.argv[1]], stdin=end, stdout=end, stderr=end, env=environment
    )
    read_until(terminal, rb"> ")
    for typed in TYPED:
        for letter in typed:
            os.write(terminal, letter.encode())
        grey = re.escape(typed.encode()) + rb"\x1b\[0;90;49m(.*?)\x1b\[0m"
        hint = re.search(grey, read_until(terminal, grey))[1]
        print(json.dumps([typed, hint.decode().strip()]))
        os.write(terminal, b"\x15")
        read_until(terminal, rb"> ")
    os.write(terminal, b"\x04")
    cli.wait(timeout=DEADLINE_SECS)


main()
