//! The grammar of cookies, their names and their pieces.

use super::*;

fn joined(field: &str, name: &str) -> Vec<String> {
    let cookies = Cookies::new([field]);
    let names = CookieNames::new(name).unwrap();
    names
        .find(&cookies)
        .map(|found| found.value.into_owned())
        .collect()
}

#[test]
fn finds_a_cookie_by_its_exact_name() {
    let fields = ["a=1; session=abc.def; b=2"];
    assert_eq!(find(fields, "session"), Some("abc.def"));
    assert_eq!(find(fields, "sess"), None);
    assert_eq!(find(fields, "Session"), None);
    assert_eq!(find(["session_multi-x=1; xsession=2"], "session"), None);
    assert_eq!(find(["session"], "session"), None);
    assert_eq!(find([], "session"), None);
}

#[test]
fn all_fields_are_one_and_the_first_of_a_name_counts() {
    assert_eq!(
        find(["a=1", "session=x", "session=y"], "session"),
        Some("x")
    );
    assert_eq!(find(["session=x; session=y"], "session"), Some("x"));
}

#[test]
fn white_space_and_quotation_marks_are_no_part_of_a_value() {
    assert_eq!(find(["a=1;session=x"], "session"), Some("x"));
    assert_eq!(find([" session = \"x\" "], "session"), Some("x"));
    assert_eq!(find(["session=\""], "session"), Some("\""));
    assert_eq!(find(["session=\"x"], "session"), Some("\"x"));
    assert_eq!(find(["session=x=y=="], "session"), Some("x=y=="));
}

#[test]
fn too_many_bytes_of_cookies_are_none() {
    let padding = "a".repeat(COOKIES_BYTES_MAX - 10);
    assert_eq!(find([padding.as_str(), "session=x"], "session"), Some("x"));
    assert_eq!(find([padding.as_str(), "session=x; y"], "session"), None);
}

#[test]
fn names_are_tokens() {
    assert!(is_name("__Secure-next-auth.session-token"));
    for text in ["", "a b", "a=b", "a;b", "é"] {
        assert!(!is_name(text), "{text:?}");
        assert_eq!(CookieNames::new(text), None, "{text:?}");
    }
    assert_eq!(CookieNames::several([]), None);
}

#[test]
fn protected_names_come_first_and_stand_for_themselves() {
    let names = |name| -> Vec<String> {
        let names = CookieNames::new(name).unwrap();
        names.iter().map(str::to_owned).collect()
    };
    assert_eq!(names("s"), ["__Host-s", "__Secure-s", "s"]);
    assert_eq!(names("__Secure-s"), ["__Secure-s"]);
    assert_eq!(names("__Host-s"), ["__Host-s"]);
    assert_eq!(
        joined("s=1; __Host-s=2; __Secure-s=3", "s"),
        ["2", "3", "1"]
    );
}

#[test]
fn pieces_are_joined_by_number_after_the_whole_cookie() {
    assert_eq!(joined("s.10=k; s.2=c; s.0=a; s.1=b", "s"), ["abck"]);
    assert_eq!(joined("s.0=a; s=whole; s.1=b", "s"), ["whole", "ab"]);
    assert_eq!(joined("s.0=a; s.0=b", "s"), ["a"]);
}

#[test]
fn only_a_plain_number_makes_a_piece() {
    let keys = [
        "s.",
        "s.00",
        "s.01",
        "s.+1",
        "s.-1",
        "s.1 2",
        "s.a",
        "s.0.0",
        "s_multi-0",
        "s.100",
        "s.99999999999999999999999",
        "ss.0",
        "S.0",
        "s..0",
        "s.\u{0661}",
    ];
    for key in keys {
        assert!(joined(&format!("{key}=x"), "s").is_empty(), "{key:?}");
        assert!(!CookieNames::new("s").unwrap().covers(key), "{key:?}");
    }
    assert_eq!(joined("s.99=x", "s"), ["x"]);
    let names = CookieNames::new("s").unwrap();
    assert!(names.covers("s") && names.covers("__Host-s.7"));
    assert!(!names.covers("s__7") && names.with_underscores().covers("s__7"));
}

#[test]
fn only_percent_signs_are_decoded() {
    let decoded = |text| percent_decoded(text).map(Cow::into_owned);
    assert_eq!(decoded("a+b%2Bc%3d").as_deref(), Some("a+b+c="));
    assert_eq!(decoded("%C3%A9").as_deref(), Some("é"));
    for text in ["%", "%2", "%zz", "%+1", "%ff", "%é", "a%2"] {
        assert_eq!(decoded(text), None, "{text:?}");
    }
}
