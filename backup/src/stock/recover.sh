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
set -eu
umask 077
LC_ALL=C
export LC_ALL
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY 2>/dev/null || :

say() { printf '%s\n' "$*" >&2; }
die() { say "recover: $*"; exit 1; }
# Numbers go into shell arithmetic, which would run what a hostile one says.
is_number() { case ${1#-} in *[!0-9]* | '' | ????????????????????*) return 1 ;; esac; }
numbers() { for one in "$@"; do is_number "$one" || die "number $one is not valid"; done; }
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
mkdir "$tmp/packs" "$tmp/index"

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
[ -z "$(ls -A "$target")" ] || die "$target is not empty"
manifest "$id"
cp "$tmp/manifest" "$tmp/snapshot"

# Where every chunk lies: one file for each first byte of the ids.
for object in "$vault"/index/*.age; do
    [ -f "$object" ] || continue
    open_age "$object" | zstd -dcq || die "index $object cannot be read"
done | jq -r 'select(.t == "chunk") | "\(.id) \(.p) \(.o) \(.l)"' | awk -v d="$tmp/index" '
    length($1) == 64 && length($2) == 64 && $1 !~ /[^0-9a-f]/ && $2 !~ /[^0-9a-f]/ && $3 !~ /[^0-9]/ && $4 !~ /[^0-9]/ { print > (d "/" substr($1, 1, 2)) }'

chunk() { # writes the plain bytes of a chunk to stdout
    is_hex "$1" || die "chunk id $1 is not valid"
    shard=$tmp/index/$(printf '%.2s' "$1")
    places=$(grep "^$1 " "$shard" 2>/dev/null) || die "chunk $1 is in no index"
    # A chunk that was stored anew has several places, the newest last; an older pack may be gone or damaged.
    place=$(printf '%s\n' "$places" | sed '1!G;h;$!d' | while read -r id name rest; do
        [ ! -f "$vault/packs/$(printf '%.2s' "$name")/$name.age" ] || { printf '%s %s %s\n' "$id" "$name" "$rest"; break; }
    done)
    [ -n "$place" ] || die "every pack of chunk $1 is missing: $(printf '%.64s' "${places#* }")"
    pack=${place#* }; pack=${pack%% *}
    rest=${place#* * }
    offset=${rest% *}; length=${rest#* }
    numbers "$offset" "$length"
    if [ ! -f "$tmp/packs/$pack" ]; then
        [ "$(ls "$tmp/packs" | wc -l)" -lt 32 ] || rm -f "$tmp"/packs/*
        object=$vault/packs/$(printf '%.2s' "$pack")/$pack.age
        [ -f "$object" ] || die "pack $pack is missing"
        if command -v b3sum >/dev/null; then
            [ "$(b3sum <"$object" | cut -c 1-64)" = "$pack" ] || die "pack $pack is damaged"
        fi
        open_age "$object" >"$tmp/packs/part" || die "pack $pack cannot be opened"
        mv "$tmp/packs/part" "$tmp/packs/$pack"
    fi
    tail -c "+$((offset + 1))" "$tmp/packs/$pack" | head -c "$length" | zstd -dcq || die "chunk $1 is damaged"
}

have=
fetch() { # leaves the plain bytes of a chunk in $tmp/chunk
    [ "$1" = "$have" ] && return 0
    have=
    chunk "$1" >"$tmp/chunk" || exit 1
    have=$1
}

members() { # leaves "id n" of all members of a list in $tmp/members
    printf '%s 0\n' "$1" >"$tmp/members"
    level=1
    while [ "$level" -gt 0 ]; do
        : >"$tmp/below"
        while read -r list _; do
            fetch "$list"
            level=$(head -n 1 "$tmp/chunk" | jq -r 'select(.t == "list") | .level')
            [ -n "$level" ] || die "list $list is not one"
            numbers "$level"
            jq -r 'select(.id) | "\(.id) \(.n)"' "$tmp/chunk" >>"$tmp/below"
        done <"$tmp/members"
        mv "$tmp/below" "$tmp/members"
    done
}

decode() { # sets $name from base64; refuses what could leave its folder
    name=$(printf %s "$1" | base64 -d 2>/dev/null | tr -d '\000'; printf x)
    name=${name%x}
    [ "$(printf %s "$name" | base64 | tr -d '\n')" = "$1" ] || die "a name is not valid"
}
safe() {
    case $name in '' | . | .. | */*) die "hostile name $name refused" ;; esac
}

