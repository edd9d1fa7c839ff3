"""Checks a log folder with nothing but hashlib, base64 and the openssl program.

usage: check_log.py LOG_DIR VKEY   (VKEY as name+hash+base64)
"""
import base64, hashlib, os, subprocess, sys, tempfile

log, vkey = sys.argv[1], sys.argv[2]


def sha(data):
    return hashlib.sha256(data).digest()


def root(hashes):
    if not hashes:
        return sha(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha(b"\x01" + root(hashes[:k]) + root(hashes[k:]))


def path(n):
    groups = [f"{n % 1000:03}"]
    n //= 1000
    while n:
        groups.insert(0, f"x{n % 1000:03}")
        n //= 1000
    return "/".join(groups)


def name_of(kind, n, width):
    name = f"{log}/tile/{kind}/{path(n)}"
    return name if width == 256 else f"{name}.p/{width}"


def read(name):
    with open(name, "rb") as file:
        return file.read()


text, signatures = read(f"{log}/checkpoint").decode().rsplit("\n\n", 1)
origin, size, top = text.split("\n")
size = int(size)

key_name, key_id, key = vkey.split("+", 2)
key = base64.b64decode(key)
assert key_name == origin and key[0] == 1, "key is of another log"
assert sha(key_name.encode() + b"\n" + key)[:4].hex() == key_id, "key id"
signed = False
for line in signatures.strip("\n").split("\n"):
    dash, signer, sig = line.split(" ")
    sig = base64.b64decode(sig, validate=True)
    if dash == "\u2014" and signer == key_name and sig[:4].hex() == key_id:
        with tempfile.TemporaryDirectory() as tmp:
            for file, data in (
                ("key", bytes.fromhex("302a300506032b6570032100") + key[1:]),
                ("text", (text + "\n").encode()),
                ("sig", sig[4:]),
            ):
                with open(os.path.join(tmp, file), "wb") as out:
                    out.write(data)
            subprocess.run(
                ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-keyform", "DER", "-rawin", "-in", "text", "-sigfile", "sig"],
                cwd=tmp, check=True, stdout=subprocess.DEVNULL,
            )
        signed = True
assert signed, "not signed by the key"

entries = []
for n in range((size + 255) // 256):
    bundle = read(name_of("entries", n, min(256, size - 256 * n)))
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
assert len(entries) == size, "number of entries"

row = [sha(b"\x00" + entry) for entry in entries]
assert root(row) == base64.b64decode(top), "root"
level = 0
while row:
    for n in range((len(row) + 255) // 256):
        part = row[256 * n : 256 * n + 256]
        assert read(name_of(level, n, len(part))) == b"".join(part), f"tile {level}/{n}"
    row = [root(row[i : i + 256]) for i in range(0, len(row) // 256 * 256, 256)]
    level += 1

for n in range((size + 255) // 256):
    records = read(f"{log}/statements/{path(n)}")
    for entry in entries[256 * n : 256 * n + 256]:
        length = int.from_bytes(records[32:36], "big")
        assert entry == b"\x01" + sha(records[:32] + records[36 : 36 + length]), "statement"
        records = records[36 + length :]

print(f"{size} leaves, root {base64.b64decode(top).hex()}")
