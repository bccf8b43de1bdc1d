"""What memory a broker keeps after a storm of connections, on one shard.

    cargo build --release --workspace && python3 bench/storm.py
    python3 bench/storm.py --topics 1 --waves 10 --connections 10000 --rest 30

Starts the broker on a port of 127.0.0.1 and sends waves at it: each connects, subscribes and goes without a word
(`wirefan-loadtest idle` ends its process). Prints the broker's PSS before, after each wave and after the rest. Without
`--topics` each subscription has a topic of its own, and the broker remembers up to 65,536 of them by design. Linux only.
"""

import argparse
import json
import re
import subprocess
import time


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="target/release/wirefan")
    parser.add_argument("--loadtest", default="target/release/wirefan-loadtest")
    parser.add_argument("--connections", type=int, default=10_000, help="of each wave")
    parser.add_argument("--waves", type=int, default=10)
    parser.add_argument("--topics", type=int, help="shared by all [default: a topic each]")
    parser.add_argument("--rest", type=float, default=30, help="seconds between the last wave and the last look")
    args = parser.parse_args()
    broker = subprocess.Popen(
        [args.broker, "serve", "--listen", "127.0.0.1:0", "--shards", "1"], stderr=subprocess.PIPE, text=True
    )
    try:
        port = int(re.search(r":(\d+)", broker.stderr.readline()).group(1))
        print(f"fresh: {pss(broker.pid)} KiB", flush=True)
        wave = [args.loadtest, "idle", "--url", f"ws://127.0.0.1:{port}/ws", "--server-pid", str(broker.pid), "--json"]
        wave += ["--connections", str(args.connections), "--connects-per-second", "100000", "--hold-s", "0"]
        wave += ["--sources", "20"] + (["--topics", str(args.topics)] if args.topics else [])
        for number in range(args.waves):
            report = json.loads(subprocess.run(wave, check=True, capture_output=True, text=True).stdout)
            full = report["samples"][-1]["server"]["pss_bytes"] // 1024
            time.sleep(0.5)
            print(f"wave {number + 1}: {full} KiB at {report['connections']}, {pss(broker.pid)} KiB after", flush=True)
        time.sleep(args.rest)
        print(f"after {args.rest:g} s of rest: {pss(broker.pid)} KiB", flush=True)
    finally:
        broker.terminate()
        broker.wait(60)


if __name__ == "__main__":
    main()