stamp() { # the time of mtime nanoseconds, as touch takes it
    seconds=$(($1 / 1000000000)); nanos=$(($1 % 1000000000))
    if [ "$nanos" -lt 0 ]; then printf '@%d' "$seconds"; else printf '@%d.%09d' "$seconds" "$nanos"; fi
}

restore_files() { # TREE FOLDER
    mkdir -p "$2"
    : >"$tmp/folders"
    printf '%s -\n' "$1" >"$tmp/queue"
    while read -r node under; do
        folder=$2
        if [ "$under" != - ]; then
            decode "$under"
            folder=$2/$name
        fi
        fetch "$node"
        cp "$tmp/chunk" "$tmp/nodes"
        # Parts of a split folder stand in for it.
        while jq -e -s 'any(.t == "part")' "$tmp/nodes" >/dev/null; do
            jq -r 'select(.t == "part") | .tree' "$tmp/nodes" >"$tmp/parts"
            : >"$tmp/nodes.new"
            while read -r part; do fetch "$part"; cat "$tmp/chunk" >>"$tmp/nodes.new"; done <"$tmp/parts"
            mv "$tmp/nodes.new" "$tmp/nodes"
        done
        jq -r '
            def name: .n64 // (.n | @base64);
            if .t == "file" then "f \(name) \(.m) \(.mt) \(.s) \(.b3) " + (if .cl then "L:" + .cl elif (.c | length) == 0 then "-" else [.c[] | "\(.[0]):\(.[1]):\(.[2])"] | join(",") end)
            elif .t == "dir" then "d \(name) \(.m) \(.mt) \(.tree)"
            elif .t == "link" then "l \(name) \(.to) \(.mt)"
            elif .t == "tree" then empty else error("entry of an unknown kind") end' "$tmp/nodes" >"$tmp/entries"
        while read -r kind name64 a b c d pieces; do
            decode "$name64"
            safe
            path=$folder/$name
            if [ -e "$path" ] || [ -L "$path" ]; then die "$path is there twice"; fi
            case $kind in
            f)
                numbers "$a" "$b" "$c"
                : >"$path"
                case $pieces in
                -) ;;
                L:*)
                    members "${pieces#L:}"
                    while read -r piece _; do chunk "$piece" >>"$path" || exit 1; done <"$tmp/members"
                    ;;
                *)
                    printf '%s\n' "$pieces" | tr , '\n' >"$tmp/pieces"
                    while IFS=: read -r piece offset length; do
                        numbers "$offset" "$length"
                        want=$length
                        skip=$((offset + 1))
                        fetch "$piece"
                        tail -c "+$skip" "$tmp/chunk" | head -c "$want" >>"$path"
                    done <"$tmp/pieces"
                    ;;
                esac
                [ "$(wc -c <"$path")" -eq "$c" ] || die "$path has a wrong size"
                if command -v b3sum >/dev/null; then
                    [ "$(b3sum <"$path" | cut -c 1-64)" = "$d" ] || die "$path does not match its hash"
                fi
                chmod "$(printf %04o $((0$a & 00777)))" "$path"
                touch -d "$(stamp "$b")" "$path"
                ;;
            d)
                numbers "$a" "$b"
                mkdir "$path"
                if [ "$under" = - ]; then below=$name; else decode "$under"; below=$name/${path##*/}; fi
                below64=$(printf %s "$below" | base64 | tr -d '\n')
                printf '%s %s\n' "$c" "$below64" >>"$tmp/queue"
                printf '%s %s %s\n' "$a" "$b" "$below64" >>"$tmp/folders"
                ;;
            l)
                numbers "$b"
                to=$(printf %s "$a" | base64 -d | tr -d '\000'; printf x)
                ln -s -- "${to%x}" "$path"
                touch -h -d "$(stamp "$b")" "$path"
                ;;
            esac
        done <"$tmp/entries"
    done <"$tmp/queue"
    # Folders last and innermost first: writing into one changes its time, a mode may forbid it.
    awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$tmp/folders" >"$tmp/folders.back"
    while read -r mode mtime path64; do
        decode "$path64"
        chmod "$(printf %04o $((0$mode & 00777)))" "$2/$name"
        touch -d "$(stamp "$mtime")" "$2/$name"
    done <"$tmp/folders.back"
}

