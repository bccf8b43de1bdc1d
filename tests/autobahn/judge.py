"""Runs Autobahn cases against an echo endpoint and judges them by this project's bar, which is stricter than the suite's.

    judge.py URL [CASES]        CASES: ids and patterns with commas, `5.*,6.4.1`; `all` of them; without them what CI runs:
                                groups 1-7, 9 and 10, and of 12 and 13 (permessage-deflate) each offer and each size once

A case passes when its messages are OK (NON-STRICT, a late failure, is not enough), its close is OK, the closing handshake was
complete, and an endpoint that had to fail the connection said so with one of the allowed codes. The suite itself forgives the
last two. Exit code 0: all pass; 1: some do not; 2: wrong usage; 3: the judge could not do its work.
"""

import asyncio
import collections
import importlib
import os
import sys
import time

import kosoku
from kosoku import _caseindex

GROUPS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
PLAIN = [group + ".*" for group in GROUPS if group not in ("12", "13")]
# Of 18 sizes, the last eight in fragments: 12 has five kinds of data, 13 seven offers.
DEFLATE = [f"12.{1 + size % 5}.{size}" for size in range(1, 19)] + [f"13.{1 + size % 7}.{size}" for size in range(1, 19)]
BAR = ("OK", "INFORMATIONAL")


def faults(case):
    """Why a case does not pass: sentences, none if it does."""
    if case.behavior.value not in BAR:
        yield f"{case.behavior.value}: {case.result}"
    if case.behavior_close.value not in BAR:
        yield f"close {case.behavior_close.value}: {case.result_close}"
    if case.dropped_by_me:
        yield "the server left the connection open, the client had to drop it"
    elif not case.was_clean:
        yield f"no clean close: {case.was_not_clean_reason or case.result_close}"
    codes = (case.expected_close or {}).get("closeCode", [])
    if codes and 1000 not in codes and case.remote_close_code not in codes:
        yield f"the server had to fail the connection with {codes}, its close code was {case.remote_close_code}"


def mend():
    """The cases of groups 12 and 13 hash the echo as bytes, the runner hands it over as str unless it was compressed and
    binary (then a character is a byte): gives them the bytes."""
    _caseindex.initialize_shims()
    cases = importlib.import_module("case12_x_x")

    def on_message(self, message, binary, judge=cases.onMessage):
        encoding = "latin-1" if binary else "utf-8"
        judge(self, message.encode(encoding) if isinstance(message, str) else message, binary)

    for case in cases.Case12_X_X + cases.Case13_X_X:
        case.onMessage = on_message


async def results(url, patterns):
    try:
        return await kosoku.run_fuzzingclient(url, patterns)
    except kosoku.FailureError as failure:
        return failure.results


def shortfall(cases, patterns):
    """How many cases of a pattern were not run, as a sentence, or None."""
    run = collections.Counter(case.case_id.split(".")[0] for case in cases)
    for pattern in patterns:
        group, _, rest = pattern.partition(".")
        if rest == "*" and group in GROUPS and run[group] != GROUPS[group]:
            return f"group {group} has {GROUPS[group]} cases, {run[group]} were run"
        if "*" not in pattern and pattern not in {case.case_id for case in cases}:
            return f"case {pattern} was not run"
    return None if cases else "no case was run"


def report(cases, seconds):
    failed = 0
    for case in cases:
        why = list(faults(case))
        if why:
            failed += 1
            print(f"  {case.case_id}: {'; '.join(why)}")
    kinds = collections.Counter(case.behavior.value for case in cases)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
    print(f"autobahn: {len(cases)} cases in {seconds:.1f} s: {told}; {failed} below the bar")
    return failed


mend()


def leave(code):
    """Ends the process without unloading the runner, whose threads now and then abort while Python shuts down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(argv):
    if not 2 <= len(argv) <= 3 or not argv[1].startswith("ws://"):
        print(__doc__, file=sys.stderr)
        return 2
    patterns = argv[2].split(",") if len(argv) == 3 else PLAIN + DEFLATE
    if patterns == ["all"]:
        patterns = [group + ".*" for group in GROUPS]
    began = time.monotonic()
    try:
        cases = asyncio.run(results(argv[1], patterns))
    except ValueError as reason:
        print(f"autobahn: {reason}", file=sys.stderr)
        return 2
    failed = report(cases, time.monotonic() - began)
    short = shortfall(cases, patterns)
    if short:
        print(f"autobahn: {short}: this run judges nothing")
        return 3
    return 1 if failed else 0


if __name__ == "__main__":
    leave(main(sys.argv))
