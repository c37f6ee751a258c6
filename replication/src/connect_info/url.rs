//! The syntax of a connection URL: which parameter has which text. What the texts mean is the
//! parent's business.

use super::ConnectInfoError;

/// Gives every parameter of `postgresql://[user[:password]@][host][:port][/dbname][?name=value&…]`
/// that is there, by libpq's name and in the order of the URL, so that the last one counts.
pub(super) fn parameters(url: &str) -> Result<Vec<(String, String)>, ConnectInfoError> {
    let rest = url
        .strip_prefix("postgresql://")
        .or_else(|| url.strip_prefix("postgres://"))
        .ok_or(ConnectInfoError::Scheme)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    // What follows a raw `/` or `?` of a password would be taken for names, and names are shown.
    if database.contains('@') || query.split('&').any(|pair| name_of(pair).contains('@')) {
        return Err(ConnectInfoError::Reserved);
    }
    // A password may hold a raw `@`, a host may not.
    let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    if address.contains(',') {
        return Err(ConnectInfoError::Host);
    }
    let (host, port) = split_port(address)?;
    let mut parameters = Vec::new();
    for (name, text) in [
        ("user", user),
        ("host", host),
        ("port", port),
        ("dbname", database),
    ] {
        if !text.is_empty() {
            parameters.push((name.to_owned(), decode(text)?));
        }
    }
    if let Some(password) = password {
        parameters.push(("password".to_owned(), decode(password)?));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = name_of(pair);
        let value = pair[name.len()..].strip_prefix('=').unwrap_or_default();
        parameters.push((decode(name)?, decode(value)?));
    }
    Ok(parameters)
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// Splits `host:port`, where an IPv6 address stands in brackets.
fn split_port(address: &str) -> Result<(&str, &str), ConnectInfoError> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(ConnectInfoError::Host)?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if port.is_empty() => Ok((host, "")),
            None => Err(ConnectInfoError::Host),
        };
    }
    Ok(address.split_once(':').unwrap_or((address, "")))
}

/// Undoes percent-encoding (RFC 3986, 2.1).
fn decode(text: &str) -> Result<String, ConnectInfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| {
            tail.get(at)
                .and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (digit(0), digit(1)) {
            // Two digits make less than 256.
            (Some(high), Some(low)) => bytes.push((high << 4 | low) as u8),
            _ => return Err(ConnectInfoError::Encoding),
        }
        rest = &tail[2..];
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(ConnectInfoError::Encoding),
    }
}
