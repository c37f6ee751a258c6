//! Requests of every kind, for the tests that read them whole and in pieces.

use super::HeadError;

/// Every kind of input: good ones and one for each error, at and around each limit.
pub(super) fn inputs() -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = GOOD.iter().map(|text| text.as_bytes().to_vec()).collect();
    inputs.extend(BAD.iter().map(|(text, _)| text.as_bytes().to_vec()));
    inputs.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
    inputs.push(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xe9\r\n\r\n".to_vec());
    inputs.push(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    inputs.push(b"GET / HTTP/1.1\r\nH\xc3\xb6st: a\r\n\r\n".to_vec());
    inputs
}

/// What is read.
const GOOD: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /api/realtime/stream?organizationId=acme&channel=a,b HTTP/1.1\r\nhost: localhost:4000\r\n\
     accept: text/event-stream\r\ncookie: session=abc; other=1\r\nlast-event-id: ab.1.2.3\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "GET / HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "GET https://a?y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nEmpty:\r\nSpaces: \t x y \t \r\n\r\n",
];

/// What is refused, and with which error.
pub(super) const BAD: &[(&str, HeadError)] = &[
    (
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    ("SSH-2.0-OpenSSH_9.2p1\r\n", HeadError::LineMalformed),
    (
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    (
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    (
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    (
        "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    (
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    ("GET / HTTP/11\r\nHost: a\r\n\r\n", HeadError::LineMalformed),
    (
        "GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    (
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    (
        "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::LineMalformed,
    ),
    ("GET /\r\n", HeadError::VersionUnknown),
    ("GET / HTTP/0.9\r\n\r\n", HeadError::VersionUnknown),
    (
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        HeadError::VersionUnknown,
    ),
    (
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        HeadError::VersionUnknown,
    ),
    (
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        HeadError::VersionUnknown,
    ),
    (
        "get / HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::MethodUnknown,
    ),
    (
        "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::MethodUnknown,
    ),
    (
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::MethodUnknown,
    ),
    (
        "GETX / HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::MethodUnknown,
    ),
    (
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    (
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    (
        "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    (
        "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    (
        "GET /\"a\" HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    (
        "GET /ü HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    (
        "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    (
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::TargetMalformed,
    ),
    ("GET / HTTP/1.1\nHost: a\n\n", HeadError::BareLineFeed),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", HeadError::BareLineFeed),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", HeadError::BareLineFeed),
    (
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        HeadError::BareCarriageReturn,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        HeadError::BareCarriageReturn,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        HeadError::BareCarriageReturn,
    ),
    (
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadError::ControlByte,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
        HeadError::ControlByte,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n",
        HeadError::ControlByte,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{1b}[0m\r\n\r\n",
        HeadError::ControlByte,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        HeadError::FoldedField,
    ),
    (
        "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n",
        HeadError::FoldedField,
    ),
    (
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        HeadError::FieldMalformed,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        HeadError::FieldMalformed,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        HeadError::FieldMalformed,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
        HeadError::FieldMalformed,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX(: z\r\n\r\n",
        HeadError::FieldMalformed,
    ),
    ("GET / HTTP/1.1\r\n\r\n", HeadError::HostMissing),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        HeadError::FieldRepeated,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n",
        HeadError::FieldRepeated,
    ),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", HeadError::HostMalformed),
    (
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        HeadError::HostMalformed,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        HeadError::HostMalformed,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        HeadError::HostMalformed,
    ),
    (
        "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n",
        HeadError::HostMalformed,
    ),
    (
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        HeadError::HostDiffers,
    ),
    (
        "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
        HeadError::HostDiffers,
    ),
    ("GET http://a/ HTTP/1.0\r\n\r\n", HeadError::HostDiffers),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
        HeadError::LengthMalformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        HeadError::LengthMalformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
        HeadError::LengthMalformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
        HeadError::LengthMalformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n",
        HeadError::LengthMalformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        HeadError::LengthMalformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ٥\r\n\r\n",
        HeadError::LengthMalformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        HeadError::FieldRepeated,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n",
        HeadError::BodyTooLarge,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n",
        HeadError::BodyTooLarge,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
        HeadError::LengthRequired,
    ),
    (
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        HeadError::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        HeadError::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        HeadError::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        HeadError::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
        HeadError::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        HeadError::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        HeadError::LengthAmbiguous,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nOrigin: b\r\nOrigin: c\r\n\r\n",
        HeadError::FieldRepeated,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 1\r\nLast-Event-ID: 1\r\n\r\n",
        HeadError::FieldRepeated,
    ),
];
