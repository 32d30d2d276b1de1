"""Measures one peer in one case: `peers.py PEER CASE ITEMS WORKERS` prints a JSON line for each figure.

The cases are those of the benchmark's plan, smaller where a peer needs long: `items` says how much smaller.
`peers.py versions` prints what is measured.
"""

import json
import platform
import resource
import statistics
import sys
import time
from importlib import metadata

import tasks
from adapters import ADAPTERS, warm

MIB = 1 << 20
# As in the case itself: where the long item is, what it costs.
PLACES = {"first": 0, "in the middle": 1100, "last but one": 2198, "last": 2199}
LONGER = 100


def say(row, value, variant=""):
    print(json.dumps({"row": row, "variant": variant, "value": value}), flush=True)


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def ns(seconds, items):
    return seconds * 1e9 / items


def is_squares(values):
    return all(y == x * x for x, y in enumerate(values))


def apply(pool, items, row):
    took, done = timed(lambda: [pool.call(tasks.square, x) for x in range(items)])
    assert is_squares(done)
    say(row, ns(took, items))


def over_squares(verb):
    def case(pool, items, row):
        took, done = timed(lambda: getattr(pool, verb)(tasks.square, range(items)))
        assert len(done) == items and is_squares(done)
        say(row, ns(took, items))

    return case


def lazy(pool, items, row):
    took, total = timed(lambda: sum(pool.lazily(tasks.square, iter(range(items)))))
    assert total == (items - 1) * items * (2 * items - 1) // 6
    say(row, ns(took, items))
    say(row + " memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def echo(pool, items, row):
    data = b"x" * MIB
    pool.call(tasks.echo, data)
    took, done = timed(lambda: [pool.call(tasks.echo, data) for _ in range(items)])
    assert all(back == data for back in done)
    say(row, 2 * MIB * items / took)


def one_way(pool, items, row):
    data = b"x" * (64 * MIB)
    took, done = timed(lambda: [pool.call(tasks.length, data) for _ in range(items)])
    assert done == [64 * MIB] * items
    say(row, 64 * MIB * items / took)


def starts(name, workers, items):
    def once():
        pool = ADAPTERS[name](workers)
        assert pool.burst(tasks.square, [1, 2]) == [1, 4]
        pool.close()

    took = statistics.median(timed(once)[0] for _ in range(items))
    say("B10 forkserver", took * 1e9)
    say("B10 spawn", took * 1e9)


def crashes(pool, items):
    def once():
        pool.crash(tasks.crash)
        assert pool.call(tasks.square, 3) == 9

    say("B10 crash", statistics.median(timed(once)[0] for _ in range(items)) * 1e9)


def long_item(pool, items, row):
    seconds, workers = items * 1e-6, 2
    count = PLACES["last"] + 1
    best = (count - 1 + LONGER) * seconds / workers
    for place, long_at in PLACES.items():
        work = [seconds] * count
        work[long_at] *= LONGER
        took, done = timed(lambda: pool.spread(tasks.spin, work))
        assert list(done) == work
        say(row, took / best, place)


def commands(pool, items, row):
    took, done = timed(lambda: pool.map_single(tasks.command, range(items)))
    assert done == [0] * items
    say(row, ns(took, items))


def survive(pool, items, row):
    took, outcomes = timed(lambda: pool.survive(tasks.crash_every_tenth, range(items)))
    assert outcomes == [None if x % 10 == 0 else x for x in range(items)]
    say(row, len(range(0, items, 10)) / took)


CASES = {
    "B1": apply,
    "B2": over_squares("burst"),
    "B3": over_squares("map_single"),
    "B4": over_squares("map"),
    "B5": lazy,
    "B6": echo,
    "B7": one_way,
    "B11": long_item,
    "B12": commands,
    "B14": survive,
}


def versions():
    found = {"Python": platform.python_version()}
    for name in ("loky", "joblib", "mpire", "pebble", "billiard"):
        found[name] = metadata.version(name)
    print(json.dumps(found))


def main(name, case, items, workers):
    if case == "B10":
        starts(name, workers, items)
        if hasattr(ADAPTERS[name], "crash"):
            pool = warm(name, workers)
            crashes(pool, items)
            pool.close()
    else:
        pool = warm(name, workers)
        CASES[case](pool, items, case)
        pool.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["versions"]:
        versions()
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
