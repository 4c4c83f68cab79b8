#!/bin/sh
# Writes the secrets of docker-compose.yml into ./secrets, one file each. Run it in the folder of docker-compose.yml:
#   sh docs/deploy/compose/make-secrets.sh
# A file that exists is kept, so it can be run again after an upgrade. Never commit the folder.
set -eu

# Only the owner can enter the folder. The files in it can be read by all, because each container has a user of its own.
mkdir -p secrets
chmod 700 secrets
cd secrets
umask 022

password() {
  od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'
}

# put NAME [LINE...]: write the lines into a new file.
put() {
  if [ ! -e "$1" ]; then
    name=$1
    shift
    if [ $# -gt 0 ]; then printf '%s\n' "$@" >"$name"; else : >"$name"; fi
    chmod 644 "$name"
  fi
}

# A URL and the password in it are made together: one without the other would fit to nothing.
put postgres_password "$(password)"
put store_url "postgresql+psycopg://vtsync:$(cat postgres_password)@postgres/vtsync"

# Redis: without a password, nobody can do more than PING. vtsync has what Celery needs, and can neither empty the
# database nor change the server. Flower sees the queues, and can change none of them.
put broker_url "redis://vtsync:$(password)@redis:6379/0"
put flower_broker_url "redis://flower:$(password)@redis:6379/0"
in_url() {
  sed 's|^[^:]*://[^:]*:\([^@]*\)@.*|\1|' "$1"
}
commands="-@all +@read +@write +@pubsub +@transaction +@connection"
commands="$commands +eval +evalsha +script|load +script|exists +time -@dangerous +info"
# What a Celery monitor writes: its own queues and the replies of workers. It looks for jobs that were left behind too, and
# needs a lock for that; it can take none.
monitor="~_kombu.binding.celeryev ~_kombu.binding_*.celeryev ~_kombu.binding_deadlines ~_kombu.binding*pidbox ~celeryev* ~*.pidbox* ~unacked_mutex"
put redis_users \
  "user default on nopass resetkeys resetchannels -@all +ping" \
  "user vtsync on >$(in_url broker_url) ~* &* $commands" \
  "user flower on >$(in_url flower_broker_url) %R~* $monitor &* $commands"

rabbitmq=$(password)
put rabbitmq_url "amqp://vtsync:$rabbitmq@rabbitmq//"
put rabbitmq_users "default_user = vtsync" "default_pass = $(in_url rabbitmq_url)"

put grant_key "$(head -c 32 /dev/urandom | base64)"
put flower_password "$(password)"
put grafana_password "$(password)"

# These come from others. They are empty until you fill them.
for name in virtualtext_uid virtualtext_token alert_webhook_url; do
  put "$name"
  if [ ! -s "$name" ]; then echo "Put this secret, and nothing else, into secrets/$name" >&2; fi
done
