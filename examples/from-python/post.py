"""A program of multiprocessing.Pool: docs/from-python.md goes through it, and src/main.rs prints the same."""

import multiprocessing
import time


def square(x):
    return x * x


def power_n(x, n):
    return x ** n


def power_n_list(xs, n):
    return [x ** n for x in xs]


def calc_partial_pi(rank, nprocs, nsteps, dx):
    partial_pi = 0.0
    for i in range(rank, nsteps, nprocs):
        x = (i + 0.5) * dx
        partial_pi += 4.0 / (1.0 + x * x)
    return partial_pi * dx


def slice_data(data, nprocs):
    size, longer = divmod(len(data), nprocs)
    slices = []
    for rank in range(nprocs):
        start = rank * size + min(rank, longer)
        slices.append(data[start:start + size + (rank < longer)])
    return slices


factor = None


def set_factor(value):
    global factor
    factor = value


def scaled(x):
    return factor * x


def quotient(x):
    return 100 // x


def wait(seconds):
    time.sleep(seconds)


if __name__ == "__main__":
    nprocs = 4
    pool = multiprocessing.Pool(processes=nprocs)

    squares = pool.map(square, range(20))
    print(squares)

    powers = pool.starmap(power_n, [(x, 2) for x in range(20)])
    print(powers)

    print(pool.apply(power_n, (2, 10)))

    results = [pool.apply_async(power_n_list, (xs, 2)) for xs in slice_data(range(20), nprocs)]
    joined = []
    for result in results:
        joined.extend(result.get())
    print(joined)

    nsteps = 1_000_000
    dx = 1.0 / nsteps
    parts = pool.starmap(calc_partial_pi, [(rank, nprocs, nsteps, dx) for rank in range(nprocs)])
    print(f"{sum(parts):.9f}")

    for y in pool.imap(square, range(5)):
        print(y)

    total = 0
    for y in pool.imap_unordered(square, range(1000), chunksize=64):
        total += y
    print(total)

    result = pool.apply_async(square, (12,), callback=lambda y: print("callback", y))
    result.wait()

    try:
        pool.map(quotient, [4, 0, 2])
    except ZeroDivisionError:
        print("an item failed")

    pool.close()
    pool.join()

    with multiprocessing.Pool(2, initializer=set_factor, initargs=(10,)) as pool:
        print(pool.map(scaled, range(5), chunksize=2))

        result = pool.apply_async(wait, (60,))
        try:
            result.get(timeout=0.1)
        except multiprocessing.TimeoutError:
            print("not yet")
