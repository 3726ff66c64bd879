#!/bin/sh
# What a user would type: the addresses that a pattern finds in a log, into a table that has each
# once. sqlite3 complains of every one that comes again, and fails then.
grep -oP "$1" "$2" | sqlite3 "$3" "create table badips (ip text unique)" \
    ".import /dev/stdin badips" 2>/dev/null
