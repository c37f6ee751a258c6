//! Attacks on HTTP/1, of the classes D1 to D5, D7, D9 and D10 of the matrix: bytes that no reader of
//! heads may take for a request. Nothing but bytes stands here, so that the core is tried with the same.

/// A good request, by which a smuggled one would be seen.
pub(crate) const SMUGGLED: &str = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

/// Each with its class and what it is.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut attacks = Vec::new();
    let mut add = |name: &str, text: &str| attacks.push((name.to_owned(), text.to_owned()));
    lengths(&mut add);
    codings(&mut add);
    line_ends(&mut add);
    chunks(&mut add);
    hosts(&mut add);
    targets(&mut add);
    versions_and_methods(&mut add);
    attacks
}

/// D1: `Content-Length` in every way but one number.
fn lengths(add: &mut impl FnMut(&str, &str)) {
    let post = |fields: &str| {
        format!("POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{SMUGGLED}")
    };
    let chunked = "transfer-encoding: chunked";
    add(
        "D1 both, length first",
        &post(&format!("content-length: 4\r\n{chunked}")),
    );
    add(
        "D1 both, coding first",
        &post(&format!("{chunked}\r\ncontent-length: 4")),
    );
    add(
        "D1 twice, different",
        &post("content-length: 4\r\ncontent-length: 5"),
    );
    add(
        "D1 twice, the same",
        &post("content-length: 4\r\ncontent-length: 4"),
    );
    for value in [
        "4, 4",
        "4,5",
        "+5",
        "-1",
        "0x5",
        "5 5",
        "5;",
        "1e1",
        "",
        "\u{664}",
        "4\u{b}",
        "5.0",
        "'5'",
        "4294967297",
        "18446744073709551616",
        "99999999999999999999999999999999",
    ] {
        add(
            &format!("D1 length {value:?}"),
            &post(&format!("content-length: {value}")),
        );
    }
    add(
        "D1 length with a space before its colon",
        &post("content-length : 4"),
    );
    add(
        "D1 length with a tab before its colon",
        &post("content-length\t: 4"),
    );
    add("D1 length behind a NUL", &post("content-length\0: 4"));
}

