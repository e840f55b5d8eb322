"""skopeo's failures, recorded, and what becomes of them; tests/faults runs the real one."""

from __future__ import annotations

import time

import pytest

from reconciler.errors import Failed, Invalid, ReconcilerError, Unavailable
from reconciler.host.registry.skopeopush import understand_push
from reconciler.model.content.skopeofailure import asked_to_wait, understand, understand_stall

FATAL = 'time="2026-01-01T00:00:00Z" level=fatal msg="{}"\n'


@pytest.mark.parametrize(
    ("words", "kind", "meaning"),
    [
        ('pinging registry h:1: Get \\"http://h:1/v2/\\": dial tcp 127.0.0.1:1: connect: connection refused',
         Unavailable, "refuses connections"),
        ("Error parsing image name: reading manifest v9 in h/x: manifest unknown: manifest unknown", Invalid,
         "no such image"),
        ("reading manifest v1 in h/x: name unknown: repository name not known to registry", Invalid, "no such image"),
        ("Error reading manifest: unauthorized: authentication required", Invalid, "credentials"),
        ("requesting bearer token: invalid status code from registry 403 (Forbidden)", Invalid, "credentials"),
        ("Source image rejected: Running image docker://h/x is rejected by policy.", Invalid, "signature policy"),
        ("Source image rejected: A signature was required, but no signature exists", Invalid, "signature policy"),
        ('Source image rejected: Invalid GPG signature: gpgme.Signature{Fingerprint:\\"AB\\", X:1}', Invalid,
         "signed by a key that the signature policy does not trust"),
        ("Source image rejected: cryptographic signature verification failed: invalid signature", Invalid,
         "signed by a key that the signature policy does not trust"),
        ('Source image rejected: Signature for identity \\"h/x:v1\\" is not accepted', Invalid, "for another name"),
        ("Source image rejected: open /etc/keys/k.gpg: no such file or directory", Invalid, "cannot be read"),
        ("Source image rejected: Debian-local change: sigstore disabled", Failed, "built without them"),
        ('Error loading trust policy: invalid policy in \\"/p.json\\": invalid character', Invalid, "is not valid"),
        ("Error loading trust policy: open /etc/containers/policy.json: no such file or directory", Invalid,
         "no signature policy"),
        ("dial tcp: lookup nowhere.invalid: no such host", Unavailable, "cannot be resolved"),
        ("x509: certificate signed by unknown authority", Invalid, "certificate"),
        ("http: server gave HTTP response to HTTPS client", Invalid, "plain HTTP"),
        ("net/http: TLS handshake timeout", Unavailable, "does not answer in time"),
        ("dial tcp 192.0.2.1:443: i/o timeout", Unavailable, "does not answer in time"),
        ("dial tcp 192.0.2.1:443: connect: no route to host", Unavailable, "no way to the registry"),
        ("dial tcp 192.0.2.1:443: connect: network is unreachable", Unavailable, "no way to the registry"),
        ("read tcp 192.0.2.1:5000->192.0.2.1:503: read: connection reset by peer", Unavailable, "broke off"),
        ('Get \\"https://h/v2/\\": EOF', Unavailable, "broke off"),
        ("writing blob: happened during read: unexpected EOF", Unavailable, "broke off"),
        (("writing blob: happened during read: (heuristic tuning data: total 503 @500 ms, last retry 429 @404 ms): "
         "unexpected EOF"), Unavailable, "broke off"),
        ("received unexpected HTTP status: 503 Service Unavailable", Unavailable, "trouble of its own"),
        ("pinging container registry h: invalid status code from registry 503 (Service Unavailable)", Unavailable,
         "trouble of its own"),
        ('pinging container registry h: Get \\"https://h/v2/\\": Bad Gateway', Unavailable, "trouble of its own"),
        ("reading blob sha256:ab: too many requests to registry", Unavailable, "slow down"),
        ("reading blob sha256:ab: fetching blob: toomanyrequests: pull rate limit", Unavailable, "slow down"),
        ("reading manifest v1 in h/x: denied", Invalid, "does not let these credentials read it"),
        ("open /var/tmp/x: permission denied", Unavailable, "skopeo failed"),
        ("getting username and password: 1 error occurred:\\n\\t* illegal base64 data at input byte 0\\n\\n", Invalid,
         ("the file with the credentials for the registry cannot be read (skopeo: getting username and password: "
         "1 error occurred: * illegal base64 data at input byte 0)")),
        ('Get \\"https://h/v2/\\": Proxy Authentication Required', Invalid, "the proxy"),
        ("proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused", Unavailable, "the proxy"),
        ("dial tcp: lookup h on 192.0.2.53:53: read udp 192.0.2.1:5->192.0.2.53:53: read: connection refused",
         Unavailable, "cannot be resolved"),
        ("dial tcp: lookup h on 192.0.2.53:53: read udp 192.0.2.1:5->192.0.2.53:53: i/o timeout", Unavailable,
         "cannot be resolved"),
        ("dial tcp: lookup h: Temporary failure in name resolution", Unavailable, "cannot be resolved"),
        (("x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after "
         "2021-01-01T00:00:00Z"), Unavailable, "has expired"),
        (("x509: certificate has expired or is not yet valid: current time 1970-01-01T00:00:09Z is before "
         "2021-01-01T00:00:00Z"), Unavailable, "is not valid yet"),
        ("tls: failed to verify certificate: x509: certificate is valid for o.example, not h", Invalid,
         "another host's"),
        ("x509: cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs", Invalid,
         "another host's"),
        ("tls: first record does not look like a TLS handshake", Unavailable, "no encrypted connection"),
        ("initializing image from source docker://h/x:v1: invalid character '<' looking for beginning of value",
         Unavailable, "what answers in the registry's place is none"),
        ("toomanyrequests: You have reached your pull rate limit.", Unavailable, "slow down"),
        ("writing blob: write /x: no space left on device", Failed, "disk is full"),
        ("writing blob: rename /a/oci-put-blob1 /b: no such file or directory", Failed, "cannot be stored"),
        ("invalid reference format: repository name must be lowercase", Invalid, "cannot be the name of an image"),
        ("registry h is blocked in /etc/containers/registries.conf or /etc/containers/registries.conf.d", Invalid,
         "blocks the registry"),
        (('loading registries configuration: loading registries configuration \\"/etc/containers/registries.conf\\": '
          "toml: line 5: expected value"), Invalid, "registries.conf is not valid"),
        (("getting username and password: 1 error occurred:\\n\\t* error getting credentials - err: "
          "docker-credential-x resolves to executable in current directory (./docker-credential-x), out: ``"),
         Invalid, "is not installed"),
        ("getting username and password: error getting credentials - err: exit status 1, out: `denied`", Unavailable,
         "the program that has the credentials for the registry fails"),
        ('Get \\"/v2/x/manifests/v1\\": stopped after 10 redirects', Invalid, "without end"),
        ("exceeded maximum allowed size of 4194304 bytes", Invalid, "larger than skopeo takes"),
        ("initializing image from source docker://h/x:v1: unsupported schema version 2", Invalid,
         "as what it is not"),
        ('unsupported docker v2s2 media type: \\"application/vnd.docker.image.rootfs.diff.tar.zstd\\"', Invalid,
         "of a kind that Docker's never are"),
        ("pinging container registry h: invalid status code from registry 404 (Not Found)", Unavailable,
         "what answers in the registry's place is none"),
        ('pinging container registry h: StatusCode: 404, \\"<html>\\"', Unavailable, "place is none"),
        ("reading blob sha256:ab: fetching blob: blob unknown to registry", Invalid, "a part that is missing"),
        ("fetching blob: blob unknown", Invalid, "a part that is missing"),
        ("something entirely new", Unavailable, "something entirely new"),
    ],
)  # fmt: skip
def test_failures_are_sorted_by_what_happens_next(words: str, kind: type[ReconcilerError], meaning: str) -> None:
    error = understand("a warning before\n" + FATAL.format(words), "docker://h/x:v1")
    assert type(error) is kind
    assert meaning in error.message
    assert error.message.startswith("docker://h/x:v1: ")
    assert error.hint
    assert "time=" not in error.message
    assert "REGISTRY" not in error.hint


