//! Names of the D-Bus contract.

/// Well-known name on the session bus.
pub const BUS_NAME: &str = "org.omg.PackageManager1";
/// Object that serves [`INTERFACE`].
pub const PATH: &str = "/org/omg/PackageManager1";
/// The package interface.
pub const INTERFACE: &str = "org.omg.PackageManager1";
/// Object that serves the interface of language runtimes.
pub const RUNTIMES_PATH: &str = "/org/omg/RuntimeManager1";
/// What the paths of plans start with.
pub const PLAN_PREFIX: &str = "/org/omg/PackageManager1/transaction/";
/// The interface of a plan.
pub const PLAN_INTERFACE: &str = "org.omg.Plan1";
/// Well-known name of the root service on the system bus.
pub const TRANSACTION_BUS_NAME: &str = "org.omg.Transaction1";
/// Object that serves [`TRANSACTION_INTERFACE`]; its jobs are below it.
pub const TRANSACTION_PATH: &str = "/org/omg/Transaction1";
/// The interface that changes packages.
pub const TRANSACTION_INTERFACE: &str = "org.omg.Transaction1";
/// The interface of a running piece of work.
pub const JOB_INTERFACE: &str = "org.omg.Job1";
/// What the names of our errors start with.
pub const ERROR_PREFIX: &str = "org.omg.Error.";

/// File name of the socket, in `$XDG_RUNTIME_DIR` or, without it, in `/tmp/omg-$UID`.
pub const SOCKET_FILE: &str = "omg.sock";
/// Environment variable that names the socket; it overrides every other way to the daemon.
pub const SOCKET_ENV: &str = "OMG_SOCKET_PATH";
/// The user unit that runs the daemon.
pub const SERVICE_UNIT: &str = "omgd.service";
