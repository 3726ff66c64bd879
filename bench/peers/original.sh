#!/bin/sh
# The cron script that treason replaces: original.sh LOG DATABASE IPTABLES. The log stands for the
# output of dmesg. Its chain is TREASON.
log=$1 database=$2 iptables=$3
[ -e "$database" ] || sqlite3 "$database" "create table badips (addedtime datetime, ip text);"
"$iptables" -N TREASON 2>/dev/null
for i in $(grep "Treason uncloaked" "$log" | awk '{print $5}' | cut -d: -f1 | sort | uniq); do
    sqlite3 "$database" "insert into badips values (datetime('now'), '$i');"
done
"$iptables" -F TREASON
"$iptables" -A TREASON -s 172.0.0.0/8 -j ACCEPT
for i in $(sqlite3 "$database" "select distinct ip from badips;"); do
    "$iptables" -A TREASON -s "$i" -j DROP
done