def test_silence_is_told_too() -> None:
    assert "no message" in understand("", "docker://h/x").message


@pytest.mark.parametrize("name", ["certificate-tool:v1", "eof:5.500", "denied/not-found:404", "429:x509", "timeout"])
@pytest.mark.parametrize(
    "words",
    [
        (
            'Error parsing image name \\"docker://{}\\": pinging container registry h: Get \\"https://h/v2/{}\\": '
            "dial tcp 192.0.2.1:443: connect: connection refused"
        ),
        "initializing source docker://{}: reading manifest v1 in {}: connection refused",
    ],
)
def test_names_are_not_taken_for_words(name: str, words: str) -> None:
    error = understand(FATAL.format(words.replace("{}", f"h/{name}")), f"docker://h/{name}")
    assert f"docker://h/{name}: the registry refuses connections" in error.message


def test_the_original_registry_decides_and_not_its_mirrors() -> None:
    words = (
        "reading manifest v1 in h/x: (Mirrors also failed: [m.example/x: reading manifest v1 in m.example/x: "
        "unauthorized] [n.example/x: denied]): h/x: received unexpected HTTP status: 502 Bad Gateway"
    )
    error = understand(FATAL.format(words), "docker://h/x:v1")
    assert type(error) is Unavailable
    assert "trouble of its own" in error.message
    assert "m.example" in error.message


