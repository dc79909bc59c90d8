//! The client side of `org.omg.RuntimeManager1`.

use zbus::OwnedObjectPath;
use zbus::proxy::CacheProperties;

use super::client::{Client, ClientError};
use super::proxy::Options;
use super::runtimes::{WireAvailable, WireKey};
use super::transaction::Job;
use crate::runtime::{Extras, Runtime};

#[zbus::proxy(
    interface = "org.omg.RuntimeManager1",
    default_service = "org.omg.PackageManager1",
    default_path = "/org/omg/RuntimeManager1"
)]
trait RuntimeManagerObject {
    fn list_available(&self, runtime: &str, options: &Options<'_>) -> zbus::Result<Vec<WireAvailable>>;
    fn list_keys(&self) -> zbus::Result<Vec<WireKey>>;
    fn install(&self, versions: &[(&str, &str)], options: &Options<'_>) -> zbus::Result<OwnedObjectPath>;
    fn refresh_versions(&self, runtimes: &[&str], options: &Options<'_>) -> zbus::Result<OwnedObjectPath>;
    fn uninstall(&self, runtime: &str, version: &str, options: &Options<'_>) -> zbus::Result<()>;
}

/// A version that can be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableVersion {
    pub version: String,
    /// Empty where it has none.
    pub lts: String,
    /// Empty where it is not known.
    pub date: String,
    pub is_prerelease: bool,
    pub is_installed: bool,
}

/// How versions are installed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallOptions {
    pub make_current: bool,
    pub newest: bool,
    pub unverified: bool,
    pub extras: Extras,
}

impl Client {
    async fn runtimes(&self) -> Result<RuntimeManagerObjectProxy<'_>, ClientError> {
        Ok(RuntimeManagerObjectProxy::builder(self.connection()).cache_properties(CacheProperties::No).build().await?)
    }

    /// Versions of a runtime that can be installed, the lowest first, as far as is known.
    ///
    /// # Errors
    /// When nothing is known.
    pub async fn runtime_available(&mut self, runtime: &Runtime) -> Result<Vec<AvailableVersion>, ClientError> {
        let rows = self.runtimes().await?.list_available(runtime.as_str(), &Options::new()).await?.into_iter();
        Ok(rows
            .map(|(version, lts, date, is_prerelease, is_installed)| AvailableVersion {
                version,
                lts,
                date,
                is_prerelease,
                is_installed,
            })
            .collect())
    }

    /// The keys whose signatures of releases count: whose releases, fingerprint, owner, when it stops to be valid (seconds since
    /// 1970; 0: never).
    ///
    /// # Errors
    /// When configured ones cannot be read.
    pub async fn runtime_keys(&mut self) -> Result<Vec<WireKey>, ClientError> {
        Ok(self.runtimes().await?.list_keys().await?)
    }

    /// Starts to find out which versions there are.
    ///
    /// # Errors
    /// When the daemon refuses it.
    pub async fn runtime_refresh(&mut self, runtimes: &[&Runtime]) -> Result<Job, ClientError> {
        let runtimes: Vec<&str> = runtimes.iter().map(|runtime| runtime.as_str()).collect();
        let path = self.runtimes().await?.refresh_versions(&runtimes, &Options::new()).await?;
        Job::of_daemon(self.connection(), path).await
    }

    /// Starts to install versions: (runtime, what is asked for) each.
    ///
    /// # Errors
    /// When the daemon refuses it.
    pub async fn runtime_install(
        &mut self,
        versions: &[(Runtime, String)],
        how: &InstallOptions,
    ) -> Result<Job, ClientError> {
        let versions: Vec<(&str, &str)> =
            versions.iter().map(|(runtime, request)| (runtime.as_str(), request.as_str())).collect();
        let mut options = Options::new();
        for (key, value) in [("use", how.make_current), ("newest", how.newest), ("allow-unverified", how.unverified)] {
            if value {
                options.insert(key, true.into());
            }
        }
        if let Some(profile) = &how.extras.profile {
            options.insert("profile", profile.as_str().into());
        }
        for (key, texts) in [("components", &how.extras.components), ("targets", &how.extras.targets)] {
            if !texts.is_empty() {
                options.insert(key, texts.clone().into());
            }
        }
        let path = self.runtimes().await?.install(&versions, &options).await?;
        Job::of_daemon(self.connection(), path).await
    }

    /// Removes an installed version.
    ///
    /// # Errors
    /// When it is not installed, or is the current one and not forced.
    pub async fn runtime_uninstall(
        &mut self,
        runtime: &Runtime,
        version: &str,
        force: bool,
    ) -> Result<(), ClientError> {
        let options = Options::from([("force", force.into())]);
        Ok(self.runtimes().await?.uninstall(runtime.as_str(), version, &options).await?)
    }
}
