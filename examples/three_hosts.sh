#!/bin/sh
# Three hosts with a network of their own on this one machine (Linux network namespaces), one group over them, and a pulled
# cable. Needs root and iproute2; whatever it makes, it removes.
#
#   sudo PATH="$PATH" examples/three_hosts.sh
set -eu

hosts="north south east"
folder=$(mktemp -d /tmp/p2p-XXXXXX)
tag=$$
bridge=p2p$tag

say() { printf '\n== %s\n' "$*"; }
on() { host=$1; shift; ip netns exec "p2p-$tag-$host" "$@"; }
node() { host=$1; shift; XDG_RUNTIME_DIR=$folder p2praft "$@" --node "$folder/$host"; }
wait_for() { # wait_for TEXT COMMAND…: until it prints that, half a minute at most
    text=$1; shift
    for _ in $(seq 60); do
        if "$@" 2>&1 | grep "$text" >/dev/null; then return 0; fi
        sleep 0.5
    done
    echo "error: never saw '$text' from: $*; the last answer was:" >&2
    "$@" >&2
    return 1
}

clean() {
    status=$?
    set +e
    trap - EXIT INT TERM
    for host in $hosts; do
        [ -f "$folder/$host.pid" ] && kill "$(cat "$folder/$host.pid")" 2>/dev/null
    done
    wait 2>/dev/null
    for host in $hosts; do ip netns del "p2p-$tag-$host" 2>/dev/null; done
    ip link del "$bridge" 2>/dev/null
    [ $status -eq 0 ] || tail -n 5 "$folder"/*.log >&2 2>/dev/null
    rm -rf "$folder"
    exit $status
}

[ "$(id -u)" = 0 ] || { echo "error: network namespaces need root; try: sudo PATH=\"\$PATH\" $0" >&2; exit 2; }
command -v ip >/dev/null || { echo "error: ip is missing; install iproute2" >&2; exit 2; }
command -v p2praft >/dev/null || { echo "error: p2praft is not on the PATH" >&2; exit 2; }
trap clean EXIT INT TERM

say "three hosts on one switch"
ip link add "$bridge" type bridge
ip link set "$bridge" up
number=0
for host in $hosts; do
    number=$((number + 1))
    ip netns add "p2p-$tag-$host"
    ip link add "p$tag-$number" type veth peer name eth0 netns "p2p-$tag-$host"
    ip link set "p$tag-$number" master "$bridge" up
    on $host ip link set lo up
    on $host ip address add "10.77.0.$number/24" dev eth0
    on $host ip link set eth0 up
    echo "$host has 10.77.0.$number"
done

say "a node on each; the first is told of nobody, the others of the first"
(umask 077; echo "correct horse battery staple" > "$folder/secret")
seed=
number=0
for host in $hosts; do
    number=$((number + 1))
    # No function here: the process that is told to end must be the node, not a shell around it.
    XDG_RUNTIME_DIR=$folder ip netns exec "p2p-$tag-$host" p2praft up --network farm --group gates --secret-file "$folder/secret" --expect 2 \
        --listen "10.77.0.$number:7001" --data-dir "$folder/$host" $seed > "$folder/$host.log" 2>&1 &
    echo $! > "$folder/$host.pid"
    wait_for "^ready" cat "$folder/$host.log"
    [ -n "$seed" ] || seed="--seed $(sed -n 's/^ready //p' "$folder/$host.log")"
done
wait_for ",.*,.* 2 *yes" node east groups
node east groups
node east peers

say "written on north, read on east"
node north map set gates front open
node east map get gates front

leader=
for _ in $(seq 20); do
    number=0
    for host in $hosts; do
        number=$((number + 1))
        if node $host groups 2>/dev/null | grep "gates  *leader" >/dev/null; then leader=$host; port=p$tag-$number; fi
    done
    [ -z "$leader" ] || break
done
[ -n "$leader" ] || { echo "error: nobody leads" >&2; exit 1; }
say "$leader leads: its cable is pulled"
ip link set "$port" down
set -- $(echo "$hosts" | sed "s/$leader//")
node "$1" map set gates front closed --timeout 30
node "$2" map get gates front
node "$2" groups

say "and plugged in again: it hears what it missed"
ip link set "$port" up
wait_for "closed" node "$leader" map get gates front
node "$leader" map get gates front

say "done: three hosts, one cable pulled, nothing lost"
