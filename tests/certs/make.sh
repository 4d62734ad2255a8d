#!/bin/sh
# Makes the certificates of this folder anew: a CA that only tests trust, and three that it signed. They
# are valid from 2020 for a hundred years, except the expired one. The keys are public: they protect nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$(mktemp -d)"
touch index
cat > ca.cnf <<'END'
[ca]
default_ca = here
[here]
database = index
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $ENV::NAMES
END

make() { # name, subjectAltName, last day, further options
    name=$1; last=$3; export NAMES="$2"; shift 3
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=tickwarden test $name" \
        -keyout "$name.key" -out "$name.csr"
    openssl ca -batch -notext -config ca.cnf -startdate 20200101000000Z -enddate "$last" "$@" \
        -in "$name.csr" -out "$name.crt"
}
make ca none 21191231000000Z -selfsign -keyfile ca.key -extensions authority
for server in "localhost DNS:localhost,IP:127.0.0.1 21191231000000Z" \
              "elsewhere DNS:elsewhere.invalid 21191231000000Z" \
              "expired DNS:localhost,IP:127.0.0.1 20200102000000Z"; do
    set -- $server
    make "$1" "$2" "$3" -cert ca.crt -keyfile ca.key -extensions server
    cat "$1.crt" "$1.key" > "$here/$1.pem"
done
cp ca.crt "$here/ca.pem"
