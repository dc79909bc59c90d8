//! What the network costs, as NetworkManager tells it on the system bus.

use std::time::Duration;

use zbus::connection::Builder;
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::{BusName, InterfaceName};
use zbus::proxy::CacheProperties;

const NAME: &str = "org.freedesktop.NetworkManager";
const PATH: &str = "/org/freedesktop/NetworkManager";

/// `NM_METERED_YES` and `NM_METERED_GUESS_YES`.
const METERED: [u32; 2] = [1, 3];

/// Nothing waits longer for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether what is fetched may cost by the byte. Where nobody tells, it does not.
pub async fn is_metered() -> bool {
    match tokio::time::timeout(PATIENCE, metered()).await {
        Ok(Ok(metered)) => metered,
        Ok(Err(error)) => {
            tracing::debug!("NetworkManager does not tell whether the network is metered: {error}");
            false
        }
        Err(_) => false,
    }
}

async fn metered() -> zbus::Result<bool> {
    let connection = Builder::system().build().await?;
    let bus = DBusProxy::new(&connection).await?;
    // It is not to be started for this.
    if !bus.name_has_owner(BusName::try_from(NAME)?).await? {
        return Ok(false);
    }
    let properties = PropertiesProxy::builder(&connection)
        .destination(NAME)
        .path(PATH)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let value = properties.get(InterfaceName::try_from(NAME)?, "Metered").await?;
    Ok(u32::try_from(value).is_ok_and(|value| METERED.contains(&value)))
}
