#!/bin/sh
# Gives back the snapshots of this vault with stock tools alone: sh, age, zstd, jq, git, base64,
# coreutils; with sqlite3 databases become files, with b3sum contents are checked.
#
#   recover.sh KEYFILE                      lists the snapshots
#   recover.sh KEYFILE SNAPSHOT TARGET      restores one into TARGET, which must be empty or new
#
# KEYFILE is the vault's own key or any age identity that keys/*.age are encrypted to. SNAPSHOT is an id
# from the list, the beginning of one, or the word latest. The vault is the folder of this script, or
# VAULT. Everything that is read is treated as hostile.
#
# What is to be read is planned first, so that each pack is decrypted once, however many files come out of
# it. The plan stands in TARGET/.recover until all is there: the same command goes on where it was stopped.
set -eu
umask 077
LC_ALL=C
export LC_ALL
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY 2>/dev/null || :

say() { printf '%s\n' "$*" >&2; }
die() { say "recover: $*"; exit 1; }
is_hex() { case $1 in *[!0-9a-f]* | '') return 1 ;; esac; [ "${#1}" -eq 64 ]; }

[ $# -eq 1 ] || [ $# -eq 3 ] || die "usage: recover.sh KEYFILE [SNAPSHOT TARGET]"
for tool in age zstd jq base64 awk; do
    command -v "$tool" >/dev/null || die "$tool is needed and not here"
done
key=$1
needed="needed is hub.key from .cathedral/keys of the lost hub, or the vault's own key as age -d gives it from keys/*.age"
not_key() { die "key file $key $1; $needed"; }
[ -e "$key" ] || not_key "is not there"
[ -f "$key" ] || [ -p "$key" ] || not_key "is not a file"
[ -r "$key" ] || die "key file $key cannot be read"
vault=${VAULT:-$(dirname "$0")}
vault=$(cd "$vault" && pwd)
[ -f "$vault/cathedral-vault.json" ] || die "$vault holds no vault"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# Read once, so that it may also come out of a pipe.
cat "$key" >"$tmp/key"
first=$(head -n 1 "$tmp/key" | head -c 200 | tr -d '\000')
if ! grep -q -e '^AGE-SECRET-KEY-' -e '^AGE-PLUGIN-' -e '^-----BEGIN OPENSSH PRIVATE KEY' -e '^-----BEGIN RSA PRIVATE KEY' "$tmp/key"; then
    case $first in
    age-encryption.org/* | '-----BEGIN AGE '*) not_key "is itself encrypted: open it with age -d first" ;;
    esac
    [ -s "$tmp/key" ] || not_key "is empty"
    if grep -q '^age1[0-9a-z]*$' "$tmp/key"; then not_key "holds a public key only: it encrypts and opens nothing"; fi
    if is_hex "$first"; then not_key "is a signing key: it signs snapshots and opens nothing"; fi
    not_key "holds no age identity"
fi
if grep -q '^# id-key: ' "$tmp/key"; then
    cp "$tmp/key" "$tmp/vault.key"
else
    : >"$tmp/vault.key"
    for sealed in "$vault"/keys/*.age; do
        [ -f "$sealed" ] || die "$vault/keys holds no key files: this copy of the vault is not whole"
        age -d -i "$tmp/key" "$sealed" >"$tmp/vault.key" 2>/dev/null && break
    done
fi
grep -q '^AGE-SECRET-KEY-' "$tmp/vault.key" || not_key "opens none of the keys in $vault/keys"
open_age() { age -d -i "$tmp/vault.key" "$1"; }

manifest() { # writes the manifest of a snapshot to $tmp/manifest
    open_age "$vault/snapshots/$1.age" >"$tmp/signed" || die "snapshot $1 cannot be opened"
    head -n 1 "$tmp/signed" >"$tmp/manifest"
    jq -e --arg id "$1" '.format == "cathedral-snapshot" and .version == 1 and .id == $id' "$tmp/manifest" >/dev/null ||
        die "snapshot $1: the manifest is of another snapshot or an unknown form"
}

if [ $# -eq 1 ]; then
    for object in "$vault"/snapshots/*.age; do
        id=$(basename "$object" .age)
        case $id in *[!0-9A-Z]* | '') continue ;; esac
        manifest "$id"
        jq -r '[.id, ((.at | tonumber) / 1000000 | floor | todate), ([.spokes[] | .name + "/" + .side] | join(" "))] | join("  ")' "$tmp/manifest"
    done
    exit 0
fi

asked=$2
case $asked in *[!0-9A-Za-z]* | '') die "snapshot id $asked is not valid: give one from the list, its beginning, or latest" ;; esac
start=
[ "$asked" = latest ] || start=$(printf %s "$asked" | tr a-z A-Z)
id=
for object in "$vault"/snapshots/"$start"*.age; do
    found=$(basename "$object" .age)
    case $found in *[!0-9A-Z]* | '') continue ;; esac
    if [ "$found" = "$start" ]; then id=$found; break; fi
    [ -z "$id" ] || [ -z "$start" ] || die "$asked begins more than one snapshot: $id, $found"
    # Ids begin with the time, so that the last one is the newest.
    id=$found
done
[ -n "$id" ] || die "there is no snapshot $asked in $vault"

mkdir -p "$3"
target=$(cd "$3" && pwd)
work=$target/.recover
if [ "$(cat "$work/snapshot" 2>/dev/null)" = "$id" ]; then
    say "going on with what was begun in $target"
else
    [ -z "$(ls -A "$target")" ] || die "$target is not empty: give a new folder, or the one in which this snapshot was begun"
    mkdir "$work"
    printf '%s\n' "$id" >"$work/snapshot"
fi
trap 'say "recover: stopped; the same command goes on from here"; exit 1' HUP INT TERM
manifest "$id"
# From here on all paths are relative, so that none begins with a dash or is taken for an option.
cd "$work"
TMPDIR=$work
export TMPDIR
began=$(date +%s)
hashes=
if command -v b3sum >/dev/null; then hashes=yes; fi
mib() { awk -v n="$1" 'BEGIN { printf "%.1f MiB", n / 1048576 }'; }

# How jq reads what may be hostile. A name becomes one word: itself where it is plain, else each byte as
# \ooo, which printf turns back. Nothing else leaves jq, so that the shell and awk split at spaces only.
names='
    def bytes: explode | map(select(. != 61) | if . >= 97 then . - 71 elif . >= 65 then . - 65 elif . >= 48 then . + 4 elif . == 43 then 62 else 63 end)
        | [range(0; length; 4) as $i | .[$i:$i + 4] | length as $n
            | ((.[0] * 262144) + ((.[1] // 0) * 4096) + ((.[2] // 0) * 64) + (.[3] // 0)) as $v
            | [($v / 65536 | floor), ($v / 256 | floor) % 256, $v % 256][0:$n - 1][]];
    def octal: map("\\" + (. / 64 | floor | tostring) + ((. / 8 | floor) % 8 | tostring) + (. % 8 | tostring)) | join("");
    def base64: if type == "string" and length % 4 == 0 and test("\\A[A-Za-z0-9+/]+={0,2}\\z") then bytes else error("a name is not valid") end;
    def name: if has("n64") then (.n64 | base64) elif .n | test("\\A[A-Za-z0-9._+,=@:~-]+\\z") then .n else (.n | @base64 | base64) end
        | if . == "." or . == ".." or . == [46] or . == [46, 46] or (type == "array" and any(. == 47 or . == 0)) then error("hostile name refused") else . end
        | if type == "array" then octal else . end;
    def path: base64 | if any(. == 0) then error("a path is not valid") else octal end;
    def hash: if type == "string" and test("\\A[0-9a-f]{64}\\z") then . else error("id \(.) is not valid") end;
    def oid: if type == "string" and test("\\A[0-9a-f]{40}([0-9a-f]{24})?\\z") then . else error("object id \(.) is not valid") end;
    def count: tostring | if test("\\A[0-9]{1,15}\\z") then . else error("number \(.) is not valid") end;
    def mode: if test("\\A[0-7]{4}\\z") then .[1:] else error("mode \(.) is not valid") end;
    def stamp: tostring | if test("\\A-?[0-9]{1,19}\\z") then . else error("time \(.) is not valid") end
        | (if .[0:1] == "-" then "-" else "" end) as $sign | "000000000" + ltrimstr("-")
        | "@" + $sign + (.[:-9] | sub("\\A0+(?=[0-9])"; "")) + "." + .[-9:];'
name_of() { # sets $name from its word
    case $1 in
    *\\*) name=$(printf "$1."); name=${name%.} ;;
    *) name=$1 ;;
    esac
}
batch() { # VERB: reads lines "KEY WORD", calls VERB KEY PATH... for many paths of one key
    verb=$1
    last=
    set --
    while read -r one word; do
        if [ $# -ge 100 ] || [ "$one" != "$last" ]; then
            [ $# -eq 0 ] || "$verb" "$last" "$@"
            set --
            last=$one
        fi
        name_of "$word"
        set -- "$@" "../$name"
    done
    [ $# -eq 0 ] || "$verb" "$last" "$@"
}
make_folders() { shift; mkdir -p "$@"; }
set_mode() { chmod "$@"; }
set_time() { when=$1; shift; touch -d "$when" "$@"; tick "$#"; }
remove() { shift; rm -f "$@"; }
hash_of() { shift; b3sum --no-names "$@"; tick "$#"; }
size_of() { shift; stat -c %s "$@"; }

# Progress: what is done of what, how fast, and how long the rest takes at that speed.
shown=
begin() { phase=$1; unit=$2; total=$3; bytes_total=${4:-0}; counted=0; bytes=0; since=$(date +%s); before=$since; calls=0; }
tick() { # NUMBER [BYTES]
    counted=$((counted + $1))
    bytes=$((bytes + ${2:-0}))
    calls=$((calls + 1))
    [ $((calls % 64)) -eq 0 ] || [ "$1" -gt 1 ] || return 0
    now=$(date +%s)
    wait=10
    if [ -t 2 ]; then wait=1; fi
    [ $((now - before)) -ge "$wait" ] || return 0
    before=$now
    shown=yes
    # A small file costs as much time as a quarter of a MiB.
    awk -v p="$phase" -v u="$unit" -v c="$counted" -v t="$total" -v b="$bytes" -v bt="$bytes_total" -v s="$((now - since))" -v tty="$wait" 'BEGIN {
        d = b + c * 262144; all = bt + t * 262144
        printf "%s  %s: %d %%, %d of %d %s", (tty == 1 ? "\r" : ""), p, d * 100 / all, c, t, u
        if (bt > 0) printf ", %.1f of %.1f MiB, %.1f MiB/s", b / 1048576, bt / 1048576, b / 1048576 / s
        else printf ", %d/s", c / s
        printf ", about %d s left%s", (all - d) / d * s + 1, (tty == 1 ? "   " : "\n") }' >&2
}
end() { # TEXT
    if [ -n "$shown" ] && [ -t 2 ]; then say; fi
    shown=
    say "  $1 in $(($(date +%s) - since)) s"
}

unpack() { # leaves all chunks of a pack in a row in ./plain; 1 when the pack cannot be used
    rest=${1#??}
    object=$vault/packs/${1%"$rest"}/$1.age
    if [ -n "$hashes" ] && [ "$(b3sum --no-names <"$object")" != "$1" ]; then
        say "  pack $1 is damaged"
        return 1
    fi
    set -- "$1" $(grep "^$1 " sizes)
    rm -f failed
    if [ "$4" = whole ]; then
        { open_age "$object" 2>/dev/null || : >failed; } | { zstd -dcq 2>/dev/null || : >failed; } | head -c "$(($3 + 1))" >plain
        if [ ! -e failed ] && [ "$(wc -c <plain)" -eq "$3" ]; then return 0; fi
        rm -f failed
    fi
    # The index does not know all of it, or one frame is damaged: frame by frame.
    open_age "$object" >sealed 2>/dev/null || { rm -f sealed; say "  pack $1 cannot be opened"; return 1; }
    grep " $1 " places | cut -d ' ' -f 4,6,7 >frames
    : >plain
    while read -r plain_size offset size <&7; do
        dd if=sealed bs=1048576 iflag=skip_bytes,count_bytes skip="$offset" count="$size" status=none | zstd -dcq 2>/dev/null | head -c "$plain_size" >frame || :
        truncate -s "$plain_size" frame
        cat frame >>plain
    done 7<frames
    rm -f sealed frame
}

choose() { # FILE: of each chunk id (first word of a line) its place, "id pack offset length": the newest in a pack that is whole
    awk 'FILENAME == "bad" { bad[$1]; next }
        FILENAME == "there" { there[$1]; next }
        FILENAME == "places" {
            if (($1 in need) && ($2 in there) && !($2 in bad) && (!($1 in rank) || $5 > rank[$1])) { rank[$1] = $5; best[$1] = $1 " " $2 " " $3 " " $4 }
            next
        }
        { need[$1] }
        END { for (i in best) print best[i] }' bad there "$1" places
}

flatten() { # the lines of a pack of trees and lists, each after the id of its chunk, in ./flat/PACK
    unpack "$1" || return 1
    grep " $1 " places >frames
    awk 'NR == FNR { id[NR] = $1; end[NR] = $3 + $4; n = NR; next }
        FNR == 1 { i = 1; at = 0 }
        { while (i <= n && at >= end[i]) i++; at += length($0) + 1; if (i <= n) print "[\"" id[i] "\"," $0 "]" }' frames plain | jq -r "$names"'
        .[0] as $id | .[1] | "\($id) " + (
            if .t == "tree" then "t"
            elif .t == "file" then "f \(name) \(.m | mode) \(.mt | stamp) \(.s | count) \(.b3 | hash) " +
                (if .cl then "L:" + (.cl | hash) elif (.c | length) == 0 then "-" else [.c[] | "\(.[0] | hash):\(.[1] | count):\(.[2] | count)"] | join(",") end)
            elif .t == "dir" then "d \(name) \(.m | mode) \(.mt | stamp) \(.tree | hash)"
            elif .t == "link" then "l \(name) \(.mt | stamp) \(.to | path)"
            elif .t == "part" then "p \(.tree | hash)"
            elif .t == "list" then "L \(.level | count)"
            elif .t == "segment" then "G"
            elif has("t") then "u"
            elif has("statements") then "s " + tojson
            elif has("oid") then "r \(.oid | oid) \(.name | @base64 | path)"
            elif has("l") then "g \(.id | hash)"
            elif has("n") then "m \(.id | hash)"
            else "u" end)' >flat.new || { say "  pack $1 cannot be read"; return 1; }
    mv flat.new "flat/$1"
    rm -f plain
}

lines() { # FILE: all lines of the chunks whose ids begin its lines, in ./got; what is in no pack is left out
    while :; do
        choose "$1" >chosen
        cut -d ' ' -f 2 chosen | sort -u >wanted
        again=
        while read -r pack <&6; do
            if [ -e "flat/$pack" ]; then continue; fi
            flatten "$pack" || { printf '%s\n' "$pack" >>bad; again=yes; }
        done 6<wanted
        [ -n "$again" ] || break
    done
    # A chunk may stand in several packs.
    awk 'FILENAME == "chosen" { at[$1] = $2; next } FNR == 1 { pack = FILENAME; sub(".*/", "", pack) } ($1 in at) && at[$1] == pack' chosen flat/* >got
}

