//! The text that scrapers read: OpenMetrics, or the older Prometheus text format for those that ask for no other.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::snapshot::Snapshot;
use super::table::{Kind, METRICS, Metric, Value};

/// A format of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text format 0.0.4.
    Prometheus,
}

impl Format {
    /// The format for a scraper with this `Accept` header.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the values out.
///
/// # Errors
/// When the library refuses to encode a value.
pub fn write(snapshot: Snapshot, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut openmetrics = String::new();
    text::encode(&mut openmetrics, &registry)?;
    Ok(match format {
        Format::OpenMetrics => openmetrics,
        Format::Prometheus => to_prometheus(&openmetrics),
    })
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in METRICS {
            let samples = metric.samples(self);
            if samples.is_empty() {
                continue;
            }
            let unit = metric.unit.map(|unit| Unit::Other(unit.to_owned()));
            let (name, kind) = (metric.stem(), kind(metric));
            let mut family = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
            for (label, value) in samples {
                match metric.label.map(|name| (name, label.as_str())) {
                    Some(label) if metric.kind == Kind::Info => family.encode_info(&[label])?,
                    Some(label) => encode(&mut family.encode_family(&[label])?, metric.kind, value)?,
                    None => encode(&mut family, metric.kind, value)?,
                }
            }
        }
        Ok(())
    }
}

fn kind(metric: &Metric) -> MetricType {
    match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Info => MetricType::Info,
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    /// Nothing here has exemplars, but the library wants to know their type.
    type NoExemplar<'a> = Option<&'a Exemplar<[(&'static str, &'static str); 0], f64>>;
    match (kind, value) {
        (Kind::Counter, Value::Whole(count)) => encoder.encode_counter(&count, NoExemplar::None),
        (Kind::Counter, Value::Real(amount)) => encoder.encode_counter(&amount, NoExemplar::None),
        (_, Value::Whole(level)) => encoder.encode_gauge(&i64::try_from(level).unwrap_or(i64::MAX)),
        (_, Value::Real(level)) => encoder.encode_gauge(&level),
    }
}

/// The same in the older format, which knows neither units nor an end, has no type for information, and names the
/// samples of a counter in its description.
fn to_prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let described = line.strip_prefix("# HELP ").map(|rest| ("# HELP ", rest));
        let described = described.or_else(|| line.strip_prefix("# TYPE ").map(|rest| ("# TYPE ", rest)));
        if let Some((what, rest)) = described {
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let kind = METRICS.iter().find(|metric| metric.family() == name).map(|metric| metric.kind);
            let (suffix, rest) = match kind {
                Some(Kind::Counter) => ("_total", rest),
                Some(Kind::Info) => ("_info", if what == "# TYPE " { "gauge" } else { rest }),
                Some(Kind::Gauge) | None => ("", rest),
            };
            text.extend([what, name, suffix, " ", rest, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}
