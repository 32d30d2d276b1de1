"""What the peers run. Importable by name, as their workers need it."""

import os
import signal
import subprocess
import time


def square(x):
    return x * x


def echo(data):
    return data


def length(data):
    return len(data)


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def crash(x):
    # A handler that a peer installed would survive SIGSEGV; nothing survives this.
    os.kill(os.getpid(), signal.SIGKILL)


def crash_every_tenth(x):
    return crash(x) if x % 10 == 0 else x


def command(job):
    return subprocess.run(["true", str(job)], stdin=subprocess.DEVNULL, capture_output=True).returncode
