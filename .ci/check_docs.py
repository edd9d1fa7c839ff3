"""Checks the pages: links lead somewhere, no path of one machine, and every command that they name exists.

    check_docs.py [CATHEDRAL]     the program whose commands are asked; left out: commands are not checked
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Places that exist on one machine only. A page for strangers names none.
PRIVATE = re.compile(r"(?<![\w.$}~-])/(?:home|root|Users|work|tmp)/[\w.-]+")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^\s*(?:\$ )?cathedral +([^#|>;&]*)")


def pages():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            yield name, (ROOT / name).read_text(encoding="utf-8")


def targets(name, text):
    """Links to files of this repository that are not there."""
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
        path = target.split("#")[0]
        if not path or re.match(r"[a-z]+:", path):
            continue
        if not (ROOT / name).parent.joinpath(path).exists():
            yield f"the link {target} leads nowhere"


def commands(text):
    """Sub-commands in code blocks and in code spans, as lists of words up to the first flag or name."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(cathedral [^`\n]+)`", text)
    for line in lines:
        # Steps on one line count one by one.
        for part in re.split(r"&&|;", line.replace("cargo run --release -- ", "cathedral ")):
            if found := COMMAND.match(part):
                yield found.group(1).split()


def unknown(program, words, known):
    """What the program says against a command, and its flags."""
    words = list(words)
    while words and words[0].startswith("-"):
        # -C DIR stands before the command.
        words = words[2:] if words[0] == "-C" else words[1:]
    if not words or not re.fullmatch(r"[a-z-]+", words[0]) or words[0] == "help":
        return None
    for depth in (2, 1):
        path = tuple(w for w in words[:depth] if re.fullmatch(r"[a-z][a-z-]*", w))
        if path not in known:
            run = subprocess.run([program, *path, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
            # An argument of a command is no command: then the shorter path answers.
            known[path] = run.stdout.decode() if run.returncode == 0 else None
        help_text = known[path]
        if help_text is not None:
            for flag in (w.split("=")[0] for w in words if w.startswith("--")):
                if not re.search(re.escape(flag) + r"(?![\w-])", help_text):
                    return f"`cathedral {' '.join(path)}` has no {flag}"
            return None
    return f"there is no `cathedral {' '.join(words[:2])}`"


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else None
    found, known, asked, count = [], {}, 0, 0
    for name, text in pages():
        count += 1
        found += [f"{name}: {what}" for what in targets(name, text)]
        if not name.startswith("docs/formats/"):
            found += [f"{name}: {path} is a path of one machine" for path in PRIVATE.findall(text)]
        if program and (name == "README.md" or name.startswith("docs/") and not name.startswith("docs/formats/")):
            for words in commands(text):
                asked += 1
                what = unknown(program, words, known)
                found += [f"{name}: {what}"] if what else []
    for line in sorted(set(found)):
        print(line, file=sys.stderr)
    print(f"{count} pages, {asked} commands, {len(set(found))} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
