//! `omg cache`

use super::Failure;
use super::output::Output;
use crate::dbus::client::Client;

pub async fn clear(client: &mut Client, out: &mut Output) -> Result<(), Failure> {
    client.clear_cache().await?;
    if out.is_json() {
        out.json(&serde_json::json!({"cleared": true}));
    } else if !out.quiet() {
        out.line("cached answers dropped");
    }
    Ok(())
}
