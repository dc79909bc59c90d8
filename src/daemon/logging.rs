//! Logs: to the journal where standard error is connected to it, else to standard error. `RUST_LOG` sets levels
//! (`debug`, `omg=debug,zbus=warn`).

use std::fmt::Write as _;

use libsystemd::logging::{Priority, connected_to_journal, journal_send};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Sets up logging for the process; `foreground` keeps it on standard error. A `RUST_LOG` that does not read as one is
/// reported and the default kept.
pub fn init(foreground: bool) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let default = Targets::new().with_default(LevelFilter::WARN).with_target("omg", LevelFilter::INFO);
    let (filter, problem) = match wanted.parse::<Targets>() {
        Ok(_) if wanted.is_empty() => (default, None),
        Ok(filter) => (filter, None),
        Err(error) => (default, Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = if !foreground && connected_to_journal() {
        registry.with(Journal).try_init()
    } else {
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).without_time();
        registry.with(lines).try_init()
    };
    if let Some(problem) = problem {
        tracing::warn!("RUST_LOG is ignored: {problem}");
    }
    if started.is_err() {
        tracing::debug!("logging was set up already");
    }
}

/// Sends events to the journal in its own protocol, with their fields.
struct Journal;

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata: &Metadata<'_> = event.metadata();
        let priority = match *metadata.level() {
            Level::ERROR => Priority::Error,
            Level::WARN => Priority::Warning,
            Level::INFO => Priority::Notice,
            Level::DEBUG => Priority::Info,
            Level::TRACE => Priority::Debug,
        };
        let variables = [("SYSLOG_IDENTIFIER", "omgd"), ("TARGET", metadata.target())];
        // There is nowhere to report a journal that takes no messages.
        let _ = journal_send(priority, &text.0, variables.into_iter());
    }
}

/// The message of an event, followed by its other fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}
