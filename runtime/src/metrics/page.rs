//! The page that Prometheus reads, in its text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Pure.

use std::fmt::{Display, Write as _};

use super::Histogram;

/// What kind of number a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by their length.
    Histogram,
}

impl Type {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A page, family by family.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// `Content-Type` of the text.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a family: the samples that follow are its own. `help` is one line.
    pub fn family(&mut self, name: &'static str, kind: Type, help: &str) {
        self.family = name;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {}", kind.as_str()));
    }

    /// A family of one sample without labels.
    pub fn one(&mut self, name: &'static str, kind: Type, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.put("", labels, value);
    }

    /// A histogram as samples of the family.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let (buckets, count, sum) = histogram.read();
        let finite = buckets.into_iter().map(|(bound, count)| (bound.to_string(), count));
        for (bound, count) in finite.chain([("+Inf".to_owned(), count)]) {
            self.put("_bucket", &[labels, &[("le", &bound)]].concat(), count);
        }
        self.put("_sum", labels, sum);
        self.put("_count", labels, count);
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn put(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    letter => self.text.push(letter),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        writeln!(self.text, "{text}").ok();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_is_what_the_format_says() {
        let mut page = Page::default();
        page.one("up_total", Type::Counter, "Ups.", 3);
        page.family("names", Type::Gauge, "Names.");
        page.sample(&[("a", "x\"y\\z\n"), ("b", "")], -1.5);
        let histogram = Histogram::new(&[50, 2_000_000]);
        histogram.observe(Duration::from_millis(1));
        page.family("took_seconds", Type::Histogram, "Times.");
        page.histogram(&[("of", "it")], &histogram);
        let expected = "\
# HELP up_total Ups.
# TYPE up_total counter
up_total 3
# HELP names Names.
# TYPE names gauge
names{a=\"x\\\"y\\\\z\\n\",b=\"\"} -1.5
# HELP took_seconds Times.
# TYPE took_seconds histogram
took_seconds_bucket{of=\"it\",le=\"0.00005\"} 0
took_seconds_bucket{of=\"it\",le=\"2\"} 1
took_seconds_bucket{of=\"it\",le=\"+Inf\"} 1
took_seconds_sum{of=\"it\"} 0.001
took_seconds_count{of=\"it\"} 1
";
        assert_eq!(page.into_text(), expected);
    }
}
