//! What is wrong with a head, and how it is answered.

use crate::http::{Refusal, RefusalCode};

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// A TLS handshake on a port that speaks plain HTTP.
    Tls,
    /// The request line is not a method, a target and a version with one space between them.
    LineMalformed,
    /// The request line is longer than [`super::REQUEST_LINE_BYTES_MAX`].
    LineTooLong,
    /// A method that nothing here serves, or one in lower case.
    MethodUnknown,
    /// The target has a byte that a URL must escape, or none of the forms of RFC 9112, section 3.2.
    TargetMalformed,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    VersionUnknown,
    /// A control byte other than a tab.
    ControlByte,
    /// A line feed without a carriage return.
    BareLineFeed,
    /// A carriage return without a line feed.
    BareCarriageReturn,
    /// A field continued on a line of its own (RFC 9112, section 5.2).
    FoldedField,
    /// A line that is not a name, a colon and a value.
    FieldMalformed,
    /// A field was sent twice that has one value only.
    FieldRepeated,
    /// More than [`super::FIELDS_MAX`] fields.
    TooManyFields,
    /// A head longer than [`super::HEAD_BYTES_MAX`], or, with its cookies,
    /// [`super::HEAD_WITH_COOKIES_BYTES_MAX`].
    TooLarge,
    /// A request of HTTP/1.1 without `Host`.
    HostMissing,
    /// `Host` is not a host and an optional port.
    HostMalformed,
    /// The target names another authority than `Host`.
    HostDiffers,
    /// `Content-Length` is not one decimal number.
    LengthMalformed,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAmbiguous,
    /// A chunked body: only bodies of a known length are taken.
    LengthRequired,
    /// A transfer coding that does not tell where the body ends.
    TransferEncoding,
    /// A body longer than [`super::BODY_BYTES_MAX`].
    BodyTooLarge,
}

impl HeadError {
    /// The refusal it is answered with. The connection is closed after it, since nobody knows where
    /// the next request would begin.
    pub fn refusal(self) -> Refusal {
        Refusal::new(self.code(), self.message())
    }

    fn code(self) -> RefusalCode {
        match self {
            Self::LineTooLong => RefusalCode::UriTooLong,
            Self::MethodUnknown => RefusalCode::NotImplemented,
            Self::VersionUnknown => RefusalCode::VersionNotSupported,
            Self::TooManyFields | Self::TooLarge => RefusalCode::HeadTooLarge,
            Self::LengthRequired => RefusalCode::LengthRequired,
            Self::BodyTooLarge => RefusalCode::BodyTooLarge,
            Self::Tls
            | Self::LineMalformed
            | Self::TargetMalformed
            | Self::ControlByte
            | Self::BareLineFeed
            | Self::BareCarriageReturn
            | Self::FoldedField
            | Self::FieldMalformed
            | Self::FieldRepeated
            | Self::HostMissing
            | Self::HostMalformed
            | Self::HostDiffers
            | Self::LengthMalformed
            | Self::LengthAmbiguous
            | Self::TransferEncoding => RefusalCode::MalformedRequest,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Tls => "this port speaks plain HTTP: use http://, or put a TLS proxy before it",
            Self::LineMalformed => "the request line must be `METHOD target HTTP/1.1`",
            Self::LineTooLong => "the request line is longer than 8 KiB: shorten the URL",
            Self::MethodUnknown => {
                "the method is not served: GET, HEAD, POST, PUT, DELETE, OPTIONS and PATCH are, in \
                 capitals"
            }
            Self::TargetMalformed => {
                "the request target must be a path with an optional query, its special characters \
                 percent-encoded"
            }
            Self::VersionUnknown => {
                "HTTP/1.1 and HTTP/1.0 are served on this port, no other version"
            }
            Self::ControlByte => "the request head has a control character",
            Self::BareLineFeed => "the request head has a line feed without a carriage return",
            Self::BareCarriageReturn => {
                "the request head has a carriage return without a line feed"
            }
            Self::FoldedField => "a header field must not be continued on a second line",
            Self::FieldMalformed => {
                "a header field must be `name: value`, without space before the colon"
            }
            Self::FieldRepeated => {
                "one of Host, Content-Length, Content-Type, Authorization, Origin, Sec-Fetch-Site \
                 and Last-Event-ID was sent twice: send it once"
            }
            Self::TooManyFields => "the request has more than 64 header fields",
            Self::TooLarge => {
                "the request head is longer than 16 KiB, or 64 KiB with its cookies: delete cookies \
                 of this site or shorten the header fields"
            }
            Self::HostMissing => "an HTTP/1.1 request needs a Host header field",
            Self::HostMalformed => {
                "the Host header field must be a host name or address and an optional port"
            }
            Self::HostDiffers => {
                "the request target and the Host header field name different hosts"
            }
            Self::LengthMalformed => "Content-Length must be one decimal number",
            Self::LengthAmbiguous => "Content-Length and Transfer-Encoding exclude each other",
            Self::LengthRequired => {
                "chunked request bodies are not taken: send the body with a Content-Length"
            }
            Self::TransferEncoding => {
                "the Transfer-Encoding is not understood: send a Content-Length"
            }
            Self::BodyTooLarge => "the request body is longer than 64 KiB",
        }
    }
}
