"""The API against its own description, by schemathesis: no failure of the server, answers as described.

    python api.py ADDRESS ADMIN_TOKEN VIEWER_TOKEN
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

# The whole of it ends within two minutes; a token may ask 1,000 times a minute.
SECONDS = 80
RATE = "900/m"

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
]


class Tally:
    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, what: str, holds: bool, why: object = "") -> None:
        if holds:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAIL     {what}: {why}")


def ask(url: str, token: str = "", **headers: str):
    """Answers (status, headers, body); the headers in small letters."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()


def stream(address: str, token: str, tally: Tally) -> None:
    """The stream of events never ends, so that schemathesis cannot read it: what it must be is looked at here."""
    request = urllib.request.Request(f"{address}/events/stream", headers={"Authorization": f"Bearer {token}", "Last-Event-ID": "0"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        kind = answer.headers.get_content_type()
        tally.check("/events/stream: is a stream of events", kind == "text/event-stream", kind)
        ids: list[int] = []
        while len(ids) < 3:
            line = answer.readline().decode()
            if not line:
                break
            if line.startswith("id:"):
                ids.append(int(line[3:]))
        tally.check("/events/stream: resumes from the beginning, in order", len(ids) == 3 and ids == sorted(set(ids)), ids)


def conventions(address: str, token: str, tally: Tally) -> None:
    status, headers, body = ask(f"{address}/api/v1/no-such-thing", token)
    problem = json.loads(body or b"{}")
    tally.check("404 is problem+json", status == 404 and headers.get("content-type", "").startswith("application/problem+json"), headers)
    tally.check("a problem has type, title, status", {"type", "title", "status"} <= set(problem), problem)
    status, headers, _ = ask(f"{address}/api/v1/snapshots", token)
    tag = headers.get("etag", "")
    tally.check("a list has an ETag", bool(tag), headers)
    status, _, body = ask(f"{address}/api/v1/snapshots", token, If_None_Match=tag)
    tally.check("If-None-Match answers 304 without a body", status == 304 and not body, status)
    status, _, _ = ask(f"{address}/api/v1/runs")
    tally.check("without a token: 401", status == 401, status)
    status, _, _ = ask(f"{address}/api/v1/runs", token[:-1] + ("A" if token[-1] != "A" else "B"))
    tally.check("with a wrong token: 401", status == 401, status)
    # Without a token an address may ask 100 times a minute: too few for schemathesis, enough for one of each.
    _, _, body = ask(f"{address}/api/v1/openapi.json")
    for path, methods in json.loads(body)["paths"].items():
        for method in methods:
            request = urllib.request.Request(address + re.sub(r"\{\w+\}", "1", path), method=method.upper(), headers={"Content-Type": "application/json"}, data=None if method == "get" else b"{}")
            try:
                status = urllib.request.urlopen(request, timeout=20).status
            except urllib.error.HTTPError as error:
                status = error.code
            tally.check(f"{method.upper()} {path} without a token is refused", status == 401, status)
    # A walk by cursor meets every leaf once.
    seen: list[int] = []
    before = ""
    while True:
        status, _, body = ask(f"{address}/api/v1/log/leaves?limit=3{before}", token)
        data = json.loads(body)["data"]
        seen += [leaf["index"] for leaf in data["leaves"]]
        if data.get("next") is None:
            break
        before = f"&before={data['next']}"
    tally.check("pages by cursor meet every leaf once", sorted(seen) == list(range(len(seen))) and len(seen) > 3, seen)


def fuzz(address: str, role: str, token: str, folder: Path) -> tuple[Path, Path, int]:
    """Runs schemathesis; returns its report and what it printed."""
    report, printed = folder / f"{role}.json", folder / f"{role}.txt"
    arguments = [
        str(Path(sys.executable).with_name("st")), "--config-file", str(Path(__file__).with_name("schemathesis.toml")), "--no-color", "run", f"{address}/api/v1/openapi.json",
        "--header", f"Authorization: Bearer {token}", "--exclude-path", "/events/stream",
        "--checks", ",".join(CHECKS), "--rate-limit", RATE, "--max-time", str(SECONDS), "--seed", os.environ.get("CATHEDRAL_SEED", "1"),
        "--continue-on-failure", "--no-shrink", "--warnings", "off", "--generation-database", "none", "--request-timeout", "20",
        "--report", "json", "--report-json-path", str(report), "--output-truncate", "false",
    ]  # fmt: skip
    with printed.open("w") as out:
        code = subprocess.run(arguments, cwd=folder, stdout=out, stderr=subprocess.STDOUT, timeout=SECONDS + 60, check=False).returncode
    return report, printed, code


def main() -> int:
    address, admin, viewer = sys.argv[1:]
    tally = Tally()
    conventions(address, viewer, tally)
    stream(address, viewer, tally)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        results: dict[str, object] = {}

        def one(role: str, token: str) -> None:
            try:
                results[role] = fuzz(address, role, token, folder)
            except Exception as error:  # told below
                results[role] = error

        threads = [threading.Thread(target=one, args=pair) for pair in (("admin", admin), ("viewer", viewer))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for role in ("admin", "viewer"):
            judge(role, results[role], tally)
    for role, token in (("admin", admin), ("viewer", viewer)):
        status, _, body = ask(f"{address}/api/v1/me", token)
        tally.check(f"the {role}'s token still works", status == 200 and json.loads(body)["data"]["role"] == role, (status, body))
    for path in ("/healthz", "/readyz"):
        status, _, body = ask(address + path)
        tally.check(f"{path} afterwards", status == 200, (status, body))
    print(f"api: {tally.passed} passed, {tally.failed} failed")
    return 0 if tally.failed == 0 else 1


def judge(role: str, result: object, tally: Tally) -> None:
    if isinstance(result, Exception):
        tally.check(f"schemathesis as {role}", False, result)
        return
    report, printed, code = result
    text = printed.read_text()
    try:
        told = json.loads(report.read_text())
    except (OSError, ValueError) as error:
        tally.check(f"schemathesis as {role}", False, f"no report ({error}), ends with {code}:\n{text[-2000:]}")
        return
    operations, cases = told["operations"], told["test_cases"]
    tally.check(f"schemathesis as {role} asks every operation", operations["tested"] == operations["selected"] > 30, operations)
    tally.check(f"schemathesis as {role} asks enough", cases["generated"] > 150, cases)
    tally.check(f"schemathesis as {role} ends without errors of its own", not told["errors"], told["errors"])
    tally.check(f"schemathesis as {role} is not slowed down by the hub", not told["warnings"]["rate_limited"], told["warnings"])
    failing: set[str] = set()
    for failure in told["failures"]:
        for operation in failure["operations"]:
            failing.add(operation)
            tally.check(f"{role}: {operation}", False, f"{failure['code']} {failure['title']}\n{example(text, operation, failure['code'])}")
    tally.check(f"schemathesis as {role} ends as its report says", (code == 0) == (not failing), code)
    tally.passed += max(0, operations["tested"] - len(failing))


def example(text: str, operation: str, code: str) -> str:
    """What was asked and answered, out of what schemathesis printed."""
    for block in re.split(r"^_{4,} ", text, flags=re.MULTILINE)[1:]:
        block = block.split("\n====")[0]
        if (block.startswith(f"{operation} _") or block.startswith("Stateful")) and f"- {code} " in block:
            lines = [line.strip() for line in block.splitlines()[2:] if line.strip() and "st replay" not in line]
            return "\n".join(f"             {line[:300]}" for line in lines[:14])
    return ""


sys.exit(main())
