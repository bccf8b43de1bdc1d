"""Tries the judge: a server that does everything right has to pass, and each of its flaws, turned on alone, has to be seen.

A conformance run says something only if it could have failed. Exit code 0: the judge can be trusted; 1: it cannot.
"""

import asyncio
import time

from judge import PLAIN, faults, leave, results, shortfall
from peer import FLAWS, Peer


# Each offer, small and fragmented messages: the peer is slow with large ones.
DEFLATED = [f"12.{data}.{size}" for data in (1, 2) for size in (1, 3, 11)] + [f"13.{offer}.4" for offer in range(1, 8)]


async def trial(flaw, patterns):
    """The cases that pass and those that do not, by id, against a peer with that flaw."""
    server = await asyncio.get_running_loop().create_server(lambda: Peer(flaw), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        cases = await results(f"ws://127.0.0.1:{port}/echo", patterns)
    finally:
        server.close()
    assert shortfall(cases, patterns) is None, shortfall(cases, patterns)
    why = {case.case_id: "; ".join(faults(case)) for case in cases}
    return [case for case in why if not why[case]], {case: text for case, text in why.items() if text}


async def main():
    wrong = 0
    began = time.monotonic()
    passed, failed = await trial(None, PLAIN + DEFLATED)
    for case, text in failed.items():
        wrong += 1
        print(f"  the peer without a flaw was refused in {case}: {text}")
    print(f"judge: the right peer passes {len(passed)} cases in {time.monotonic() - began:.1f} s")
    trials = [trial(flaw, cases.split(",")) for flaw, cases in FLAWS.items()]
    for flaw, (passed, _) in zip(FLAWS, await asyncio.gather(*trials)):
        if passed:
            wrong += 1
            print(f"  a peer that {flaw} passed {', '.join(passed)}")
    print(f"judge: {len(FLAWS)} flaws tried in {time.monotonic() - began:.1f} s, {wrong} mistakes of the judge")
    return 1 if wrong else 0


if __name__ == "__main__":
    leave(asyncio.run(main()))
