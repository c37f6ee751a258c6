//! The table of revocations: whether `POST /api/realtime/revoke` has what it needs. Nobody has to have it:
//! where the application's own tables say who is thrown out, they do.

use tokio_postgres::Client;

use super::Finding;
use crate::catalog::{Catalog, Publication, Role};
use crate::database::DatabaseError;
use crate::init::RevocationTable;

/// What is said of it.
pub(super) async fn findings(
    client: &Client,
    role: &str,
    publication: Option<&Publication>,
    catalog: &Catalog,
) -> Result<Vec<Finding>, DatabaseError> {
    let role = Role::read(client, role).await?;
    let table = RevocationTable::read(client, catalog, role.as_ref()).await?;
    let about = "table tailrace.revocation";
    let lack = if !table.is_there() {
        "there is none"
    } else if !table.is_published(publication) {
        "it is not in the publication"
    } else if !table.is_usable() {
        "the node's role may not read it, or not write to it"
    } else {
        return Ok(vec![Finding::ok(about, "revocations over HTTP are heard")]);
    };
    Ok(vec![Finding::note(about, lack).because(
        "POST /api/realtime/revoke answers 501. If the application calls it: `tailrace init` prints \
         what is missing; then start the nodes again.",
    )])
}
