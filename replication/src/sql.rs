//! Names and texts in SQL (PostgreSQL, "Lexical Structure"): the simple query protocol has no
//! parameters. Sessions set `standard_conforming_strings = on`.

/// A name as a quoted identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a string constant.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotation_marks_are_doubled() {
        assert_eq!(identifier(r#"Edge "Pub"#), r#""Edge ""Pub""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(&identifier("a'b\"c")), "'\"a''b\"\"c\"'");
    }
}
