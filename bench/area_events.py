"""Events: how soon what is committed is seen, what open streams cost, how fast webhooks are taken."""

import asyncio
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import resource
import socket
import subprocess
import threading
import time

import harness
from harness import Unmeasured, seconds, size, tell

SECRET = "bench-secret"
STREAMS = 10_000
# Pushes that are followed to their runs.
TURNS = 20
# One token may hold so many streams.
STREAMS_PER_TOKEN = 20


def measure(table, options):
    binary = harness.program(options)
    with harness.Scratch(options.keep) as scratch:
        with forge(scratch) as port:
            hub = ecosystem(binary, scratch, port)
            with harness.Served(binary, hub) as up:
                up.forge = port
                table.try_row("commit_to_sse_p99", "< 10ms", lambda: asyncio.run(commit_to_sse(up)))
                table.try_row("hook_run_start_p95", "< 50ms", lambda: hook_run_start(up, scratch))
                ingest(table, up, scratch)
            with harness.Served(binary, hub) as up:
                streams(table, up)


def ecosystem(binary, scratch, port):
    """A hub with one small git spoke that webhooks can mean."""
    hub, app = scratch / "hub", scratch / "app.git"
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    harness.run(["git", "init", "-q", "-b", "main", hub])
    harness.run([*git, "-C", hub, "commit", "-q", "--allow-empty", "-m", "first"])
    harness.run(["git", "init", "-q", "--bare", "-b", "main", app])
    # Over plain HTTP a repository is read by this list, which git then keeps up to date.
    harness.run(["git", "-C", app, "update-server-info"])
    (app / "hooks/post-update").write_text("#!/bin/sh\nexec git update-server-info\n")
    (app / "hooks/post-update").chmod(0o755)
    (hub / ".cathedral/keys").mkdir(parents=True)
    (hub / ".cathedral/keys/webhook-github").write_text(f"{SECRET}\n")
    (hub / ".cathedral/integration-config.yaml").write_text(
        "cathedral_ecosystem:\n  master_repository: hub\n  connected_repositories:\n"
        f"    - name: app\n      url: http://127.0.0.1:{port}/app.git\n      integration_type: git_mirror\n      data_sync: snapshot_only\n      update_frequency: 1h\n"
    )
    harness.run([binary, "-C", hub, "sync", "--quiet"], codes=(0, 10, 11, 12))
    return hub


