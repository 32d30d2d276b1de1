"""What a peer does when one of a hundred items goes wrong: `faults.py PEER VERB FAULT LIMIT` prints one JSON line.

VERB is `calls` (each item a call of its own) or `stream` (one ordered map, read item by item). Items that have no outcome
within LIMIT seconds are counted as `never`: whoever waits for them hangs.
"""

import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time

ITEMS = 100
WORKERS = 2
# The item that goes wrong, where it is one.
BAD = 50
# For peers that can limit the time of an item.
ITEM_SECONDS = 1


class NoEncoding:
    def __reduce__(self):
        raise ValueError("this result has no encoding")


def commit(fault):
    if fault == "raises":
        raise ValueError("this task fails on purpose")
    if fault == "segfault":
        ctypes.string_at(16)
    if fault == "abort":
        os.abort()
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault in ("exit-0", "exit-1"):
        os._exit(int(fault[-1]))
    if fault == "no-encoding":
        return NoEncoding()
    if fault == "closes":
        os.closerange(3, 1024)
        return None
    if fault == "loops":
        while True:
            pass
    if fault == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    raise AssertionError(fault)


def is_bad(x, fault):
    if fault in ("none", "idle-killed"):
        return False
    return x % 10 == 0 if fault == "tenth" else x == BAD


def work(item):
    x, fault = item
    if is_bad(x, fault):
        return commit("segfault" if fault == "tenth" else fault)
    time.sleep(0.001)
    return x * x


class MpPool:
    hang = multiprocessing.TimeoutError

    def __init__(self):
        self.pool = multiprocessing.Pool(WORKERS)

    def pids(self):
        return [worker.pid for worker in self.pool._pool]

    def submit(self, item):
        return self.pool.apply_async(work, (item,))

    def take(self, handle, seconds):
        return handle.get(seconds)

    def stream(self, items):
        return self.pool.imap(work, items)

    def next(self, stream, seconds):
        return stream.next(seconds)


class Executor:
    hang = concurrent.futures.TimeoutError

    def __init__(self):
        self.pool = concurrent.futures.ProcessPoolExecutor(WORKERS)

    def pids(self):
        return list(self.pool._processes)

    def submit(self, item):
        return self.pool.submit(work, item)

    def take(self, future, seconds):
        return future.result(seconds)

    def stream(self, items):
        return self.pool.map(work, items, timeout=LIMIT)

    def next(self, stream, seconds):
        return next(stream)


class Loky(Executor):
    def __init__(self):
        import loky

        self.pool = loky.get_reusable_executor(max_workers=WORKERS)


class Pebble(Executor):
    def __init__(self):
        from pebble import ProcessPool

        self.pool = ProcessPool(max_workers=WORKERS)

    def pids(self):
        return list(self.pool._pool_manager.worker_manager.workers)

    def submit(self, item):
        return self.pool.schedule(work, args=[item], timeout=ITEM_SECONDS)

    def stream(self, items):
        return self.pool.map(work, items, timeout=ITEM_SECONDS).result()


PEERS = {"mp.Pool": MpPool, "ProcessPoolExecutor": Executor, "loky": Loky, "pebble": Pebble}


def settle(steps, hang, deadline):
    """Counts what comes out of `steps`, functions of the time left that are called until one has no more to give."""
    counts = {"values": 0, "wrong": 0, "failures": 0}
    says = ""
    for x, step in enumerate(steps):
        try:
            value = step(max(0.0, deadline - time.monotonic()))
        except StopIteration:
            # An error was the last that this stream had to give, and every later item failed with it; but not where
            # only the time was up.
            if counts["failures"] > 0:
                counts["failures"] = ITEMS - counts["values"] - counts["wrong"]
            break
        except Exception as error:
            if isinstance(error, hang) and time.monotonic() >= deadline:
                # The rest may be there: it is looked at without waiting.
                continue
            counts["failures"] += 1
            says = says or type(error).__name__
        else:
            counts["values" if value == x * x else "wrong"] += 1
    return counts, says


def refuse(error):
    raise error


def main(peer, verb, fault):
    pool = PEERS[peer]()
    # The workers are there.
    warm = [pool.submit((x, "none")) for x in range(10)]
    assert [pool.take(handle, LIMIT) for handle in warm] == [x * x for x in range(10)]
    if fault == "idle-killed":
        os.kill(pool.pids()[0], signal.SIGKILL)
        time.sleep(0.5)
    start = time.monotonic()
    deadline = start + LIMIT
    items = [(x, fault) for x in range(ITEMS)]
    if verb == "calls":
        # A call that is refused has failed, like one that fails later.
        steps = []
        for item in items:
            try:
                steps.append(lambda left, handle=pool.submit(item): pool.take(handle, left))
            except Exception as error:
                steps.append(lambda left, error=error: refuse(error))
        counts, says = settle(steps, pool.hang, deadline)
    else:
        try:
            stream = pool.stream(iter(items))
        except Exception as error:
            counts, says = {"values": 0, "wrong": 0, "failures": ITEMS}, type(error).__name__
        else:
            steps = [lambda left: pool.next(stream, left)] * ITEMS
            counts, says = settle(steps, pool.hang, deadline)
    counts["never"] = ITEMS - counts["values"] - counts["wrong"] - counts["failures"]
    counts["seconds"] = time.monotonic() - start
    counts["says"] = says
    print(json.dumps(counts), flush=True)
    # Ending such a pool in order may hang, too; whoever started this ends the processes.
    os._exit(0)


if __name__ == "__main__":
    LIMIT = float(sys.argv[4])
    main(*sys.argv[1:4])
