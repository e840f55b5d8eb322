"""What skopeo's failures mean, by its words; those of Debian 12's and Debian 13's are known."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from reconciler.errors import Failed, Invalid, Malformed, ReconcilerError, Unavailable, shortened
from reconciler.model.content.limits import size_text
from reconciler.model.content.retryafter import retry_after

_AGAIN: Final = "a later run tries again"
PLAIN_HTTP: Final = (
    "if that is meant, have a file in /etc/containers/registries.conf.d, with a name that ends in .conf, say: "
    'registry = [{location = "REGISTRY", insecure = true}]'
)
_LOGIN: Final = "log in with: skopeo login --authfile /etc/livelayer/auth.json REGISTRY"
_NO_SUCH_IMAGE: Final = (
    r"(manifest|name) unknown|manifest invalid|\b404\b|not found|no descriptor found|no image found"
    r"|could not find|file does not exist|no such file or directory|reference .* does not exist"
)
_MISSING_PART: Final = (
    r"((read|fetch)ing (config )?blob|image from manifest list)"
    r".*(no such file|not found|unknown|\b404\b|does not exist)"
)
_CRASH: Final = re.compile(r"^(panic|fatal error|runtime/cgo): .*", re.MULTILINE)  # of Go's runtime
_NO_MEMORY: Final = ("out of memory", "cannot allocate memory", "pthread_create failed")
_LOOKED_AT: Final = 4000  # characters of what a registry may say as long as it likes; patterns take their square
_QUOTED: Final = 1000  # of them that a message has
_PREAMBLE: Final = re.compile(r'^(Error parsing image name "[^"]*"|initializing source \S+): ')  # said already
NOT_A_REGISTRY: Final = "look for a proxy, or a login page of the network, in the registry's place"
Meaning: TypeAlias = tuple[str, tuple[type[ReconcilerError], str], str, str]
"""What skopeo says (in Go's logging or plain words), what it means, and what to do, with REGISTRY for its address."""

OF_THIS_NODE: Final[tuple[Meaning, ...]] = (  # before any registry is asked, whatever is wanted of it
    (
        r"invalid reference format",
        (Invalid, "config.invalid"),
        "this cannot be the name of an image",
        "it looks like docker://HOST/NAME:TAG, with a NAME in lowercase letters",
    ),
    (
        r"is blocked in \S*registries\.conf",
        (Invalid, "registry.configuration"),
        "this node blocks the registry",
        "take blocked = true from it in the registries.conf that skopeo names, or use another registry",
    ),
    (
        r"loading registries configuration",
        (Invalid, "registry.configuration"),
        "this node's registries.conf is not valid",
        "correct the file that skopeo names, see containers-registries.conf(5)",
    ),
    (
        r"getting username and password: .*(executable file not found| resolves to executable in)",
        (Invalid, "registry.credentials"),
        "the program that has the credentials for the registry is not installed",
        "install the docker-credential-NAME that skopeo names, or take it out of auth.json and registries.conf",
    ),
    (
        r"getting username and password: .*error getting credentials",
        (Unavailable, "registry.credentials"),
        "the program that has the credentials for the registry fails",
        "a later run tries again; if this repeats, try by hand: echo REGISTRY | docker-credential-NAME get",
    ),
)
# First match wins. A meaning with the word registry is none for images that are files.
_MEANINGS: Final[tuple[Meaning, ...]] = (
    (
        r"policy\.json: no such file|no policy\.json file found",
        (Invalid, "signature.policy"),
        "skopeo has no signature policy",
        'write /etc/containers/policy.json; {"default": [{"type": "insecureAcceptAnything"}]} takes all images',
    ),
    (
        r"invalid policy in|loading trust policy",
        (Invalid, "signature.policy"),
        "the signature policy is not valid",
        "correct the policy.json that skopeo names, see containers-policy.json(5)",
    ),
    *OF_THIS_NODE,
    (
        r"sigstore disabled",
        (Failed, "signature.unsupported"),
        "the signature policy asks for sigstore signatures, and this node's skopeo was built without them",
        "install a newer skopeo, such as Debian 13's, or have images signed by GPG",
    ),
    (
        r"Source image rejected: (open|stat) ",
        (Invalid, "signature.no-key"),
        "a key that the signature policy names cannot be read",
        "put the public key where /etc/containers/policy.json says",
    ),
    (
        r"Invalid GPG signature|signature verification failed|invalid signature when validating",
        (Invalid, "signature.refused"),
        "it is signed by a key that the signature policy does not trust",
        "if it is its publisher's new key: add it to /etc/containers/policy.json",
    ),
    (
        r"Signature for identity",
        (Invalid, "signature.refused"),
        "its signature is for another name",
        "somebody has put the image under this tag without signing it for that; ask its publisher",
    ),
    (
        r"Source image rejected|signature .*(required|rejected|not accepted)|invalid signature",
        (Invalid, "signature.refused"),
        "refused by the signature policy",
        "sign the image, or change /etc/containers/policy.json",
    ),
    (
        r"proxy authentication required",
        (Invalid, "registry.proxy"),
        "the proxy before the registry wants valid credentials",
        "put USER:PASSWORD@ before its host in HTTPS_PROXY or HTTP_PROXY",
    ),
    (
        r"proxyconnect",
        (Unavailable, "registry.proxy"),
        "the proxy before the registry cannot be used",
        "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and that the proxy is up",
    ),
    (
        r"toomanyrequests|too many requests|\b429\b",
        (Unavailable, "registry.busy"),
        "the registry asks to slow down",
        _AGAIN,
    ),
    (
        r"getting username and password",
        (Invalid, "registry.credentials"),
        "the file with the credentials for the registry cannot be read",
        f"correct it, or write it anew: remove it, and {_LOGIN}",
    ),
    (
        r"(?<!permission )denied|\b403\b",
        (Invalid, "registry.credentials"),
        "the registry does not let these credentials read it",
        f"check the name, ask for access, or {_LOGIN}",
    ),
    (
        r"unauthorized|authentication required|\b401\b|invalid username/password",
        (Invalid, "registry.credentials"),
        "the registry wants valid credentials",
        _LOGIN,
    ),
    (r"no space left", (Failed, "disk.full"), "the disk is full", "make space below /var/lib/livelayer"),
    (
        r"server gave HTTP response to HTTPS client",
        (Invalid, "registry.plain-http"),
        "the registry speaks plain HTTP",
        PLAIN_HTTP,
    ),
    (
        r"not yet valid: .* is before",
        (Unavailable, "registry.certificate"),
        "the registry's certificate is not valid yet",
        "check this node's clock: timedatectl",
    ),
    (
        r"certificate has expired",
        (Unavailable, "registry.certificate"),
        "the registry's certificate has expired",
        "have it renewed by who runs the registry, or check this node's clock: timedatectl",
    ),
    (
        r"certificate is (not )?valid for|not valid for any names|doesn't contain any IP SANs|legacy Common Name",
        (Invalid, "registry.certificate"),
        "the registry's certificate is another host's",
        "correct the host in source:, or have the certificate name it",
    ),
    (
        r"x509|certificate",
        (Invalid, "registry.certificate"),
        "the registry's certificate is not trusted",
        "install its CA certificate in the system or in /etc/containers/certs.d/REGISTRY/",
    ),
    (
        r"writing blob: (rename|open|write|mkdir|creating|chmod)",
        (Failed, "file.unusable"),
        "it cannot be stored on this node",
        "look at /var/lib/livelayer and its file system",
    ),
    (
        r"stopped after \d+ redirects",
        (Invalid, "registry.redirect"),
        "the registry leads from one place to the next, without end",
        "check source:, and have who runs the registry, or what lies before it, look at its redirects",
    ),
    (
        r"exceeded maximum allowed size",
        (Invalid, "limit.exceeded"),
        "the registry's manifest is larger than skopeo takes",
        "rebuild the image with fewer layers and annotations, or look at what answers there",
    ),
    (
        r"unsupported schema version",
        (Invalid, "image.malformed"),
        "the registry serves the manifest as what it is not",
        "have the registry, or what lies before it, give the manifest's own mediaType as Content-Type",
    ),
    (
        r"unsupported docker v2s2 media type",
        (Invalid, "image.malformed"),
        "its manifest is Docker's, and its layers are of a kind that Docker's never are",
        "push OCI's: podman push --format oci, or docker buildx build --output type=registry,oci-mediatypes=true",
    ),
    (
        r"more than one image in oci|expected 1 item, got \d",
        (Invalid, "source.ambiguous"),
        "there are several images, and none is named",
        "name one of them behind a colon",
    ),
    (
        r"pinging container registry .*(status code from registry|StatusCode:) 4\d\d\b",
        (Unavailable, "registry.not-a-registry"),
        "what answers in the registry's place is none",
        f"check the host and port in source:, and {NOT_A_REGISTRY}",
    ),
    (
        _MISSING_PART,
        (Invalid, "image.malformed"),
        "the image has a part that is missing",
        "push the image again",
    ),
    (
        r"digest did not match|does not match expected|does not match provided manifest digest",
        (Unavailable, "digest.mismatch"),
        "its content is not what its digest says",
        "a later run tries again; if this repeats, push the image again",
    ),
    (
        r"no such host|server misbehaving|\blookup \S+( on \S+)?: ",
        (Unavailable, "registry.unreachable"),
        "the registry's name cannot be resolved",
        "check the name, the network and DNS",
    ),
    (_NO_SUCH_IMAGE, (Invalid, "registry.not-found"), "there is no such image", "check the name and the tag"),
    (
        r"connection refused",
        (Unavailable, "registry.unreachable"),
        "the registry refuses connections",
        "check that it is up",
    ),
    (
        r"network is unreachable|no route to host",
        (Unavailable, "registry.unreachable"),
        "there is no way to the registry",
        "check the network, its routes and the firewall",
    ),
    (
        r"timeout|timed out|deadline exceeded",
        (Unavailable, "registry.timeout"),
        "the registry does not answer in time",
        "a later run tries again; if this repeats, check the network and the firewall",
    ),
    (
        r"\btls: ",
        (Unavailable, "registry.unreachable"),
        "no encrypted connection to the registry comes about",
        "look at what answers there, and at proxies in between",
    ),
    (
        r"connection reset|broken pipe|EOF",
        (Unavailable, "registry.broken-off"),
        "the connection to the registry broke off",
        _AGAIN,
    ),
    (
        r"\b5\d\d\b|internal server error|bad gateway|service unavailable",
        (Unavailable, "registry.failed"),
        "the registry has trouble of its own",
        "a later run tries again; if this repeats, tell who runs it",
    ),
    (
        r"invalid character|unexpected end of JSON",
        (Unavailable, "registry.not-a-registry"),
        "what answers in the registry's place is none",
        NOT_A_REGISTRY,
    ),
)


def understand(stderr: str, argument: str) -> ReconcilerError:
    """Sort a failure of skopeo by what happens next; its own last words are always part of the message."""
    words = _PREAMBLE.sub("", last_words(stderr))
    quoted = shortened(words, _QUOTED)
    essence = _essence(words, argument)
    is_local = not argument.startswith("docker://")
    for pattern, (kind, code), meaning, hint in _MEANINGS:
        if re.search(pattern, essence, re.IGNORECASE) and not (is_local and "registry" in meaning):
            lasting = Invalid if is_local and kind is Unavailable else kind  # a file does not change by itself
            error = lasting(f"{argument}: {meaning} (skopeo: {quoted})", about(hint, argument), code=code)
            if isinstance(error, Unavailable):
                error.retry_after = asked_to_wait(stderr)
            return error
    if is_local:
        return Malformed(f"{argument}: the image cannot be read (skopeo: {quoted})", "copy or push the image again")
    return Unavailable(
        f"{argument}: skopeo failed: {quoted}", "run it by hand: skopeo inspect " + argument, code="registry.failed"
    )


def crash(stderr: str) -> str | None:
    """Why Go's runtime ended the program: goroutines and registers follow, as many as there are."""
    found = _CRASH.search(stderr)
    return found and shortened(found[0], _QUOTED)


def understand_death(signal: int, stderr: str, argument: str, memory: int) -> Unavailable:
    """Why a skopeo ended that was killed, crashed, or had no more memory: of the source that says nothing."""
    words = crash(stderr)
    if words and any(it in words for it in _NO_MEMORY):
        told = f"{argument}: skopeo takes more than {size_text(memory)} of memory for what answers there ({words})"
        hint = "look at what answers there, and at how much memory and how many threads this node lets it have"
        return Unavailable(told, hint, code="program.memory")
    if words:
        told = f"{argument}: skopeo crashed ({words})"
        hint = "a later run tries again; if this repeats, install another version of skopeo"
        return Unavailable(told, hint, code="program.crashed")
    told = f"{argument}: skopeo was killed (signal {signal})"
    return Unavailable(told, "look at this node's memory: journalctl -k", code="program.killed")


def understand_stall(stderr: str, argument: str, patience: float) -> Unavailable:
    """Why a skopeo was ended that got nothing from a registry any more, in `patience` seconds."""
    asked = asked_to_wait(stderr)
    if asked is not None or "Too many requests" in stderr:
        return Unavailable(
            f"{argument}: the registry asks to slow down", _AGAIN, retry_after=asked, code="registry.busy"
        )
    return Unavailable(
        f"{argument}: the registry does not go on, next to nothing came for {patience:.0f} s",
        "a later run tries again; if this repeats, check the network and the registry",
        code="registry.timeout",
    )


def asked_to_wait(stderr: str) -> float | None:
    """For how many seconds a registry asked to be left alone (429 with Retry-After), as a debugging skopeo tells."""
    found = re.findall(r"Detected 'Retry-After' header \\?\"([^\"\\]{0,100})\\?\"", stderr)
    return retry_after(found[-1]) if found else None


def last_words(stderr: str) -> str:
    """The final message without Go's logging decoration, `time=... level=fatal msg="..."`; cut in its middle."""
    lines = (line.strip() for line in reversed(stderr.splitlines()) if line.strip() and " level=debug " not in line)
    last = shortened(next(lines, "no message"), _LOOKED_AT)
    match = re.search(r'msg="(?P<text>.*)"$', last)
    text = re.sub(r"(\\[nt])+", " ", match["text"]).replace('\\"', '"').strip() if match else last
    return re.sub(r'gpgme\.Signature\{.*?Fingerprint:"(\w+)".*\}', r"by \1", text)


# Where any word and any number may stand.
_NAMES: Final = re.compile(
    r"[a-z]+://[^\s\"]+|reading manifest \S+ in [^\s:]+(:\d+)?[^\s:]*|\S+->\S+|\(heuristic tuning data: [^)]*\)"
)


def _essence(words: str, argument: str) -> str:
    """Without names, addresses and figures; of mirrors, the original's failure decides."""
    reference = argument.removeprefix("docker://")
    without_mirrors = re.sub(r"\(Mirrors also failed: .*\]\): ", "", words)
    return _NAMES.sub("", without_mirrors.replace(reference, ""))


def about(hint: str, argument: str) -> str:
    return hint.replace("REGISTRY", argument.removeprefix("docker://").partition("/")[0])
