# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a donor runs while its disks are read over ssh. Pure text; private to this collection.

It needs a POSIX shell with dd, sha256sum and readlink, which busybox has. It writes nothing, for what it would write to
may be frozen. It answers the lines that it reads, and thaws what it froze when there are no more.
"""

from __future__ import annotations

from .disk_passes import CHUNK_BYTES

GREETING = "encompass"
"""The first line of its answer; what a login prints stands before it."""

# A frozen file system can be read, so programs still start; nothing here logs in, for that would be written down.
# The watchdog is there before anything is frozen, and ends by itself: it thaws when its time is over, when it is told
# to end, and on as long as the shell lives that may still freeze something. Half of the processors read at once, for
# those who are frozen wait for it. There is no single quote in here.
_SCRIPT = """\
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH; export LC_ALL PATH
exec 2>/dev/null
trap "" HUP PIPE
disk= direct= watchdog= lost= name=
newline=$(printf "\\n."); newline=${newline%.}
release() { for place; do fsfreeze --unfreeze "$place" || lost=$place; done; }
watch() {
  nap=; trap : TERM INT; trap "kill \\$nap; exit" USR1
  sleep $limit & nap=$!
  wait $nap
  release "$@"; left=60
  while [ $left -gt 0 ] && kill -0 $$; do sleep 1; release "$@"; left=$((left - 1)); done
  release "$@"
}
thaw() { lost=; release "$@"; kill -USR1 $watchdog; wait $watchdog; watchdog=; }
freeze() {
  limit=$1; shift; sync
  watch "$@" >/dev/null & watchdog=$!
  for place; do
    why=$(fsfreeze --freeze "$place" 2>&1) || { thaw "$@"; printf "refused %s\\n" "${why%%$newline*}"; return 1; }
  done
  if kill -0 $watchdog; then echo frozen; else thaw "$@"; echo refused it took too long; return 1; fi
}
look() {
  for tool in dd sha256sum readlink df fsfreeze; do command -v $tool >/dev/null && echo "tool $tool"; done
  while read -r line; do printf "mount %s\\n" "$line"; done </proc/self/mountinfo
  for entry in /sys/class/block/*; do
    parent=-; real=$(readlink -f "$entry")
    [ ! -e "$entry/partition" ] || { parent=${real%/*}; parent=${parent##*/}; }
    kind=$(cat "$entry/dm/uuid"); kind=${kind%%-*}
    removable=$(cat "$entry/removable"); slaves=
    for slave in "$entry"/slaves/*; do [ ! -e "$slave" ] || slaves="$slaves ${slave##*/}"; done
    echo "block ${entry##*/} $(cat "$entry/dev") $(cat "$entry/size") $(cat "$entry/ro") ${removable:-0}" \\
      "$parent ${kind:--}$slaves"
  done
  echo end
}
open_disk() {
  disk=$(readlink -f "$1"); name=${disk#/dev/}; direct=
  if [ ! -b "$disk" ]; then echo missing; return; fi
  if ! dd if="$disk" of=/dev/null bs=4096 count=1; then echo unreadable; return; fi
  # What the kernel keeps of a disk is not what file systems on it write.
  if dd if="$disk" of=/dev/null bs=4096 count=1 iflag=direct; then direct=iflag=direct
  elif ! blockdev --flushbufs "$disk"; then echo stale; return; fi
  while [ "$name" != "${name#*/}" ]; do name=${name%%/*}!${name#*/}; done
  echo "$name $(cat "/sys/class/block/$name/size")"
}
read_chunk() { dd if="$disk" bs=@CHUNK@ skip=$1 count=1 $direct </dev/null; }
hash_some() {
  number=$1
  while [ $number -lt $3 ]; do
    have=$(read_chunk $number | sha256sum); echo "$number ${have%% *}" || exit
    number=$((number + $2))
  done
}
hash_all() {
  chunks=$1 first=0 jobs=; set -- /sys/devices/system/cpu/cpu[0-9]*
  workers=$(($# / 2)); [ $workers -le 8 ] || workers=8; [ $workers -ge 1 ] || workers=1
  while [ $first -lt $workers ]; do
    hash_some $first $workers $chunks & jobs="$jobs $!"
    first=$((first + 1))
  done
  wait $jobs; echo end
}
answer() {
  have=$(read_chunk $1 | sha256sum); have=${have%% *}
  if [ "$have" = "$2" ]; then echo "$1 same"; return; fi
  echo "$1 $have"; read_chunk $1; echo "$1 end"
}
set --
echo @GREETING@
while read -r verb rest; do
  case $verb in
    look) look ;;
    used) df -Pk "$rest" | { read -r _; read -r _ _ used _; echo "${used:-0}"; } ;;
    disk) open_disk "$rest" ;;
    hashes) hash_all $rest ;;
    chunk) answer $rest ;;
    place) set -- "$@" "$rest" ;;
    freeze) freeze $rest "$@" || set -- ;;
    thaw) thaw "$@"; set --; echo "thawed $lost" ;;
  esac
done
[ -z "$watchdog" ] || thaw "$@"
"""

SCRIPT = _SCRIPT.replace("@CHUNK@", str(CHUNK_BYTES)).replace("@GREETING@", GREETING)
