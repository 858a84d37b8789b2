//! What the bus says in its log while the tests run, for those that must show that it says why.

use std::{
    fmt::Write as _,
    sync::{Mutex, OnceLock},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Listens from now on. All tests of the process share the journal: look for what only yours can say.
pub fn listen() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| tracing::subscriber::set_global_default(Journal).expect("the only subscriber"));
}

/// The lines so far that contain all of these.
pub fn lines(wanted: &[&str]) -> Vec<String> {
    let lines = LINES.lock().expect("not poisoned");
    lines.iter().filter(|line| wanted.iter().all(|part| line.contains(part))).cloned().collect()
}

/// Waits until there is such a line.
pub async fn said(wanted: &[&str]) -> String {
    super::patient(async {
        loop {
            if let Some(line) = lines(wanted).pop() {
                return line;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

struct Journal;

impl Subscriber for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("ura_") && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        LINES.lock().expect("not poisoned").push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("memory");
    }
}
