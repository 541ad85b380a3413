# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a service that speaks S3: ListObjectsV2 with continuation tokens and GetObject of
one bucket, in path style, as R2 and AWS answer. It checks each request's Signature Version 4 by a
computation of its own, and fails on demand."""

import contextlib
import datetime
import hashlib
import hmac
import http.server
import threading
import urllib.parse
from xml.sax.saxutils import escape

ACCESS, SECRET, REGION = "stand-in", "k7/Qx+2=", "auto"
PAGE = 1000


class Bucket:
    """objects: {key: (bytes, LastModified)}. Use it in a with statement."""

    def __init__(self, name="sfd-production", page=PAGE):
        self.name, self.page = name, page
        self.access, self.secret = ACCESS, SECRET  # of the key that is let in
        self.objects = {}
        self.asked = []        # targets of requests, in their order
        self.vanished = set()  # keys that are listed, and not there
        self.archived = set()  # keys that are listed, and to be had only after days
        self.busy = 0          # so many requests from now on are answered with 503
        self.forged = []       # requests whose signature was wrong
        self.etags = True
        self.session = None    # the token that comes with the key
        bucket = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                bucket.asked.append(self.path)
                status, body, kind = bucket.answer(self.path, self.headers)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                """Clients are killed."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def put(self, key, content, modified="2026-11-01T00:00:00.000Z"):
        self.objects[key] = (content, modified)

    def answer(self, target, headers):
        if self.busy > 0:
            self.busy -= 1
            return error(503, "SlowDown")
        given = headers.get("Authorization")
        if (signature(target, headers, self.access, self.secret) != given
                or headers.get("X-Amz-Security-Token") != self.session):
            self.forged.append((target, given))
            known = f"Credential={self.access}/" in (given or "")
            return error(403, "SignatureDoesNotMatch" if known else "InvalidAccessKeyId")
        path, _, query = target.partition("?")
        path = urllib.parse.unquote(path)
        if not path.startswith(f"/{self.name}"):
            return error(404, "NoSuchBucket")
        key = path.removeprefix(f"/{self.name}").removeprefix("/")
        if not key:
            return self.listing(urllib.parse.parse_qs(query, keep_blank_values=True))
        if key in self.objects and key not in self.vanished:
            if key in self.archived:
                return error(403, "InvalidObjectState")
            return 200, self.objects[key][0], "application/octet-stream"
        return error(404, "NoSuchKey")

    def listing(self, query):
        assert query["list-type"] == ["2"] and query["encoding-type"] == ["url"], query
        after = query.get("continuation-token", [" "])[0].partition(" ")[2]
        keys = sorted(key for key in self.objects
                      if key.startswith(query["prefix"][0]) and key > after)
        page, more = keys[:self.page], len(keys) > self.page
        items = "".join(
            f"<Contents><Key>{escape(urllib.parse.quote_plus(key, safe='/'))}</Key>"
            f"<LastModified>{self.objects[key][1]}</LastModified>"
            + (f"<ETag>&quot;{hashlib.md5(self.objects[key][0]).hexdigest()}-1&quot;</ETag>"
               if self.etags else "")
            + f"<Size>{len(self.objects[key][0])}</Size><Owner><ID>x</ID></Owner></Contents>"
            for key in page)
        # A token is opaque, and of characters that a query has to encode.
        token = (f"<NextContinuationToken>{escape('+/=& ' + page[-1])}</NextContinuationToken>"
                 if more else "")
        return 200, (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{self.name}</Name><EncodingType>url</EncodingType>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}"
            "</ListBucketResult>").encode(), "application/xml"


def error(status, code):
    return status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(), \
        "application/xml"


def signature(target, headers, access, secret):
    """The Authorization that a request must have, by the rules of Signature Version 4."""
    given = headers.get("Authorization") or ""
    names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    path, _, query = target.partition("?")
    pairs = sorted((urllib.parse.quote(name, safe="-_.~"), urllib.parse.quote(value, safe="-_.~"))
                   for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True))
    when = headers.get("X-Amz-Date") or ""
    canonical = "\n".join([
        "GET", urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{' '.join((headers.get(name) or '').split())}" for name in names), "",
        ";".join(names), headers.get("X-Amz-Content-Sha256") or hashlib.sha256(b"").hexdigest()])
    scope = f"{when[:8]}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", when, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (when[:8], REGION, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    needed = {"host", *(name.lower() for name in headers if name.lower().startswith("x-amz-"))}
    if given and not {"x-amz-content-sha256", "x-amz-date", *needed} <= set(names):
        return None  # as S3 demands them
    with contextlib.suppress(ValueError):
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.strptime(
            when, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        if abs(age.total_seconds()) > 900:
            return None
    return (f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={';'.join(names)}, "
            f"Signature={key.hex()}")