async def open_stream(up, token):
    reader, writer = await asyncio.open_connection(up.host, up.port)
    writer.write(f"GET /events/stream HTTP/1.1\r\nhost: {up.host}:{up.port}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    if not head.startswith(b"HTTP/1.1 200"):
        writer.close()
        raise Unmeasured(f"a stream was answered with {head.splitlines()[0]!r}")
    return reader, writer


async def event(reader, wanted):
    """Waits for an event whose data contains some bytes."""
    while True:
        line = await asyncio.wait_for(reader.readline(), 30)
        if not line:
            raise Unmeasured("a stream ended")
        if line.startswith(b"data:") and wanted in line:
            return time.perf_counter()


async def commit_to_sse(up):
    """From the answer to a change (it is committed by then) until a stream has its event; what comes
    before the answer counts as nothing."""
    reader, writer = await open_stream(up, up.token)
    took = []
    loop = asyncio.get_running_loop()
    connection = up.connect()
    schedule = json.loads(up.get("/api/v1/schedules", up.bearer())[1])["data"]["schedules"][0]["name"]
    body, kind = json.dumps({"reason": "bench"}), {"content-type": "application/json"}
    for turn in range(300):
        act = "pause" if turn % 2 == 0 else "resume"
        wanted = asyncio.create_task(event(reader, schedule.encode()))
        await asyncio.sleep(0)
        path = f"/api/v1/schedules/{schedule}/{act}"
        answered = await loop.run_in_executor(None, lambda: (up.get(path, up.bearer(**kind), connection, (200, 202), "POST", body if act == "pause" else "{}"), time.perf_counter())[1])
        took.append(max(0.0, await wanted - answered))
    writer.close()
    return seconds(harness.percentile(took, 0.99))


def delivery(number, after, address="https://forge.example/bench/app.git"):
    repository = {"full_name": "bench/app", "clone_url": address}
    body = json.dumps({"ref": "refs/heads/main", "before": "0" * 40, "after": after, "repository": repository}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json", "x-github-event": "push", "x-github-delivery": f"bench-{os.getpid()}-{number}",
        "x-hub-signature-256": f"sha256={signature}",
    }
    return headers, body


def hook_run_start(up, scratch):
    """From sending a signed push until the hub's API shows its run as begun: commits, planning and the time
    between two looks are in it. The spoke's repository has moved before each push, as a forge's would."""
    git = ["git", "-C", scratch / "clone", "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    harness.run(["git", "clone", "-q", scratch / "app.git", scratch / "clone"])
    poster, looker = up.connect(), up.connect()
    took = []
    for turn in range(TURNS):
        harness.run([*git, "commit", "-q", "--allow-empty", "-m", f"turn {turn}"])
        harness.run([*git, "push", "-q", "origin", "HEAD:main"])
        after = harness.run([*git, "rev-parse", "HEAD"]).strip()
        last = newest(up, looker)["run"]
        headers, body = delivery(f"turn-{turn}", after, f"http://127.0.0.1:{up.forge}/app.git")
        begun = time.perf_counter()
        up.get("/hooks/github", headers, poster, (202,), "POST", body)
        while time.perf_counter() - begun < 10:
            run = newest(up, looker)
            if run["run"] != last and run["state"] != "queued":
                break
            time.sleep(0.004)
        else:
            raise Unmeasured("a push led to no run within ten seconds")
        took.append(time.perf_counter() - begun)
        deadline = time.perf_counter() + 30
        while newest(up, looker)["state"] in ("queued", "running") and time.perf_counter() < deadline:
            time.sleep(0.1)
    return seconds(harness.percentile(took, 0.95))


def newest(up, connection):
    return json.loads(up.get("/api/v1/runs?limit=1", up.bearer(), connection)[1])["data"]["runs"][0]


@contextlib.contextmanager
def forge(scratch):
    """Serves the spoke's repository as files over HTTP; yields the port."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(scratch))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def ingest(table, up, scratch):
    """Deliveries a second that are durable when they are answered, against Debian's webhook, which keeps
    nothing: the same signed payload, the same eight connections, a hook that runs `true`."""
    try:
        peer = harness.peer_system("webhook", "webhook")
        ours = posts(up.host, up.port, "/hooks/github", 8, 400)
        hooks = scratch / "hooks.json"
        hooks.write_text(json.dumps([{
            "id": "github", "execute-command": "/bin/true",
            "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": SECRET, "parameter": {"source": "header", "name": "X-Hub-Signature-256"}}},
        }]))
        port = free_port()
        process = subprocess.Popen([peer, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await_port(port)
            theirs = posts("127.0.0.1", port, "/hooks/github", 8, 400)
        finally:
            process.kill()
            process.wait()
    except (Unmeasured, OSError) as why:
        table.give_up("durable_webhook_ingest", str(why))
        return
    table.row("durable_webhook_ingest", harness.Figure(ours, "per_second"), "> 4.0x", ("webhook-2.8.0", harness.Figure(theirs, "per_second")))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def await_port(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Unmeasured("the peer did not begin to listen")


def posts(host, port, path, connections, each):
    """Requests a second over connections that are kept, all answered well."""

    async def one(start):
        reader, writer = await asyncio.open_connection(host, port)
        for number in range(start, start + each):
            headers, body = delivery(f"{port}-{number}", f"{number:040x}")
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode().lower()
            if not head.startswith(("http/1.1 200", "http/1.1 202")):
                raise Unmeasured(f"a delivery was answered with {head.splitlines()[0]}")
            length = next((int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length:")), 0)
            await reader.readexactly(length)
        writer.close()

    async def all_of_them():
        begun = time.perf_counter()
        await asyncio.gather(*(one(number * each) for number in range(connections)))
        return connections * each / (time.perf_counter() - begun)

    return asyncio.run(all_of_them())


def streams(table, up):
    """Ten thousand open streams: what they hold of memory, and how long until the last of them has an event."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = STREAMS + 500
    try:
        if hard < needed:
            raise Unmeasured(f"only {hard} open files are allowed here, {needed} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        limits = pathlib.Path(f"/proc/{up.pid}/limits").read_text()
        allowed = int(next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3])
        if allowed < needed:
            raise Unmeasured(f"the hub may open {allowed} files, {needed} are needed: ulimit -n {needed}")
        tell(f"opening {STREAMS} streams")
        memory, last = asyncio.run(fan_out(up))
    except (Unmeasured, OSError, ValueError) as why:
        table.give_up("sse_10000_clients_memory", str(why))
        table.give_up("sse_fan_out_p99", str(why))
        return
    table.row("sse_10000_clients_memory", size(memory), "< 125.8MB")
    table.row("sse_fan_out_p99", seconds(last), "< 100ms")


async def fan_out(up):
    opened = []
    for start in range(0, STREAMS, STREAMS_PER_TOKEN):
        token = up.new_token("viewer")
        opened += await asyncio.gather(*(open_stream(up, token) for _ in range(STREAMS_PER_TOKEN)))
    await asyncio.sleep(2)
    memory = harness.resident(up.pid)
    schedule = json.loads(up.get("/api/v1/schedules", up.bearer())[1])["data"]["schedules"][0]["name"]
    waiting = [asyncio.create_task(event(reader, schedule.encode())) for reader, _ in opened]
    await asyncio.sleep(0.5)
    loop = asyncio.get_running_loop()
    kind = {"content-type": "application/json"}
    answered = await loop.run_in_executor(None, lambda: (up.get(f"/api/v1/schedules/{schedule}/pause", up.bearer(**kind), None, (200, 202), "POST", json.dumps({"reason": "bench"})), time.perf_counter())[1])
    seen = await asyncio.gather(*waiting)
    for _, writer in opened:
        writer.close()
    return memory, harness.percentile([max(0.0, at - answered) for at in seen], 0.99)
