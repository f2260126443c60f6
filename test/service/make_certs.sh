#!/bin/sh
# make_certs.sh DIR: a certificate authority and server certificates for tests of TLS.
#
# What a client that checks properly makes of each, when it trusts DIR/ca.pem:
#   server.pem      good: localhost, 127.0.0.1, ::1
#   wrong-name.pem  refused: made out to example.invalid
#   expired.pem     refused: ran out in 2020
#   other-ca.pem    an authority that signed none of these: trusting it alone refuses all
# Each NAME.pem has its NAME.key, except other-ca, whose key nobody needs.
# EC keys, because RSA ones would take longer to make than most tests take to run.
set -eu

[ $# -eq 1 ] || { echo "usage: make_certs.sh DIR" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
umask 077
work=$(mktemp -d ./certs.XXXXXX)
trap 'rm -rf "$work"' EXIT

fail() { cat "$work/log" >&2; echo "make_certs.sh: openssl failed" >&2; exit 1; }
quiet() { "$@" >"$work/log" 2>&1 || fail; }

# authority NAME KEYFILE COMMON_NAME: a self-signed authority in NAME.pem.
authority() {
	cat >"$work/authority.cnf" <<-END
	[req]
	distinguished_name = dn
	x509_extensions = ext
	prompt = no
	[dn]
	CN = $3
	[ext]
	basicConstraints = critical,CA:TRUE
	keyUsage = critical,keyCertSign,cRLSign
	subjectKeyIdentifier = hash
	END
	quiet openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
		-config "$work/authority.cnf" -days 3650 -keyout "$2" -out "$1.pem"
}

# certificate NAME SAN START END: a server certificate signed by ca.pem.  "openssl ca" and not
# "openssl x509", because only it can set a date in the past with every version of openssl.
certificate() {
	cat >"$work/ca.cnf" <<-END
	[ca]
	default_ca = this
	[this]
	new_certs_dir = $work
	database = $work/index
	rand_serial = yes
	default_md = sha256
	policy = policy
	x509_extensions = ext
	unique_subject = no
	[policy]
	commonName = supplied
	[req]
	distinguished_name = dn
	prompt = no
	[dn]
	CN = localhost
	[ext]
	basicConstraints = critical,CA:FALSE
	keyUsage = critical,digitalSignature
	extendedKeyUsage = serverAuth
	subjectKeyIdentifier = hash
	authorityKeyIdentifier = keyid
	subjectAltName = $2
	END
	: >"$work/index"
	quiet openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
		-config "$work/ca.cnf" -keyout "$1.key" -out "$work/request"
	quiet openssl ca -batch -notext -config "$work/ca.cnf" -cert ca.pem -keyfile "$work/ca.key" \
		-startdate "$3" -enddate "$4" -in "$work/request" -out "$1.pem"
}

authority ca "$work/ca.key" "im_service test authority"
authority other-ca "$work/other.key" "an authority that nobody trusts"
certificate server "DNS:localhost,IP:127.0.0.1,IP:::1" 20240101000000Z 20440101000000Z
certificate wrong-name "DNS:example.invalid" 20240101000000Z 20440101000000Z
certificate expired "DNS:localhost,IP:127.0.0.1,IP:::1" 20200101000000Z 20200201000000Z
# The client may run as somebody else; only the keys are private.
chmod 644 ./*.pem
