"""Checks the pages: links lead somewhere, no path of one machine, every command that they name exists, and
the README's five minutes go as it says.

    check_docs.py [CATHEDRAL]     the program whose commands are asked; left out: commands are not checked
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

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


# Done, changes would be made, a conflict waits: what the five minutes may meet.
EXPECTED = "0|10|11"


def tour(program):
    """Types the README's five minutes into a shell of its own, and names what ended otherwise."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Five minutes", 1)[1].split("\n## ", 1)[0]
    steps = "\n".join(re.findall(r"```\n(.*?)```", section, flags=re.S))
    wrapper = f"""
        cathedral() {{
            "$PROGRAM" "$@" >out 2>&1
            code=$?
            case $code in {EXPECTED}) ;; *) echo "cathedral $* ended with $code:"; cat out ;; esac
        }}
    """
    identity = {f"GIT_{who}_{what}": "reader@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    with tempfile.TemporaryDirectory(prefix="cathedral-tour-") as folder:
        env = {**os.environ, **identity, "HOME": folder, "PROGRAM": program}
        script = f"{wrapper}\nmkdir place; cd place\n{steps}"
        run = subprocess.run(["bash", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        restored = pathlib.Path(folder, "place/back/media/note.txt")
        said = run.stdout.decode(errors="replace").strip()
        if said:
            yield "the five minutes: " + said
        elif not restored.is_file():
            yield "the five minutes restore nothing"


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else None
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
    if program:
        found += [f"README.md: {what}" for what in tour(program)]
    for line in sorted(set(found)):
        print(line, file=sys.stderr)
    print(f"{count} pages, {asked} commands, {len(set(found))} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
