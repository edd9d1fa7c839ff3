"""Checks the licences, bans and sources of everything that is linked, offline.

Reads the lists of deny.toml, so that this and cargo-deny say the same; where cargo-deny cannot be
installed, this alone keeps the rules. No advisories: those need a database from the network.
"""

import json
import re
import subprocess
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def tokens(text):
    # Old manifests write `MIT/Apache-2.0` for what is now `MIT OR Apache-2.0`.
    return re.findall(r"\(|\)|[^\s()]+", text.replace("/", " OR "))


def is_allowed(text, allowed):
    """Evaluates an SPDX expression: OR needs one side, AND needs both."""
    rest = tokens(text)

    def either():
        good = both()
        while rest[:1] == ["OR"]:
            rest.pop(0)
            good = both() or good
        return good

    def both():
        good = one()
        while rest[:1] == ["AND"]:
            rest.pop(0)
            good = one() and good
        return good

    def one():
        word = rest.pop(0) if rest else ""
        if word == "(":
            good = either()
            if rest[:1] != [")"]:
                raise ValueError(text)
            rest.pop(0)
            return good
        if rest[:1] == ["WITH"]:
            rest.pop(0)
            word = f"{word} WITH {rest.pop(0)}"
        return word in allowed

    good = either()
    if rest:
        raise ValueError(text)
    return good


def linked():
    """What some build of some feature on some system really uses. The lock file names more: it also holds
    what a feature would change if something else brought it in."""
    command = ["cargo", "tree", "--locked", "--workspace", "--all-features", "--target", "all", "--prefix", "none"]
    listed = subprocess.run([*command, "--format", "{p}"], check=True, stdout=subprocess.PIPE).stdout.decode()
    return {tuple(line.split()[:2]) for line in listed.splitlines() if line.strip()}


def problems(packages, rules):
    allowed = set(rules["licenses"]["allow"])
    banned = {item["crate"]: item.get("reason", "") for item in rules["bans"]["deny"]}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package.get("license")
        try:
            if not licence:
                yield f"{name}: states no licence"
            elif not is_allowed(licence, allowed):
                yield f"{name}: licence {licence} is not allowed"
        except (ValueError, IndexError):
            yield f"{name}: licence {licence!r} cannot be read"
        if package["name"] in banned:
            yield f"{name}: banned: {banned[package['name']]}"
        if package["source"] not in (None, REGISTRY):
            yield f"{name}: comes from {package['source']}"
        if package["source"] is None:
            for need in package["dependencies"]:
                if need["req"] == "*" and not need.get("path"):
                    yield f"{name}: takes any version of {need['name']}"


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    used = linked()
    packages = [p for p in metadata["packages"] if (p["name"], f"v{p['version']}") in used]
    if len(packages) < len(used):
        print(f"{len(used) - len(packages)} packages are not described by cargo metadata", file=sys.stderr)
        return 1
    found = sorted(problems(packages, rules))
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(packages)} packages, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
