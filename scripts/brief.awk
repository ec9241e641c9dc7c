#!/usr/bin/env -S mawk -W interactive -f
# Shortens the output of `go test -v`: results as they come (without "interactive" mawk waits for more), and the whole output of what failed.
/^=== (RUN|PAUSE|CONT|NAME)/ { next }
/^ *--- PASS/ { print; fflush(); held = ""; next }
/^ *--- (FAIL|SKIP)/ { printf "%s%s\n", held, $0; fflush(); held = ""; next }
/^(ok|FAIL|PASS|panic|\?)/ { printf "%s%s\n", ($0 ~ /^(FAIL|panic)/ ? held : ""), $0; fflush(); held = ""; next }
/^(fault matrix|lab):/ { print; fflush(); next }
/^ *[a-z_]+\.go:[0-9]+: attempt: / { sub(/^.*attempt: /, "attempt: "); print; fflush(); next } # test/hostile
{ held = held $0 "\n"; if (length(held) > 200000) held = substr(held, length(held) - 100000) }
END { printf "%s", held }
