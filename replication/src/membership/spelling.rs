//! How the tables spell users and organisations: a UUID has one text in PostgreSQL and several in the world.

use std::borrow::Cow;

/// Which names are UUIDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spelling {
    pub(crate) user_is_uuid: bool,
    pub(crate) organisation_is_uuid: bool,
}

impl Spelling {
    /// A user, as the table spells it.
    pub fn user<'a>(&self, name: &'a str) -> Cow<'a, str> {
        spelled(name, self.user_is_uuid)
    }

    /// An organisation, as the table spells it.
    pub fn organisation<'a>(&self, name: &'a str) -> Cow<'a, str> {
        spelled(name, self.organisation_is_uuid)
    }
}

fn spelled(name: &str, is_uuid: bool) -> Cow<'_, str> {
    match is_uuid && name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_spelled_in_lower_case_and_other_names_as_they_are() {
        let spelling = Spelling {
            user_is_uuid: true,
            organisation_is_uuid: false,
        };
        assert_eq!(spelling.user("6F1C7B1E-A"), "6f1c7b1e-a");
        assert_eq!(spelling.organisation("Acme"), "Acme");
    }
}