@pytest.mark.parametrize(
    "words",
    [
        "x" * 1_000_000,
        "a->" * 300_000,
        "reading manifest " * 60_000,
        "reading manifest x in " * 50_000,
        "gpgme.Signature{" * 60_000,
        "(Mirrors also failed: " * 50_000,
        "initializing source " + "x" * 1_000_000,
        'Error parsing image name \\"' * 40_000,
        "signature " * 100_000,
        "reading blob " * 80_000,
        "certificate is (not " * 50_000,
        'msg=\\"' * 150_000,
        "lookup x on " * 90_000,
        "\\n\\t" * 250_000,
        "not yet valid: " * 70_000,
        "Detected 'Retry-After' header \\" * 30_000,
        "a://" * 250_000,
    ],
)
def test_what_a_registry_says_costs_little_however_long_it_is(words: str) -> None:
    stderr = FATAL.format(words)
    began = time.process_time()
    errors = [understand(stderr, source) for source in ("docker://h/x:v1", "oci:/x")]
    errors += [understand_stall(stderr, "docker://h/x:v1", 60), understand_push(stderr, "docker://h/x:v1")]
    assert time.process_time() - began < 5
    assert max(len(it.message) for it in errors) < 1200


def test_the_reason_may_stand_first_or_last_in_a_long_text() -> None:
    long = "x" * 1_000_000
    for words in (f"connection refused {long}", f"{long} connection refused"):
        assert "refuses connections" in understand(FATAL.format(words), "docker://h/x").message


DEBUG = """time="2026-01-01T00:00:00Z" level=debug msg="Detected 'Retry-After' header \\"{}\\""
time="2026-01-01T00:00:00Z" level=debug msg="Too many requests to https://h/: sleeping for 60.0 seconds"
"""


def test_how_long_a_registry_asks_for() -> None:
    stderr = DEBUG.format(5) + DEBUG.format(90) + FATAL.format("toomanyrequests: slow down")
    error = understand(stderr, "docker://h/x:v1")
    assert isinstance(error, Unavailable)
    assert error.retry_after == 90
    assert asked_to_wait("nothing of that kind") is None


def test_why_skopeo_was_not_waited_for() -> None:
    silent = understand_stall('level=debug msg="GET https://h/v2/"', "docker://h/x:v1", 60)
    assert silent.message == "docker://h/x:v1: the registry does not go on, next to nothing came for 60 s"
    asked = understand_stall(DEBUG.format(3600), "docker://h/x:v1", 60)
    assert asked.message == "docker://h/x:v1: the registry asks to slow down"
    assert (silent.retry_after, asked.retry_after) == (None, 3600)


def test_a_killed_skopeo_left_no_message() -> None:
    assert "(skopeo" not in understand(DEBUG.format(1), "docker://h/x").message
    assert "no message" in understand(DEBUG.format(1), "docker://h/x").message
