//! What a person at the terminal sees.

use std::fmt;
use std::io::Write as _;

use domain::line;
use local::STAND_INS;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{DefaultFields, FormatEvent, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Prints a text for the person who started the program.
pub(crate) fn say(text: &str) {
    // Nobody may be reading any more; that is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Logs to standard error: everything of our own, and what others warn of.
pub(crate) fn log_to_stderr() {
    let ours = [
        "local",
        "domain",
        "identity",
        "outbound",
        "publishing",
        "runtime",
        "sonarqube",
        "store",
        "tls",
        "web",
        "list_reports",
        "download_files",
        "publish_report",
        "receive_events",
        "manage_webhooks",
        "import_analysis",
        "deliver_webhooks",
        "retry_webhooks",
    ];
    let targets = Targets::new()
        .with_default(Level::WARN)
        .with_targets(STAND_INS.map(|target| (target, LevelFilter::OFF)))
        .with_targets(ours.map(|target| (target, Level::INFO)));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .init();
}

/// One line for each event: time, level unless it is the usual one, message. The fields repeat what the message says, for
/// programs, so they are left out.
///
/// What a caller, a receiver or an issuer wrote may be in a message. Whatever it is, it neither begins a line that looks
/// like one of ours nor commands the terminal: on AWS lines are JSON, which sees to that.
struct Lines;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, DefaultFields> for Lines {
    fn format_event(
        &self,
        _: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = time::OffsetDateTime::now_utc();
        write!(
            writer,
            "{:02}:{:02}:{:02} ",
            now.hour(),
            now.minute(),
            now.second()
        )?;
        if *event.metadata().level() != Level::INFO {
            write!(writer, "{} ", event.metadata().level())?;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        for char in message.0.chars() {
            if line::is_broken_by(char) {
                write!(writer, "{}", char.escape_default())?;
            } else {
                writer.write_char(char)?;
            }
        }
        writeln!(writer)
    }
}

struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whatever_is_in_a_message_it_is_one_line() {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(Lines)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let theirs = "é\n12:00:00 forged\r\u{1b}[2K\u{85}\u{2028}\u{2029}\0";
            tracing::error!("by {theirs}");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let (_, line) = written.split_once(" ERROR ").unwrap();
        assert_eq!(
            line,
            "by é\\n12:00:00 forged\\r\\u{1b}[2K\\u{85}\\u{2028}\\u{2029}\\u{0}\n"
        );
    }
}