restore_git() { # PART FOLDER
    command -v git >/dev/null || die "git is needed and not here"
    git init -q --bare "$2"
    printf '%s' "$1" | jq -r '.git | (.base // empty), .segments[]' >"$tmp/segments"
    while read -r segment; do
        fetch "$segment"
        jq -r 'select(.id) | .id' "$tmp/chunk" >"$tmp/pieces"
        : >"$tmp/gitpack"
        while read -r piece; do chunk "$piece" >>"$tmp/gitpack" || exit 1; done <"$tmp/pieces"
        [ -s "$tmp/gitpack" ] || continue
        git -C "$2" index-pack --stdin --fix-thin <"$tmp/gitpack" >/dev/null || die "git refuses a pack"
    done <"$tmp/segments"
    fetch "$(printf '%s' "$1" | jq -r .git.refs)"
    jq -r 'select(.name) | "\(.oid) \(.name | @base64)"' "$tmp/chunk" >"$tmp/refs"
    : >"$tmp/updates"
    while read -r oid name64; do
        decode "$name64"
        git check-ref-format "$name" || die "hostile ref name refused"
        case $name in refs/*) ;; *) die "hostile ref name refused" ;; esac
        case $oid in *[!0-9a-f]* | '') die "object id $oid is not valid" ;; esac
        printf 'create %s %s\n' "$name" "$oid" >>"$tmp/updates"
    done <"$tmp/refs"
    git -C "$2" update-ref --stdin <"$tmp/updates"
    name=$(printf '%s' "$1" | jq -r '.git.head // empty')
    if [ -n "$name" ]; then
        git check-ref-format "$name" || die "hostile name of HEAD refused"
        case $name in refs/*) git -C "$2" symbolic-ref HEAD "$name" ;; esac
    fi
    git -C "$2" fsck --connectivity-only --no-dangling >/dev/null || die "git finds the repository broken"
}

# Cells as SQL literals; floats by mantissa and exponent where sqlite3 knows how, so that no bit is lost.
literals='
    def bytes: explode | map(select(. != 61) | if . >= 97 then . - 71 elif . >= 65 then . - 65 elif . >= 48 then . + 4 elif . == 43 then 62 else 63 end)
        | [range(0; length; 4) as $i | .[$i:$i + 4] | length as $n
            | ((.[0] * 262144) + ((.[1] // 0) * 4096) + ((.[2] // 0) * 64) + (.[3] // 0)) as $v
            | [($v / 65536 | floor), ($v / 256 | floor) % 256, $v % 256][0:$n - 1][]];
    def hex: "0123456789ABCDEF" as $d | map($d[(. / 16 | floor):(. / 16 | floor) + 1] + $d[. % 16:. % 16 + 1]) | join("");
    def quoted($q): $q + (split($q) | join($q + $q)) + $q;
    def float: if . == "inf" then "9e999" elif . == "-inf" then "-9e999" elif . == "nan" then "NULL"
        elif . == "-0.0" or ($exact | not) then . else (tonumber | frexp) as [$m, $e] | "ieee754(\($m * 9007199254740992),\($e - 53))" end;
    def literal: if . == null then "NULL" elif type == "number" then tostring
        elif type == "string" then (if any(explode[]; . == 0) then "CAST(X\u0027" + (@base64 | bytes | hex) + "\u0027 AS TEXT)" else quoted("\u0027") end)
        elif .i then .i elif .f then (.f | float)
        elif has("b") then "X\u0027" + (.b | bytes | hex) + "\u0027"
        elif has("raw") then "CAST(X\u0027" + (.raw | bytes | hex) + "\u0027 AS TEXT)" else error("a cell is not valid") end;'

restore_database() { # PART FILE-WITHOUT-ENDING
    exact=false
    if command -v sqlite3 >/dev/null && [ "$(sqlite3 :memory: 'select ieee754(1,0)' 2>/dev/null)" = 1.0 ]; then exact=true; fi
    fetch "$(printf '%s' "$1" | jq -r .database.schema)"
    cp "$tmp/chunk" "$tmp/schema"
    {
        echo 'PRAGMA foreign_keys=OFF;'
        jq -r '.settings | objects | to_entries[] | select(.key | IN("user_version", "application_id", "page_size", "auto_vacuum"))
            | select(.value | type == "number") | "PRAGMA \(.key)=\(.value);"' "$tmp/schema"
        jq -r '.settings | objects | .encoding // empty | select(IN("UTF-8", "UTF-16le", "UTF-16be")) | "PRAGMA encoding=\u0027\(.)\u0027;"' "$tmp/schema"
        echo 'BEGIN;'
        # Tables first: triggers must not fire while rows are put back.
        jq -r '.statements[] | select(test("^\\s*create\\s+(virtual\\s+)?table"; "i")) + ";"' "$tmp/schema"
    } >"$2.sql"
    printf '%s' "$1" | jq -r '.database.tables[] | select(.leaves) | "\(.n | @base64) \(.leaves)"' >"$tmp/tables"
    while read -r table64 leaves; do
        decode "$table64"
        table=$name
        members "$leaves"
        while read -r leaf _; do
            fetch "$leaf"
            jq -rs --arg table "$table" --argjson exact "$exact" "$literals"'
                (map(.c | quoted("\"")) | join(",")) as $columns | map(.v) | transpose[]
                | "INSERT INTO \($table | quoted("\""))(\($columns)) VALUES(" + (map(literal) | join(",")) + ");"' "$tmp/chunk" >>"$2.sql"
        done <"$tmp/members"
    done <"$tmp/tables"
    {
        jq -r '.statements[] | select(test("^\\s*create\\s+(virtual\\s+)?table"; "i") | not) + ";"' "$tmp/schema"
        jq -r "$literals"'.settings | objects | .sqlite_sequence | objects | to_entries[] | select(.value | tostring | test("^-?[0-9]+$"))
            | (.key | literal) as $n | "DELETE FROM sqlite_sequence WHERE name=\($n);INSERT INTO sqlite_sequence VALUES(\($n),\(.value));"' --argjson exact false "$tmp/schema"
        echo 'COMMIT;'
    } >>"$2.sql"
    # Safe mode: the statements must not reach the shell's own commands or other files.
    if command -v sqlite3 >/dev/null && sqlite3 -safe :memory: 'select 1' >/dev/null 2>&1; then
        sqlite3 -safe -bail "$2.sqlite" <"$2.sql" >/dev/null || die "sqlite3 refuses $2.sql"
    fi
}

jq -c '.spokes[]' "$tmp/snapshot" >"$tmp/spokes"
exec 3<"$tmp/spokes"
while read -r part <&3; do
    name=$(printf '%s' "$part" | jq -r .name)
    side=$(printf '%s' "$part" | jq -r .side)
    kind=$(printf '%s' "$part" | jq -r .kind)
    case $name in *[!A-Za-z0-9._-]* | .* | -* | '') die "hostile spoke name refused" ;; esac
    case $side in hub | spoke) ;; *) die "hostile side refused" ;; esac
    say "restoring $name ($side, $kind)"
    mkdir -p "$target/$name"
    out=$target/$name/$side
    case $kind in
    files) restore_files "$(printf '%s' "$part" | jq -r .tree)" "$out" ;;
    git) restore_git "$part" "$out.git" ;;
    database) restore_database "$part" "$out" ;;
    *) die "spoke $name is of an unknown kind: $kind" ;;
    esac
done
say "restored snapshot $id into $target"
