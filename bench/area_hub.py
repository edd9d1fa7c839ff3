"""The hub itself: how fast it answers, how large it is, how long it takes to build."""

import os
import time

import harness
from harness import Unmeasured, seconds, size, tell


# How long a hub is left alone before its memory is read.
IDLE = 10


def measure(table, options):
    binary = harness.program(options)
    with harness.Scratch(options.keep) as scratch:
        answers(table, binary, scratch)
        demo(table, binary, scratch)
        table.try_row("binary_size", "< 60MB", lambda: size(binary.stat().st_size))
        if options.cold:
            cold_build(table, scratch)
        else:
            tell("cold_build is measured with --cold only: it takes minutes")


def answers(table, binary, scratch):
    """Wall time of whole processes, from fork to exit."""
    table.try_row("help", "< 10ms", lambda: harness.median([binary, "--help"], 50))
    table.try_row("argument_error", "< 10ms", lambda: harness.median([binary, "snyc"], 50, codes=(2,)))
    table.try_row("config_validate", "< 1ms", lambda: config_validate(binary, scratch))


def config_validate(binary, scratch):
    """The work of `config validate`: its process time minus that of `--version`, in turns, the median of
    the differences. What both share (starting, linking, parsing arguments, ending) falls out; reading the
    file, checking it and looking for each repository beside the hub stays in."""
    hub = scratch / "validated"
    (hub / ".cathedral").mkdir(parents=True)
    own = (harness.ROOT / ".cathedral/integration-config.yaml").read_text()
    (hub / ".cathedral/integration-config.yaml").write_text(own)
    for name in ("circuitum99", "tesseract-bridge"):
        harness.run(["git", "init", "-q", "--bare", scratch / f"{name}.git"])
    validate = [binary, "-C", hub, "config", "validate"]
    harness.run(validate)
    return seconds(max(0.0, harness.paired(validate, [binary, "--version"], 101)))


def demo(table, binary, scratch):
    """One demo, then syncs of its ecosystem in which nothing has changed."""
    place = scratch / "demo"
    try:
        peak, took = harness.peak_memory([binary, "demo", place, "--no-serve"])
    except Unmeasured as why:
        for name in ("demo_seconds", "demo_peak_memory", "sync_no_change"):
            table.give_up(name, str(why))
        return
    table.row("demo_seconds", seconds(took), "< 30s")
    table.row("demo_peak_memory", size(peak), "< 150MB")
    # 11: the demo leaves conflicts open on purpose.
    sync = [binary, "-C", place / "cathedral", "sync", "--quiet", "--no-progress"]
    table.try_row("sync_no_change", "< 150ms", lambda: harness.median(sync, 15, codes=(0, 11)))
    served(table, binary, place / "cathedral")


def served(table, binary, hub):
    """The demo's hub as it serves: how soon, how small while nothing happens, how fast a command beside it."""
    try:
        with harness.Served(binary, hub) as up:
            table.row("ready", seconds(up.ready_after), "< 150ms")
            table.try_row("status_running_hub", "< 30ms", lambda: harness.median([binary, "-C", hub, "status", "--quiet"], 30, codes=(0, 11)))
            time.sleep(IDLE)
            table.row("idle_memory", size(harness.resident(up.pid)), "< 41.94MB")
    except Unmeasured as why:
        for name in ("ready", "status_running_hub", "idle_memory"):
            table.give_up(name, str(why))


def cold_build(table, scratch):
    """Default features, release, an empty target folder; the crates are downloaded before."""

    def build():
        harness.run(["cargo", "fetch", "--locked"], cwd=harness.ROOT)
        load = os.getloadavg()[0]
        if load > 0.5:
            tell(f"the machine is busy (load {load:.1f}): the figure will be too high")
        tell(f"building from nothing on {os.cpu_count()} cores")
        return seconds(harness.build(scratch / "target")[1])

    table.try_row("cold_build", "< 6min", build)