/// D2: transfer codings that two readers could read in two ways, or not at all.
fn codings(add: &mut impl FnMut(&str, &str)) {
    let post = |field: &str| {
        format!(
            "POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n0\r\n\r\n{SMUGGLED}"
        )
    };
    for field in [
        "transfer-encoding: chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: \u{b}chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;x=1",
        "transfer-encoding: identity",
        "transfer-encoding:",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding : chunked",
        "transfer-encoding\n: chunked",
        " transfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "x: y\ntransfer-encoding: chunked",
        "x: y\rtransfer-encoding: chunked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding: chun\0ked",
        "transfer-encoding: CHUNKED",
    ] {
        add(&format!("D2 {field:?}"), &post(field));
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    add("D2 chunked in HTTP/1.0", &format!("{old}{SMUGGLED}"));
}

/// D3: line ends, folding, and bytes that have no place in a head.
fn line_ends(add: &mut impl FnMut(&str, &str)) {
    for text in [
        "GET /livez HTTP/1.1\nhost: a\n\n",
        "GET /livez HTTP/1.1\r\nhost: a\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\n\n",
        "GET /livez HTTP/1.1\rhost: a\r\r",
        "GET /livez HTTP/1.1\r\r\nhost: a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: 1\r\n\t2\r\n\r\n",
        "GET /livez HTTP/1.1\r\n host: a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx(): z\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\n\u{e9}: z\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \x01\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \x7f\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \x1b[31m\r\n\r\n",
        "\r\nGET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        "\n\nGET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        " GET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET  /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /livez  HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /livez HTTP/1.1 \r\nhost: a\r\n\r\n",
        "GET\t/livez\tHTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /li\0vez HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        add(&format!("D3 {text:?}"), text);
    }
}

/// D4: bodies in chunks, well formed and not. None is taken, so none can be misread.
fn chunks(add: &mut impl FnMut(&str, &str)) {
    let head =
        "POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = "x".repeat(9_000);
    for (name, body) in [
        ("good", "4\r\nabcd\r\n0\r\n\r\n".to_owned()),
        (
            "a size that overflows",
            "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n".into(),
        ),
        ("a negative size", "-1\r\nabcd\r\n0\r\n\r\n".into()),
        ("a size with 0x", "0x4\r\nabcd\r\n0\r\n\r\n".into()),
        ("a huge extension", format!("4;{long}\r\nabcd\r\n0\r\n\r\n")),
        (
            "an extension with a line feed",
            format!("4;a\nb\r\nabcd\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "an extension with a NUL",
            "4;\0\r\nabcd\r\n0\r\n\r\n".into(),
        ),
        ("no line end after its data", "4\r\nabcd0\r\n\r\n".into()),
        ("a trailer", "0\r\ncontent-length: 4\r\n\r\n".into()),
        ("a bad trailer", "0\r\n : \r\n\r\n".into()),
        ("no end", "4\r\nabcd\r\n0\r\n".into()),
    ] {
        add(&format!("D4 chunks: {name}"), &format!("{head}{body}"));
    }
}

/// D5: whose host it is.
fn hosts(add: &mut impl FnMut(&str, &str)) {
    let host = |fields: &str| format!("GET /livez HTTP/1.1\r\n{fields}\r\n");
    for fields in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a\r\nhost: a\r\n",
        "host:\r\nhost: a\r\n",
        "host: a b\r\n",
        "host: a,b\r\n",
        "host: a/b\r\n",
        "host: a@b\r\n",
        "host: a:b\r\n",
        "host: a:99999999\r\n",
        "host: http://a\r\n",
        "host: [::1\r\n",
        "host: a\\b\r\n",
        "host: <script>\r\n",
    ] {
        add(&format!("D5 {fields:?}"), &host(fields));
    }
    let absolute = "GET http://other/livez HTTP/1.1\r\nhost: a\r\n\r\n";
    add("D5 an absolute target of another host", absolute);
    let userinfo = "GET http://a@b/livez HTTP/1.1\r\nhost: a@b\r\n\r\n";
    add("D5 an absolute target with a user", userinfo);
}

/// D9, D10: other versions, other protocols, other methods.
fn versions_and_methods(add: &mut impl FnMut(&str, &str)) {
    for line in [
        "GET /livez",
        "GET /livez HTTP/0.9",
        "GET /livez HTTP/1.2",
        "GET /livez HTTP/2.0",
        "GET /livez HTTP/3",
        "GET /livez HTTP/11",
        "GET /livez http/1.1",
        "GET /livez HTTP/1.1x",
        "GET /livez HTTP/ 1.1",
        "GET /livez HTTPS/1.1",
        "GET /livez SPDY/3",
    ] {
        add(
            &format!("D9 {line:?}"),
            &format!("{line}\r\nhost: a\r\n\r\n"),
        );
    }
    add("D9 preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    add(
        "D9 client hello",
        "\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03 and so on\r\n\r\n",
    );
    for method in [
        "CONNECT",
        "TRACE",
        "BREW",
        "get",
        "Get",
        "PROPFIND",
        "G E T",
        "GET\u{e9}",
        "",
    ] {
        let line = format!("{method} /livez HTTP/1.1\r\nhost: a\r\n\r\n");
        add(&format!("D10 {method:?}"), &line);
    }
    add(
        "D10 CONNECT to a host",
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
    );
}

/// D7: targets with bytes that no target has.
fn targets(add: &mut impl FnMut(&str, &str)) {
    for target in [
        "livez",
        "*",
        "\\livez",
        "/\\livez",
        "/livez\\",
        "/livez#x",
        "/<script>",
        "/\"",
        "/\u{e9}",
        "http://",
        "http:///livez",
        "ftp://a/livez",
    ] {
        let line = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
        add(&format!("D7 {target:?}"), &line);
    }
}
