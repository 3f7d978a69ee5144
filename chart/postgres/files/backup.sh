# Dumps the database into the folder where it runs, and keeps the newest KEEP dumps.
set -eu
umask 077
name=$(date -u +%Y-%m-%dT%H%M%SZ)
# a dump that was cut off is none
trap 'rm -f ./*.part' EXIT
pg_dump --format custom --file "$name.part"
sync
mv "$name.part" "$name.dump"
echo "$name.dump: $(wc -c <"$name.dump") bytes"
set -- *.dump
while [ "$#" -gt "$KEEP" ]; do
    rm "$1"
    shift
done
