//! Auth.js is asked for its sessions by the node: whatever the application accepts, the node does.

use super::authjs::sign_in;
use super::{
    Application, all_live, bare, database_of_members, is_refused_by_both, logs_are_free_of,
    open_on_both, with_cookie,
};
use crate::support::Pair;

#[test]
fn the_application_says_whose_session_it_is() {
    let application = Application::start("authjs.mjs", None, [("SESSIONS", "jwt")]);
    let pair = Pair::on(database_of_members(), |config| {
        let url = format!("{}/api/auth/session", application.origin());
        bare(config)
            .text("auth.mode", "introspection")
            .text("auth.introspection.url", &url)
            .text("auth.introspection.user", "user.id")
            .text("membership.table", "OrganizationMember")
    });
    let browser = sign_in(&application, "alice");
    let mut streams = open_on_both(&pair, &with_cookie("acme", &browser.cookie()));
    for stream in &streams {
        assert_eq!(stream.connected["userId"], "alice");
    }
    all_live(&pair, &mut streams, "acme", "task");
    is_refused_by_both(&pair, &with_cookie("globex", &browser.cookie()), 403);
    // The library answers these with `null`, and the node with 401.
    for cookie in ["authjs.session-token=x", "theme=dark"] {
        is_refused_by_both(&pair, &with_cookie("acme", cookie), 401);
    }
    let (_, session) = browser.cookie_named("session-token");
    logs_are_free_of(&pair, &[session]);
    drop(application);
    // Nobody is left who could say it: nobody new, and those who are there stay.
    let request = with_cookie("acme", "authjs.session-token=y").field("x-tailrace-client", "test");
    is_refused_by_both(&pair, &request, 503);
    all_live(&pair, &mut streams, "acme", "later");
}
