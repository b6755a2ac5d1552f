#!/bin/sh
# Write .env beside docker-compose.yaml: .env.example with a fresh secret after every "NAME=".
set -eu
cd "$(dirname "$0")/.."

if [ -e .env ]; then
    echo ".env exists: new secrets would lock you out of the databases it belongs to. Delete both, or edit it." >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
        FERNET_KEY=) echo "$line$(openssl rand -base64 32 | tr '+/' '-_')" ;;
        [A-Z]*=) echo "$line$(openssl rand -hex 32)" ;;
        *) echo "$line" ;;
    esac
done < .env.example > .env.new
mv .env.new .env
echo "wrote .env; the password of the user admin is ADMIN_PASSWORD in it"
