# Restores DUMP, or the newest dump, into a new database and puts that in the place of the one there is, which stays under
# another name. As long as anybody is connected to it, nothing is changed.
set -eu
dump=${DUMP:-}
[ -n "$dump" ] || for dump in *.dump; do :; done
[ -f "$dump" ] || {
    echo "there is no $dump in $PWD" >&2
    exit 1
}
new=restore_in_progress
old=before_restore_$(date -u +%Y%m%d_%H%M%S)
dropdb --if-exists "$new"
createdb "$new"
pg_restore --exit-on-error --no-owner --dbname "$new" "$dump"
# who follows the events may have seen numbers that the dump does not know: from here on they are far beyond those
psql --no-psqlrc --quiet --dbname "$new" --set ON_ERROR_STOP=1 --single-transaction \
    --command 'DELETE FROM order_events' --command 'UPDATE event_log SET last = last + 1000000000'
psql --no-psqlrc --quiet --dbname postgres --set ON_ERROR_STOP=1 --single-transaction \
    --command "ALTER DATABASE \"$PGDATABASE\" RENAME TO $old" --command "ALTER DATABASE $new RENAME TO \"$PGDATABASE\""
echo "$dump is restored; what was there is the database $old"
