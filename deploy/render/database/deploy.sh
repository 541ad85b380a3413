#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Applies migrations/001 to 005 to the database of DATABASE_URL, each in one transaction, and checks
# what is there then. Run again, it changes nothing.
set -eu

usage() {
    cat <<'USAGE'
usage: DATABASE_URL=postgresql://… deploy.sh [--schema NAME] [--rollback [--discard-outbox]]

  --schema NAME      the schema of the tables (default: public)
  --rollback         remove all of it again
  --discard-outbox   with --rollback: lose events that are not in Kafka yet
  --help             this text
USAGE
}

here=$(dirname "$0")
script=migrate.sql
schema=
discard=
while [ $# -gt 0 ]; do
    case $1 in
    --schema)
        [ $# -ge 2 ] || { echo "deploy.sh: --schema needs a name" >&2; exit 2; }
        schema=$2
        shift ;;
    --rollback) script=rollback.sql ;;
    --discard-outbox) discard=1 ;;
    --help) usage; exit 0 ;;
    *) echo "deploy.sh: there is no option $1; see --help" >&2; exit 2 ;;
    esac
    shift
done
if [ -z "${DATABASE_URL:-}" ]; then
    echo "deploy.sh: DATABASE_URL is not set; give it the address of the database" >&2
    exit 2
fi
command -v psql > /dev/null || { echo "deploy.sh: psql is not installed" >&2; exit 2; }
set -- -X -q -f "$here/$script"
[ -z "$schema" ] || set -- "$@" -v "schema=$schema"
[ -z "$discard" ] || set -- "$@" -v discard_outbox=1
PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=notice" exec psql "$@" "$DATABASE_URL"