read_index() { # where every chunk lies: ./places "id pack offset length rank frame-offset frame-length", by pack and offset
    printf '%s\n' "$vault"/packs/*/*.age | sed 's|.*/||; s|\.age$||' >there
    for object in "$vault"/index/*.age; do
        [ -f "$object" ] || die "$vault/index holds no index: this copy of the vault is not whole"
        if open_age "$object" 2>/dev/null >sealed && zstd -dcq <sealed 2>/dev/null >plain; then cat plain; else say "  index $object is damaged: what only it knows is not found"; fi
    done | jq -rR 'fromjson? | select(.t == "chunk") | "\(.id) \(.p) \(.o) \(.l) \(.u)"' | awk '
        length($1) == 64 && length($2) == 64 && ($1 $2) !~ /[^0-9a-f]/ && ($3 $4 $5) !~ /[^0-9]/ && length($3) < 16 && length($4) < 16 && length($5) < 11 { print $0, NR }' |
        sort -k 2,2 -k 3,3n -k 6,6nr | awk '
        function close_pack() { if (pack != "") printf "%s %.0f %s\n", pack, plain, (gap ? "gaps" : "whole") >"sizes" }
        $2 != pack { close_pack(); pack = $2; plain = 0; next_frame = 0; gap = 0; last = "" }
        $3 == last { next }
        { if ($3 != next_frame) gap = 1
          printf "%s %s %.0f %s %s %s %s\n", $1, $2, plain, $5, $6, $3, $4
          last = $3; plain += $5; next_frame = $3 + $4 }
        END { close_pack() }' >places
    rm -f sealed plain
    [ -s places ] || die "no index of $vault can be read"
}

read_trees() { # all entries of all trees, "f PATH MODE TIME SIZE HASH PIECES", "d PATH MODE TIME", "l PATH TIME TARGET", in ./entries
    awk '$1 == "files" { print $4, $3 }' parts >level
    awk '{ print "d", $2, 700, "-" }' level >entries
    depth=0
    while [ -s level ]; do
        depth=$((depth + 1))
        [ "$depth" -lt 8192 ] || die "a tree is too deep"
        lines level
        : >level.new
        awk 'FILENAME == "level" { under[$1] = under[$1] " " $2; next }
            !($1 in under) { next }
            $2 == "t" { seen[$1]; next }
            { n = split(under[$1], at, " ")
              for (i = 1; i <= n; i++) {
                if ($2 == "p") { print $3, at[i] >"level.new"; continue }
                path = at[i] "/" $3
                if (length(path) > 32768) { print "a path is too long" >"refused"; exit }
                if ($2 == "d") { print "d", path, $4, $5; print $6, path >"level.new" }
                else if ($2 == "f") print "f", path, $4, $5, $6, $7, $8
                else if ($2 == "l") print "l", path, $4, $5
                else print "everything of an unknown kind in " at[i] >>"missing" } }
            END { for (id in under) if (!(id in seen)) { n = split(under[id], at, " "); for (i = 1; i <= n; i++) print "all that is in " at[i] >>"missing" } }' level got >>entries
        [ ! -s refused ] || die "$(cat refused)"
        mv level.new level
    done
    cut -d ' ' -f 2 entries | sort | uniq -d >twice
    [ ! -s twice ] || die "$(head -n 1 twice) is there twice"
}

expand() { # ./lists "WORD ID" becomes "WORD ID =" for each chunk that is no list, in order
    depth=0
    while grep -qv ' =$' lists; do
        depth=$((depth + 1))
        [ "$depth" -lt 20 ] || die "a list is too deep"
        awk '$3 != "=" { print $2 }' lists >open
        lines open
        awk 'FILENAME == "got" { if ($2 == "L") level[$1] = $3; else if ($2 == "m") below[$1] = below[$1] " " $3; next }
            $3 == "=" { print; next }
            !($2 in level) { print $1 >>"holes"; next }
            { n = split(below[$2], member, " "); for (i = 1; i <= n; i++) print $1, member[i] (level[$2] > 0 ? "" : " =") }' got lists >lists.new
        mv lists.new lists
    done
}

plan() { # ./pieces "ID OFFSET LENGTH PLACE WORD": which bytes of which chunk go where in which file
    rm -rf flat
    mkdir flat
    : >flat/none
    : >bad
    : >missing
    : >holes
    rm -f refused placed
    jq -r "$names"'.spokes | if map(.name + "/" + .side) | length != (unique | length) then error("a part is there twice") else . end
        | to_entries[] | .key as $p | .value
        | (if (.name | test("\\A[A-Za-z0-9_][A-Za-z0-9._-]*\\z")) and (.side == "hub" or .side == "spoke") then .name + "/" + .side else error("hostile name of a spoke refused") end) as $to
        | if .kind == "files" then "files \($p) \($to) \(.tree | hash)"
          elif .kind == "git" then "git \($p) \($to) \(.git.refs | hash)", ([.git.base // empty, .git.segments[]] | to_entries[] | "segment \($p) .recover/segment.\($p).\(.key) \(.value | hash)")
          elif .kind == "database" then "database \($p) \($to) \(.database.schema | hash)", (.database.tables | to_entries[] | select(.value.leaves) | "table \($p) .recover/table.\($p).\(.key) \(.value.leaves | hash)")
          else error("spoke \(.name) is of an unknown kind") end' "$tmp/manifest" >parts || die "snapshot $id cannot be used"
    read_index
    read_trees
    awk '$1 == "table" { print $3, $4 }' parts >lists
    awk '$1 == "f" && $7 ~ /^L:/ { print $2, substr($7, 3) }' entries >>lists
    expand
    awk '$1 != "files" && $1 != "table" { print $4 }' parts >heads
    lines heads
    awk 'FILENAME == "got" { if ($2 == "g") piece[$1] = piece[$1] " " $3; else if ($2 == "G") seen[$1]; next }
        FILENAME == "parts" {
            if ($1 != "segment") next
            if (!($4 in seen)) print $3 >>"holes"
            n = split(piece[$4], at, " ")
            for (i = 1; i <= n; i++) print at[i], 0, -1, $3
            next
        }
        FILENAME == "lists" { print $2, 0, -1, $1; next }
        $1 == "f" && $7 ~ /:/ && $7 !~ /^L:/ { n = split($7, at, ","); for (i = 1; i <= n; i++) { split(at[i], p, ":"); print p[1], p[2], p[3], $2 } }' got parts lists entries >rough
    # The first words of git's refs and the schemas are kept; the rest of what was read is not needed any more.
    awk '$2 == "r" || $2 == "s"' got >heads.lines
    rm -rf flat
    awk 'FILENAME == "rough" && !second { need[$1]; next }
        FILENAME == "places" { second = 1; if ($1 in need) size[$1] = $4; next }
        { length_of = ($3 < 0 ? size[$1] : $3)
          if (!($1 in size) || $2 + length_of > size[$1]) { print $4 >>"holes"; next }
          printf "%s %s %.0f %.0f %s\n", $1, $2, length_of, to[$4], $4
          to[$4] += length_of }' rough places rough >pieces
    cp pieces todo
    rm -f rough lists open got chosen frames
    : >planned
}

place() { # ./steps "PACK SKIP LENGTH SEEK WORD", by pack: what lies together in both is copied together
    choose todo >chosen
    awk 'FILENAME == "chosen" { pack[$1] = $2; at[$1] = $3; next }
        ($1 in pack) { printf "%s %.0f %s %s %s %s %s\n", pack[$1], at[$1] + $2, $3, $4, $5, $1, $2; next }
        { print $5 >>"holes" }' chosen todo | sort -k 1,1 -k 2,2n -k 5,5 -k 4,4n >placed
    awk 'function out() { if (pack != "") printf "%s %.0f %.0f %.0f %s\n", pack, skip, len, seek, to }
        $1 == pack && $2 == skip + len && $5 == to && $4 == seek + len { len += $3; next }
        { out(); pack = $1; skip = $2; len = $3; seek = $4; to = $5 }
        END { out() }' placed >steps.new
    : >read
    mv steps.new steps
}

copy() { # carries ./steps out; packs that were read before are left alone
    current=
    usable=
    while read -r pack skip size seek word <&4; do
        if [ "$pack" != "$current" ]; then
            if [ -n "$usable" ] && [ -n "$current" ]; then printf '%s\n' "$current" >>read; fi
            current=$pack
            usable=
            if grep -q "^$pack" read; then :; elif unpack "$pack"; then usable=yes; else printf '%s\n' "$pack" >>bad; fi
        fi
        if [ -n "$usable" ]; then
            name_of "$word"
            dd if=plain of="../$name" bs=1048576 iflag=skip_bytes,count_bytes oflag=seek_bytes conv=notrunc status=none skip="$skip" count="$size" seek="$seek" ||
                die "$name cannot be written; when there is room again, the same command goes on from here"
        fi
        tick 1 "$size"
    done 4<steps
    if [ -n "$usable" ]; then printf '%s\n' "$current" >>read; fi
    rm -f plain
}

restore_contents() {
    while :; do
        [ -e steps ] || place
        if [ ! -e begun ]; then
            set -- $(awk '{ n += $3 } END { printf "%.0f", n }' pieces) $(awk 'FILENAME == "placed" { p[$1]; next } ($1 in p) && $2 > m { m = $2 } END { printf "%.0f", m }' placed sizes) \
                $(awk '$5 ~ /^\.recover/ { n += $3 } END { printf "%.0f", n }' pieces) $(cut -d ' ' -f 1 steps | sort -u | wc -l)
            say "  $(mib "$1") out of $4 packs; while this runs it needs up to $(mib $(($2 + $3 * 2))) beside them, in $work"
            free=$(df -Pk . | awk 'NR == 2 { printf "%.0f", $4 * 1024 }')
            [ "$free" -gt "$(($1 + $2 + $3 * 2))" ] || say "  only $(mib "$free") are free here: it may stop when the disk is full, and goes on when there is room"
            awk '$1 == "d" { print "x", $2 } ' entries | sort >batch.in
            awk '$1 == "git" || $1 == "database" { sub("/.*", "", $3); print "x", $3 }' parts >>batch.in
            batch make_folders <batch.in
            awk '$1 == "f" && $7 == "-" { print $2 }' entries >empty
            while read -r word <&4; do
                name_of "$word"
                : >"../$name"
            done 4<empty
            : >begun
        fi
        begin contents pieces $(awk '{ n += $3; c++ } END { printf "%d %.0f", c, n }' steps)
        copy
        end "$counted pieces, $(mib "$bytes") read"
        # What was to come out of a damaged pack may stand in another one.
        awk 'FILENAME == "bad" { bad[$1]; next } $1 in bad { print $6, $7, $3, $4, $5 }' bad placed >todo
        rm -f steps
        [ -s todo ] || break
    done
}

restore_entries() { # checks the files, then gives them their modes and times
    sort -u holes >holes.all
    awk 'FILENAME == "holes.all" { hole[$1]; next } $1 == "f" && ($2 in hole) { print "x", $2 }' holes.all entries >batch.in
    awk '{ print $2 ": its content is in no pack that is whole" }' batch.in >>missing
    batch remove <batch.in
    awk 'FILENAME == "holes.all" { hole[$1]; next } $1 == "f" && !($2 in hole)' holes.all entries >files
    cut -d ' ' -f 2 files | sed 's/^/x /' >batch.in
    begin checking files "$(wc -l <files)"
    batch size_of <batch.in >sizes.found || die "a file has gone while it was restored"
    if [ -n "$hashes" ]; then batch hash_of <batch.in >hashes.found; else cut -d ' ' -f 6 files >hashes.found; fi
    paste -d ' ' sizes.found hashes.found files >compared
    awk 'NF < 9 || $1 != $7 || $2 != $8 { print $4 ": is not what it was" }' compared >>missing
    end "$(wc -l <files) files checked by size$([ -z "$hashes" ] || printf ' and BLAKE3')"
    awk '$1 == "l"' entries >links
    while read -r _ word when to <&4; do
        name_of "$to"
        to=$name
        name_of "$word"
        [ -L "../$name" ] || ln -sT -- "$to" "../$name"
        touch -h -d "$when" "../$name"
    done 4<links
    begin "modes and times" files "$(wc -l <files)"
    awk '{ print $3, $2 }' files | sort >batch.in
    batch set_mode <batch.in
    awk '{ print $4, $2 }' files | sort >batch.in
    batch set_time <batch.in
    # Folders last and innermost first: writing into one changes its time, a mode may forbid it.
    awk '$1 == "d" && $4 != "-" { line[++n] = $0 } END { for (i = n; i > 0; i--) print line[i] }' entries >folders
    begin "modes and times" folders "$(wc -l <folders)"
    while read -r _ word mode when <&4; do
        name_of "$word"
        chmod "$mode" "../$name"
        touch -d "$when" "../$name"
        tick 1
    done 4<folders
}

is_whole() { # PREFIX: whether nothing of these files is missing
    awk -v p="$1" 'index($1, p) == 1 { found = 1 } END { exit found }' holes.all
}

restore_git() { # NUMBER FOLDER REFS
    command -v git >/dev/null || die "git is needed and not here"
    rm -rf "../$2.git"
    git init -q --bare "../$2.git"
    awk -v p="$1" '$1 == "segment" && $2 == p { print $3 }' parts >segments
    while read -r word <&4; do
        [ -s "../$word" ] || continue
        git -C "../$2.git" index-pack --stdin --fix-thin <"../$word" >/dev/null || die "git refuses a pack of $2"
    done 4<segments
    awk -v id="$3" '$1 == id && $2 == "r" { print $3, $4 }' heads.lines >refs
    : >updates
    while read -r oid word <&4; do
        name_of "$word"
        git check-ref-format "$name" || die "hostile ref name refused"
        case $name in refs/*) ;; *) die "hostile ref name refused" ;; esac
        printf 'create %s %s\n' "$name" "$oid" >>updates
    done 4<refs
    git -C "../$2.git" update-ref --stdin <updates
    name=$(jq -r --argjson p "$1" '.spokes[$p].git.head // empty' "$tmp/manifest")
    if [ -n "$name" ]; then
        git check-ref-format "$name" || die "hostile name of HEAD refused"
        case $name in refs/*) git -C "../$2.git" symbolic-ref HEAD "$name" ;; esac
    fi
    git -C "../$2.git" fsck --connectivity-only --no-dangling >/dev/null || die "git finds $2 broken"
    while read -r word <&4; do rm -f "../$word"; done 4<segments
}

# Cells as SQL literals; floats by mantissa and exponent where sqlite3 knows how, so that no bit is lost.
literals='
    def hex: "0123456789ABCDEF" as $d | map($d[(. / 16 | floor):(. / 16 | floor) + 1] + $d[. % 16:. % 16 + 1]) | join("");
    def quoted($q): $q + (split($q) | join($q + $q)) + $q;
    def float: if . == "inf" then "9e999" elif . == "-inf" then "-9e999" elif . == "nan" then "NULL"
        elif . == "-0.0" or ($exact | not) then . else (tonumber | frexp) as [$m, $e] | "ieee754(\($m * 9007199254740992),\($e - 53))" end;
    def literal: if . == null then "NULL" elif type == "number" then tostring
        elif type == "string" then (if any(explode[]; . == 0) then "CAST(X\u0027" + (@base64 | bytes | hex) + "\u0027 AS TEXT)" else quoted("\u0027") end)
        elif .i then .i elif .f then (.f | float)
        elif has("b") then "X\u0027" + (.b | bytes | hex) + "\u0027"
        elif has("raw") then "CAST(X\u0027" + (.raw | bytes | hex) + "\u0027 AS TEXT)" else error("a cell is not valid") end;'

restore_database() { # NUMBER FILE-WITHOUT-ENDING SCHEMA
    exact=false
    if command -v sqlite3 >/dev/null && [ "$(sqlite3 :memory: 'select ieee754(1,0)' 2>/dev/null)" = 1.0 ]; then exact=true; fi
    out=../$2
    rm -f "$out.sql" "$out.sqlite"
    grep "^$3 s " heads.lines | head -n 1 | cut -d ' ' -f 3- >schema
    [ -s schema ] || { say "  the schema of $2 is in no pack that is whole"; return 1; }
    {
        echo 'PRAGMA foreign_keys=OFF;'
        jq -r '.settings | objects | to_entries[] | select(.key | IN("user_version", "application_id", "page_size", "auto_vacuum"))
            | select(.value | type == "number") | "PRAGMA \(.key)=\(.value);"' schema
        jq -r '.settings | objects | .encoding // empty | select(IN("UTF-8", "UTF-16le", "UTF-16be")) | "PRAGMA encoding=\u0027\(.)\u0027;"' schema
        echo 'BEGIN;'
        # Tables first: triggers must not fire while rows are put back.
        jq -r '.statements[] | select(test("^\\s*create\\s+(virtual\\s+)?table"; "i")) + ";"' schema
    } >"$out.sql"
    jq -r --argjson p "$1" '.spokes[$p].database.tables | to_entries[] | select(.value.leaves) | .key' "$tmp/manifest" >tables
    while read -r number <&4; do
        # A leaf is one line for each column; leaves follow each other.
        jq -rn --argjson exact "$exact" --argjson number "$number" --argjson p "$1" --slurpfile manifest "$tmp/manifest" "$names$literals"'
            $manifest[0].spokes[$p].database.tables[$number] as $table | $table.columns as $names
            | ($names | map(quoted("\"")) | join(",")) as $columns | ($table.n | quoted("\"")) as $into | ($names | length) as $width
            | foreach inputs as $line ([]; (if length == $width then [] else . end) + [$line]; if length == $width then . else empty end)
            | if map(.c) == $names then map(.v) else error("a leaf has other columns than its table") end | transpose[]
            | "INSERT INTO \($into)(\($columns)) VALUES(" + (map(literal) | join(",")) + ");"' "table.$1.$number" >>"$out.sql" || die "a table of $2 cannot be read"
    done 4<tables
    {
        jq -r '.statements[] | select(test("^\\s*create\\s+(virtual\\s+)?table"; "i") | not) + ";"' schema
        jq -r "$names$literals"'.settings | objects | .sqlite_sequence | objects | to_entries[] | select(.value | tostring | test("^-?[0-9]+$"))
            | (.key | literal) as $n | "DELETE FROM sqlite_sequence WHERE name=\($n);INSERT INTO sqlite_sequence VALUES(\($n),\(.value));"' --argjson exact false schema
        echo 'COMMIT;'
    } >>"$out.sql"
    # Safe mode: the statements must not reach the shell's own commands or other files.
    if command -v sqlite3 >/dev/null && sqlite3 -safe :memory: 'select 1' >/dev/null 2>&1; then
        sqlite3 -safe -bail "$out.sqlite" <"$out.sql" >/dev/null || die "sqlite3 refuses $2.sql"
        [ "$(sqlite3 -safe "$out.sqlite" 'pragma integrity_check' 2>&1)" = ok ] || say "  sqlite3 finds faults in $2.sqlite: the pragma integrity_check lists them"
    fi
    rm -f "table.$1".*
}

if [ ! -e planned ]; then
    say "reading what is in snapshot $id"
    plan
fi
[ -e contents.done ] || { say "restoring into $target"; restore_contents; : >contents.done; }
[ -e files.done ] || { restore_entries; : >files.done; }
while read -r kind number to first <&3; do
    if [ -e "part.$number.done" ]; then continue; fi
    case $kind in git | database) ;; *) continue ;; esac
    say "  putting $to together ($kind)"
    if is_whole ".recover/segment.$number." && is_whole ".recover/table.$number." && "restore_$kind" "$number" "$to" "$first"; then :; else
        printf '%s\n' "$to: its content is in no pack that is whole" >>missing
    fi
    : >"part.$number.done"
done 3<parts
files=$(grep -c '^f ' entries || :)
others=$(grep -c -e '^git ' -e '^database ' parts || :)
status=0
if [ -s missing ]; then
    sort -u missing >../NOT-RESTORED.txt
    say "$(wc -l <../NOT-RESTORED.txt) things could not be restored as they were; $target/NOT-RESTORED.txt names them:"
    head -n 10 ../NOT-RESTORED.txt >&2
    status=1
fi
cd "$target"
rm -rf "$work"
say "restored snapshot $id into $target: $files files, $others repositories and databases, in $(($(date +%s) - began)) s"
exit "$status"
