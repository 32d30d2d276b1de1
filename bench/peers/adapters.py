"""One way to talk to every peer. A peer that lacks a verb lacks the method, and the plan does not ask it.

Each method uses the peer as its own documentation would, at its best: where a default is known to be slow and the
documentation names a chunk size as the remedy, the remedy is used. `spread` hands items out as the peer does by default.
"""

from tasks import square

CHUNK = 1000


class MpPool:
    """multiprocessing.Pool, and billiard's, which is made of it."""

    def __init__(self, workers, module="multiprocessing"):
        self.pool = __import__(module).Pool(workers)

    def call(self, f, x):
        return self.pool.apply(f, (x,))

    def burst(self, f, items):
        return [handle.get() for handle in [self.pool.apply_async(f, (x,)) for x in items]]

    def map_single(self, f, items):
        return self.pool.map(f, items, chunksize=1)

    def map(self, f, items):
        return self.pool.map(f, items)

    spread = map

    def lazily(self, f, items):
        return self.pool.imap_unordered(f, items, chunksize=CHUNK)

    def close(self):
        self.pool.terminate()
        self.pool.join()


class Billiard(MpPool):
    def __init__(self, workers):
        super().__init__(workers, "billiard")


class Executor:
    """concurrent.futures.ProcessPoolExecutor."""

    def __init__(self, workers):
        from concurrent.futures import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers)

    def call(self, f, x):
        return self.pool.submit(f, x).result()

    def burst(self, f, items):
        return [future.result() for future in [self.pool.submit(f, x) for x in items]]

    def map_single(self, f, items):
        return list(self.pool.map(f, items))

    spread = map_single

    def map(self, f, items):
        return list(self.pool.map(f, items, chunksize=CHUNK))

    def crash(self, f):
        """Every call after a crash fails, so the remedy is a new pool."""
        try:
            self.call(f, 0)
        except Exception:
            self.close()
            self.__init__(2)
            return
        raise AssertionError("the worker did not crash")

    def close(self):
        self.pool.shutdown()


class Loky(Executor):
    def __init__(self, workers):
        import loky

        self.pool = loky.get_reusable_executor(max_workers=workers)

    def close(self):
        self.pool.shutdown(wait=True, kill_workers=True)


class Joblib:
    def __init__(self, workers):
        import joblib

        self.joblib, self.workers = joblib, workers
        self.pool = joblib.Parallel(n_jobs=workers)
        self.pool.__enter__()

    def run(self, parallel, f, items):
        return parallel(self.joblib.delayed(f)(x) for x in items)

    def map_single(self, f, items):
        with self.joblib.Parallel(n_jobs=self.workers, batch_size=1) as parallel:
            return self.run(parallel, f, items)

    def map(self, f, items):
        return self.run(self.pool, f, items)

    spread = map

    def lazily(self, f, items):
        parallel = self.joblib.Parallel(n_jobs=self.workers, return_as="generator_unordered")
        return self.run(parallel, f, items)

    def close(self):
        self.pool.__exit__(None, None, None)


class Mpire:
    def __init__(self, workers):
        from mpire import WorkerPool

        self.pool = WorkerPool(n_jobs=workers, keep_alive=True)

    def call(self, f, x):
        return self.pool.apply(f, (x,))

    def burst(self, f, items):
        return [handle.get() for handle in [self.pool.apply_async(f, (x,)) for x in items]]

    def map_single(self, f, items):
        return self.pool.map(f, items, chunk_size=1)

    def map(self, f, items):
        return self.pool.map(f, items)

    spread = map

    def close(self):
        self.pool.terminate()


class Pebble:
    def __init__(self, workers):
        from pebble import ProcessPool

        self.pool = ProcessPool(max_workers=workers)

    def call(self, f, x):
        return self.pool.schedule(f, args=[x]).result()

    def burst(self, f, items):
        return [future.result() for future in [self.pool.schedule(f, args=[x]) for x in items]]

    def map_single(self, f, items):
        return list(self.pool.map(f, items).result())

    spread = map_single

    def map(self, f, items):
        return list(self.pool.map(f, items, chunksize=CHUNK).result())

    def crash(self, f):
        from pebble import ProcessExpired

        try:
            self.call(f, 0)
        except ProcessExpired:
            return
        raise AssertionError("the worker did not crash")

    def survive(self, f, items):
        """Every item's value, or None where its worker crashed."""
        from pebble import ProcessExpired

        def outcome(future):
            try:
                return future.result()
            except ProcessExpired:
                return None

        return [outcome(future) for future in [self.pool.schedule(f, args=[x]) for x in items]]

    def close(self):
        self.pool.stop()
        self.pool.join()


ADAPTERS = {
    "mp.Pool": MpPool,
    "ProcessPoolExecutor": Executor,
    "loky": Loky,
    "joblib": Joblib,
    "mpire": Mpire,
    "pebble": Pebble,
    "billiard": Billiard,
}


def warm(name, workers):
    """A pool whose workers have all run something."""
    pool = ADAPTERS[name](workers)
    assert list(pool.map(square, range(100))) == [x * x for x in range(100)]
    return pool
