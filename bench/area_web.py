"""The pages: how soon they begin, how large they are, what they cost the hub."""

import gzip
import json
import os
import re
import subprocess
import time

import harness
from harness import Figure, Unmeasured, seconds, size, tell

# Requests for one figure.
MANY = 19_000
# One token may ask so often in a minute, with some room.
PER_TOKEN = 950
PAGES = ["/", "/runs", "/conflicts", "/snapshots", "/integrity", "/schedules", "/settings"]


def measure(table, options):
    binary = harness.program(options)
    with harness.Scratch(options.keep) as scratch:
        tell("building the demo's ecosystem")
        harness.run([binary, "demo", scratch / "demo", "--no-serve"])
        with harness.Served(binary, scratch / "demo" / "cathedral") as up:
            sizes(table, up)
            table.try_row("first_byte", "< 20ms", lambda: first_byte(up))
            table.try_row("cached_get_cpu", "< 7us", lambda: cached_get_cpu(up))
            paint(table, up)
        table.try_row("overview_p95_1000_spokes", "< 5ms", lambda: thousand_spokes(binary, scratch))


def first_byte(up):
    """From the request on a kept connection to the first byte of the overview, rendered anew each time."""
    connection = up.connect()
    took = []
    for _ in range(200):
        begun = time.perf_counter()
        connection.request("GET", "/", headers=up.bearer())
        answer = connection.getresponse()
        answer.read(1)
        took.append(time.perf_counter() - begun)
        answer.read()
    return seconds(harness.percentile(took, 0.5))


def sizes(table, up):
    """The largest page as it is; styles and scripts as they travel, compressed."""
    pages = {}
    try:
        for path in PAGES:
            pages[path] = up.get(path, up.bearer())[1]
        links = re.findall(rb'(?:href|src)="(/assets/[^"]+\.(?:css|js))"', b"".join(pages.values()))
        travels = {"css": 0, "js": 0}
        for link in sorted(set(links)):
            path = link.decode()
            headers, body = up.get(path, {"accept-encoding": "gzip, br, zstd"})
            travels[path.rsplit(".", 1)[1]] += len(body) if headers.get("content-encoding") else len(gzip.compress(body))
    except Unmeasured as why:
        for name in ("html_size", "css_size", "script_size"):
            table.give_up(name, str(why))
        return
    table.row("html_size", size(max(map(len, pages.values()))), "< 60kB")
    table.row("css_size", size(travels["css"]), "< 8kB")
    table.row("script_size", size(travels["js"]), "< 20kB")


def cached_get_cpu(up):
    """CPU of the hub for one answer that the asker has already: a conditional request on a
    kept connection; asked for in batches, so that the hub and not this script is what is busy."""
    path, batch, spent = "/api/v1/config", 50, 0.0
    connection = up.connect()
    for _ in range(MANY // PER_TOKEN):
        token = up.new_token("viewer")
        tag = up.get(path, {"authorization": f"Bearer {token}"}, connection)[0].get("etag")
        if not tag:
            raise Unmeasured(f"{path} has no ETag")
        lines = f"host: {up.host}:{up.port}\r\nauthorization: Bearer {token}\r\nif-none-match: {tag}\r\n"
        request = f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()
        before = harness.cpu_seconds(up.pid)
        for _ in range(PER_TOKEN // batch):
            connection.sock.sendall(request * batch)
            got = b""
            while got.count(b"\r\n\r\n") < batch:
                got += receive(connection.sock)
            if got.count(b"HTTP/1.1 304 ") != batch:
                raise Unmeasured(f"{path} was not answered with 304: {got[:100]!r}")
        spent += harness.cpu_seconds(up.pid) - before
    return seconds(spent / MANY)


def receive(wire):
    piece = wire.recv(1 << 18)
    if not piece:
        raise Unmeasured("the hub closed the connection")
    return piece


def paint(table, up):
    """What a browser says: when the overview can be read, and whether anything moves after."""
    tools = harness.tools().parent / "web"
    script = harness.ROOT / "bench" / "paint.mjs"
    try:
        if not (tools / "node_modules" / "playwright-core").is_dir():
            raise Unmeasured("no playwright-core: run tests/web/run once")
        chromium = harness.peer_system("chromium", "chromium")
        env = dict(os.environ, CATHEDRAL_WEB_TOOLS=str(tools), CHROMIUM=chromium, TOKEN=up.token)
        told = subprocess.run(["node", str(script), f"http://{up.host}:{up.port}/"], env=env, capture_output=True, timeout=120)
        if told.returncode:
            raise Unmeasured(told.stderr.decode(errors="replace").strip()[-400:])
        figures = json.loads(told.stdout)
    except (Unmeasured, subprocess.TimeoutExpired, ValueError) as why:
        table.give_up("readable", str(why))
        table.give_up("layout_shift", str(why))
        return
    table.row("readable", seconds(figures["readable_ms"] / 1000), "< 300ms")
    table.row("layout_shift", Figure(figures["layout_shift"], "share"), "< 0.0001")


def thousand_spokes(binary, scratch):
    """The overview of an ecosystem with a thousand file trees, one request after the other."""
    hub = scratch / "thousand"
    (hub / ".cathedral").mkdir(parents=True)
    harness.run(["git", "init", "-q", hub])
    lines = ["cathedral_ecosystem:", "  master_repository: thousand", "  connected_files:"]
    for number in range(1000):
        (scratch / "trees" / f"t{number}").mkdir(parents=True)
        lines += [f"    - name: t{number}", f"      hub: data/t{number}", f"      paths: [../trees/t{number}]"]
    (hub / ".cathedral/integration-config.yaml").write_text("\n".join([*lines, ""]))
    with harness.Served(binary, hub) as up:
        connection = up.connect()
        took = []
        for _ in range(200):
            begun = time.perf_counter()
            up.get("/", up.bearer(), connection)
            took.append(time.perf_counter() - begun)
    return seconds(harness.percentile(took, 0.95))
