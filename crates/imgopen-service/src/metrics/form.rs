//! The two text formats of metrics, and which of them a reader asks for.
//!
//! They differ in little: OpenMetrics names a counter without the suffix `_total` of its samples, states units, and ends with a
//! line that says so. Readers of the older format of Prometheus take such counters for something else.

use std::fmt::Write;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
}

impl Form {
    /// Returns the form that a reader prefers by its header `Accept`; that of Prometheus if it does not name one.
    pub fn preferred(accept: &str) -> Self {
        let (open, plain) = (Self::OpenMetrics.rating(accept), Self::Prometheus.rating(accept));
        let is_named = open.is_some_and(|rating| rating.is_named);
        let quality = |rating: Option<Rating>| rating.map_or(0.0, |rating| rating.quality);
        match quality(open).total_cmp(&quality(plain)) {
            std::cmp::Ordering::Greater => Self::OpenMetrics,
            std::cmp::Ordering::Equal if is_named && quality(open) > 0.0 => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// Returns its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Returns metrics in this form, from OpenMetrics.
    pub fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }

    /// Returns how `Accept` rates it: by the most specific range that covers it.
    fn rating(self, accept: &str) -> Option<Rating> {
        let (kind, name, version) = match self {
            Self::OpenMetrics => ("application/*", "application/openmetrics-text", "1.0.0"),
            Self::Prometheus => ("text/*", "text/plain", "0.0.4"),
        };
        let ranges = accept.split(',').map(Range::of);
        let fits = |range: &Range<'_>| {
            let rank =
                [("*/*", 0), (kind, 1), (name, 2)].into_iter().find(|(of, _)| range.name.eq_ignore_ascii_case(of));
            rank.filter(|_| range.version.is_none_or(|given| given == version)).map(|(_, rank)| rank)
        };
        let fitting = ranges.filter_map(|range| Some((fits(&range)?, range.quality)));
        let best = fitting.max_by(|(rank, quality), (other, others)| rank.cmp(other).then(quality.total_cmp(others)));
        best.map(|(rank, quality)| Rating { quality, is_named: rank == 2 })
    }
}

/// How `Accept` rates a form.
#[derive(Debug, Clone, Copy)]
struct Rating {
    quality: f32,
    /// Whether it is named, and not covered by a wildcard.
    is_named: bool,
}

/// A range of media types in `Accept`.
struct Range<'a> {
    name: &'a str,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { name: parts.next().unwrap_or_default(), version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value),
                "q" => range.quality = value.parse().unwrap_or(1.0),
                _ => {}
            }
        }
        range
    }
}

/// Rewrites OpenMetrics in the text format of Prometheus.
fn prometheus(open_metrics: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open_metrics.len()), None);
    for line in open_metrics.lines() {
        // Writing to a string does not fail.
        let _ = if let Some(described) = line.strip_prefix("# HELP ") {
            // The line after it says whether it is a counter.
            help = described.split_once(' ');
            Ok(())
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            let about = help.take().map_or("", |(_, about)| about);
            writeln!(text, "# HELP {name}{suffix} {about}\n# TYPE {name}{suffix} {kind}")
        } else if line.starts_with('#') {
            // Units, and the end.
            Ok(())
        } else {
            writeln!(text, "{line}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_what_it_asks_for() {
        use Form::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            ("", Prometheus),
            ("*/*", Prometheus),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Prometheus),
            ("text/plain", Prometheus),
            ("text/plain;version=0.0.4", Prometheus),
            ("text/plain; version=\"0.0.4\"; charset=utf-8", Prometheus),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4", OpenMetrics),
            ("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0", OpenMetrics),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.7", Prometheus),
            ("application/openmetrics-text;q=0,*/*", Prometheus),
            ("application/*;q=0.9,text/plain;q=0.1", OpenMetrics),
            ("text/*", Prometheus),
            ("application/json", Prometheus),
            // Versions 2 and 3 of Prometheus, and Telegraf.
            ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Prometheus),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("application/vnd.google.protobuf; encoding=delimited; q=0.7,text/plain;version=0.0.4;q=0.3", Prometheus),
        ] {
            assert_eq!(Form::preferred(accept), expected, "{accept}");
        }
    }

    #[test]
    fn counters_have_the_name_of_their_samples() {
        let open_metrics = "# HELP a_tasks Tasks.\n# TYPE a_tasks counter\na_tasks_total{x=\"# HELP\"} 1\n\
                            # HELP a_wait_seconds The wait.\n# TYPE a_wait_seconds histogram\n# UNIT a_wait_seconds seconds\n\
                            a_wait_seconds_sum 0.5\na_wait_seconds_count 1\na_wait_seconds_bucket{le=\"+Inf\"} 1\n\
                            # HELP a_queued Queued.\n# TYPE a_queued gauge\na_queued 0\n# EOF\n";
        let expected = "# HELP a_tasks_total Tasks.\n# TYPE a_tasks_total counter\na_tasks_total{x=\"# HELP\"} 1\n\
                        # HELP a_wait_seconds The wait.\n# TYPE a_wait_seconds histogram\n\
                        a_wait_seconds_sum 0.5\na_wait_seconds_count 1\na_wait_seconds_bucket{le=\"+Inf\"} 1\n\
                        # HELP a_queued Queued.\n# TYPE a_queued gauge\na_queued 0\n";
        assert_eq!(Form::Prometheus.write(open_metrics.to_owned()), expected);
        assert_eq!(Form::OpenMetrics.write(open_metrics.to_owned()), open_metrics);
    }
}
