# Turns a trace of `strace -f -ttt` into a timeline of what costs, and counts. `threads` are the daemon's when the trace
# began; what they do is told apart from what the processes of the helper and of the container do.

function who(pid) { return pid in thread ? "berthd" : pid in program ? program[pid] : "berth-lxc" }
function note(text) { printf "%9.1f ms  %-10s %s\n", ($2 - begin) * 1000, who($1), text }
function quoted(    part) { split($0, part, "\""); return part[2] }

BEGIN { for (n = split(threads, tid, " "); n > 0; n--) thread[tid[n]] = 1 }
{
    # PID TIME CALL(…) = RESULT
    call = $3
    sub(/\(.*/, "", call)
    if (call !~ /^[a-z0-9_]+$/) call = ""
}
# The daemon's threads are those that its threads make with CLONE_THREAD.
call ~ /^clone3?$/ { makes_thread[$1] = /CLONE_THREAD/ }
/clone3?(\(| resumed>)/ && makes_thread[$1] && $1 in thread && $NF ~ /^[0-9]+$/ { thread[$NF] = 1 }
!started && !/"(POST|PUT|DELETE) \/1\.0/ { next }
!started { started = 1; begin = $2; thread[$1] = 1; note("request " quoted()); next }
call != "" { calls[who($1)]++; total++ }
call == "fdatasync" { syncs++; note("commit: fdatasync") }
call == "execve" && / = 0$/ { program[$1] = quoted(); programs++; note("runs " quoted()) }
call ~ /^(clone|clone3|fork|vfork)$/ && !/CLONE_THREAD/ && !/unfinished/ && $NF ~ /^[0-9]+$/ { processes++; note("forks " $NF) }
/<\.\.\. (clone|clone3|fork|vfork) resumed>/ && !($1 in thread) && $NF ~ /^[0-9]+$/ { processes++; note("forks " $NF) }
/\+\+\+ (exited|killed)/ { note("ends") }
call == "unshare" || call == "setns" { text = $0; sub(/^[^(]*\(/, "", text); sub(/\).*/, "", text); note(call " " text) }
call == "mount_setattr" { note("ID-maps a mount") }
call == "pivot_root" { note("changes root") }
call == "write" && /"HTTP\/1\.1 / { note("answers") }

END {
    printf "%9s     %d system calls:", "", total
    for (w in calls) printf " %s %d", w, calls[w]
    printf "; %d processes, %d programs, %d fdatasync\n", processes, programs, syncs
}
