"""The cost model of docs/scaling.md: what a publication costs the broker, fitted to measurements at one shard and at two.

python3 bench/scaling.py [ROUNDS]        (5 unless told; some 25 s each; needs `cargo build --release --workspace`)

Each round measures every point once, so that a noisy moment of the machine meets them all; each point is the median of the
rounds. The model is CPU(n, s) = publish + core * (s - 1) + subscriber * n for n subscribers of one topic, spread over s
shards, fitted by least squares of the relative error.
"""
import json
import statistics
import subprocess
import sys

LOADTEST = "target/release/wirefan-loadtest"
SUBSCRIBERS = (1, 10, 100, 1000)
FAR = 10000  # beyond the caches: not fitted, but what a subscriber costs there is what many on one core cost
SHARDS = (1, 2)
UNDER_WAY = (1, 64)


def measure(subscribers, shards, under_way):
    """Nanoseconds of the broker's CPU for one publication to that many subscribers."""
    command = [LOADTEST, "fanout", "--subscribers", str(subscribers), "--shards", str(shards)]
    command += ["--outstanding", str(under_way), "--duration-s", "0.8", "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report["server"]["cpu_ns_per_unit"] * subscribers


def solve(rows, right):
    """The solution of a small system of linear equations, by elimination."""
    size = len(right)
    table = [row[:] + [value] for row, value in zip(rows, right)]
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(table[row][at]))
        table[at], table[pivot] = table[pivot], table[at]
        for row in range(size):
            if row != at:
                factor = table[row][at] / table[at][at]
                table[row] = [x - factor * y for x, y in zip(table[row], table[at])]
    return [table[at][size] / table[at][at] for at in range(size)]


def fit(costs):
    """`(publish, core, subscriber)` in nanoseconds, from `{(subscribers, shards): nanoseconds}`."""
    points = [([1 / cost, (shards - 1) / cost, n / cost], 1.0) for (n, shards), cost in costs.items() if n != FAR]
    normal = [[sum(row[i] * row[j] for row, _ in points) for j in range(3)] for i in range(3)]
    return solve(normal, [sum(row[i] * one for row, one in points) for i in range(3)])


def interested(cores, members):
    """How many cores have one of the members, if each member is on any core."""
    return cores * (1 - (1 - 1 / cores) ** members)


def predict(publish, core, subscriber, far, cores):
    """Prints what a machine of so many cores would do, if nothing but these costs stood in the way."""
    for members in (1, 10, 100):
        cost = publish + core * (interested(cores, members) - 1 / cores) + subscriber * members
        rate = cores * 1e9 / cost
        print(f"  {cores} cores, topics of {members}: {rate / 1e6:.2f} M publications/s, {rate * members / 1e6:.1f} M deliveries/s")
    for members in (10_000, 1_000_000):
        each = subscriber if members / cores <= SUBSCRIBERS[-1] else far
        busiest = publish + core * (cores - 1) + each * members / cores
        late = f"{busiest / 1e6:.2f} ms" if busiest > 1e6 else f"{busiest / 1e3:.0f} us"
        print(f"  {cores} cores, one topic of {members}: its busiest core needs {late}, {1e9 / busiest:.0f} publications/s, "
              f"{1e9 / busiest * members / 1e6:.1f} M deliveries/s")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    grid = [(n, s, u) for u in UNDER_WAY for n in (*SUBSCRIBERS, FAR) for s in SHARDS]
    found = {point: [] for point in grid}
    for _ in range(rounds):
        for point in grid:
            found[point].append(measure(*point))
    for under_way in UNDER_WAY:
        costs = {(n, s): statistics.median(found[n, s, under_way]) for n in (*SUBSCRIBERS, FAR) for s in SHARDS}
        publish, core, subscriber = fit(costs)
        print(f"{under_way} under way: publish {publish:.0f} ns, each further core {core:.0f} ns, each subscriber {subscriber:.0f} ns")
        for (n, s), cost in costs.items():
            said = publish + core * (s - 1) + subscriber * n
            spread = found[n, s, under_way]
            print(f"  {n} subscribers, {s} shards: {cost:.0f} ns ({min(spread):.0f} to {max(spread):.0f}), "
                  f"{cost / n:.0f} each; the model says {said:.0f} ({said / cost:.2f})")
        far = costs[FAR, 1] / FAR
        for cores in (16, 64):
            predict(publish, core, subscriber, far, cores)


if __name__ == "__main__":
    main()
