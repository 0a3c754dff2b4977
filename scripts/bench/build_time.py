#!/usr/bin/env python3
"""CPU time of a cargo command, by crate.

Usage: scripts/bench/build_time.py [--top N] [--log FILE] CARGO-ARGUMENTS…

Runs cargo with this file as RUSTC_WRAPPER, which adds a line to the log for each call of rustc:
user and system seconds, crate, version, kind (lib, bin, proc-macro, build script, test). Unlike the
wall-clock time of `cargo build --timings`, CPU time changes little on a busy machine. For the first
build, name an empty folder in CARGO_TARGET_DIR and set CARGO_INCREMENTAL=0:

    CARGO_TARGET_DIR=/tmp/first CARGO_INCREMENTAL=0 scripts/bench/build_time.py build --release

Cargo itself and the build scripts that it runs are in the total, not in a crate's time.
"""

import argparse
import collections
import os
import resource
import subprocess
import sys
import tempfile

LOG = "FER_BUILD_TIME_LOG"


def children():
    """User and system seconds of the processes that this one has started and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def value(arguments, name):
    """The value that follows `name` among rustc's arguments."""
    for this, following in zip(arguments, arguments[1:]):
        if this == name:
            return following
    return None


def kind(arguments):
    """lib, bin, proc-macro, build script or test."""
    if (value(arguments, "--crate-name") or "").startswith("build_script_"):
        return "build script"
    if "--test" in arguments:
        return "test"
    return value(arguments, "--crate-type") or "lib"


def wrap(command):
    """Runs one rustc and logs its time."""
    # Open files are passed on: one of them is cargo's jobserver, which bounds rustc's threads.
    code = subprocess.call(command, close_fds=False)
    crate = value(command, "--crate-name")
    if crate not in (None, "___"):
        package = os.environ.get("CARGO_PKG_NAME", "")
        name = package if crate.startswith("build_script_") else crate
        version = os.environ.get("CARGO_PKG_VERSION", "")
        line = f"{children():.2f}\t{name}\t{version}\t{kind(command)}\n"
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(line)
    return code


def table(lines, top):
    """Prints the dearest crates and the sum."""
    seconds = collections.Counter()
    for line in lines:
        time, name, version, what = line.rstrip("\n").split("\t")
        seconds[name, version, what] += float(time)
    print("| CPU seconds | crate | version | kind |")
    print("|---:|---|---|---|")
    for (name, version, what), time in seconds.most_common(top):
        print(f"| {time:.1f} | {name} | {version} | {what} |")
    rest = seconds.most_common()[top:]
    print(f"| {sum(time for _, time in rest):.1f} | {len(rest)} others | | |")
    print(f"| {sum(seconds.values()):.1f} | all calls of rustc | | |")


def main():
    """Runs cargo and prints its crates' times."""
    if LOG in os.environ:
        sys.exit(wrap(sys.argv[1:]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--top", type=int, default=25, help="crates to print (25)")
    parser.add_argument("--log", help="where to keep the log (a temporary file)")
    parser.add_argument("cargo", nargs=argparse.REMAINDER, help="cargo's arguments")
    options = parser.parse_args()
    if not options.cargo:
        parser.error("cargo's arguments are missing, e.g. build --release")
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.abspath(options.log or os.path.join(folder, "log"))
        open(log, "w", encoding="utf-8").close()
        environment = {**os.environ, "RUSTC_WRAPPER": os.path.abspath(__file__), LOG: log}
        code = subprocess.call(["cargo", *options.cargo], env=environment, close_fds=False)
        with open(log, encoding="utf-8") as lines:
            table(lines, options.top)
    print(f"| {children():.1f} | the whole command | | |")
    sys.exit(code)


if __name__ == "__main__":
    main()
